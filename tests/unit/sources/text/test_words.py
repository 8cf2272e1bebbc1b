"""Files of word vectors: every format, broken ones, and what a text becomes."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from toy_texts import TOPICS, sentences

from headstart.base.errors import SourceError
from headstart.data.text import Tokens
from headstart.sources.registry import open_source
from headstart.sources.text.word_index import open_index
from headstart.sources.text.word_source import WordSource

WORDS = ["the", ",", "of", "do", "n't", "salt", "café", "new york", "Boat", *TOPICS["music"], *TOPICS["sailing"]]
WIDTH = 6
VECTORS = np.random.default_rng(0).standard_normal((len(WORDS), WIDTH)).astype(np.float32).round(4)


def lines(words: list[str] = WORDS, end: str = "\n") -> str:
    rows = zip(words, VECTORS, strict=False)
    return "".join(f"{word} {' '.join(f'{value:.4f}' for value in row)}{end}" for word, row in rows)


def zipped(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def write(folder: Path, form: str) -> Path:
    path = folder / f"vectors.{form}"
    head = f"{len(WORDS)} {WIDTH}\n".encode()
    plain = [word for word in WORDS if " " not in word]
    records = b"".join(
        word.encode() + b" " + struct.pack(f"<{WIDTH}f", *VECTORS[WORDS.index(word)]) + b"\n" for word in plain
    )
    contents = {
        "glove": lines().encode(),
        "crlf": lines(end="\r\n").encode(),
        "trailing": head + lines(end=" \n").encode(),
        "text": head + lines().encode(),
        "gz": gzip.compress(lines().encode()),
        "tabs": lines().replace("new york", "new_york").replace(" ", "\t").encode(),
        "zip": zipped({"__MACOSX/._a.txt": b"x", "folder/a.txt": lines().encode()}),
        "gz.zip": zipped({"a.txt.gz": gzip.compress(lines().encode())}),
        "bin.gz": gzip.compress(f"{len(plain)} {WIDTH}\n".encode() + records),
        "bin": f"{len(plain)} {WIDTH}\n".encode() + records,
    }
    path.write_bytes(contents[form])
    return path


def vector_of(source: WordSource, word: str) -> np.ndarray:
    tokens = source.prepare(word.encode())
    run = source.network().lookup
    assert run is not None
    return run()([tokens])[0, :WIDTH]


@pytest.mark.parametrize("form", ["glove", "crlf", "trailing", "text", "gz", "bin", "tabs", "zip", "gz.zip", "bin.gz"])
def test_every_format_gives_the_same_vectors(tmp_path: Path, form: str) -> None:
    source = open_source(f"words:{write(tmp_path, form)}")
    assert isinstance(source, WordSource) and source.info.notes == ()
    for word in ("the", "salt", "café", "Boat", "tune"):
        np.testing.assert_allclose(vector_of(source, word), VECTORS[WORDS.index(word)], atol=1e-6)
    np.testing.assert_allclose(vector_of(source, "SALT"), VECTORS[WORDS.index("salt")], atol=1e-6)
    both = VECTORS[[WORDS.index("do"), WORDS.index("n't")]].mean(axis=0)
    np.testing.assert_allclose(vector_of(source, "Don't"), both, atol=1e-6)
    np.testing.assert_allclose(vector_of(source, "don’t"), both, atol=1e-6)
    assert not vector_of(source, "zebra").any()


def test_a_text_is_the_mean_of_its_words_and_counts_what_is_known(tmp_path: Path) -> None:
    source = open_source(f"words:{write(tmp_path, 'glove')}")
    tokens = source.prepare(b"The zebra, the boat of salt salt")
    assert isinstance(tokens, Tokens) and (tokens.total, tokens.used) == (8, 7)
    x = source.encode(["The zebra, the boat of salt salt"])[0]
    ids = [WORDS.index(word) for word in ("the", ",", "the", "boat", "of", "salt", "salt")]
    np.testing.assert_allclose(x, VECTORS[ids].mean(axis=0), atol=1e-6)
    assert isinstance(source, WordSource)
    assert source.unknown(["zebra Zebra yak the"]).most_common() == [("zebra", 2), ("yak", 1)]


def test_the_weighted_mean_is_that_of_its_paper(tmp_path: Path) -> None:
    source = open_source(f"words:{write(tmp_path, 'glove')}", layer="sif")
    found = source.encode(["the salt", "the of", "zebra"])
    frequency = 1 / (np.arange(1, len(WORDS) + 1) * (np.log(len(WORDS)) + np.euler_gamma))
    _, _, axes = np.linalg.svd(np.sqrt(frequency)[:, None] * VECTORS.astype(np.float64))
    for row, words in zip(found, (["the", "salt"], ["the", "of"]), strict=False):
        ids = [WORDS.index(word) for word in words]
        mean = (1e-3 / (1e-3 + frequency[ids])[:, None] * VECTORS[ids]).mean(axis=0)
        np.testing.assert_allclose(row, mean - axes[0] * (axes[0] @ mean), atol=1e-5)
    assert not found[2].any()


def test_the_second_opening_reads_the_index_and_an_edited_file_a_new_one(tmp_path: Path, cache: Path) -> None:
    path = write(tmp_path, "glove")
    first = open_index(path)
    (index,) = (cache / "words").iterdir()
    written = index.stat().st_mtime_ns
    again = open_index(path)
    assert again.about == first.about and (again.hashes == first.hashes).all()
    assert index.stat().st_mtime_ns == written
    path.write_text(lines().replace("salt", "malt"))
    source = open_source(f"words:{path}")
    assert not vector_of(source, "salt").any() and vector_of(source, "malt").any()


def test_a_few_broken_lines_are_left_out_and_the_first_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    many = [f"w{n} " + " ".join(["0.5"] * WIDTH) for n in range(300)]
    many[7] = "w7 0.5 0.5"
    many[100] = "w100 " + " ".join(["0.5"] * (WIDTH - 1)) + " x.5"
    path.write_text("\n".join(many) + "\n")
    source = open_source(f"words:{path}")
    (note,) = source.info.notes
    assert "2 broken lines" in note and "line 8 has 2 numbers, not 6" in note
    assert not vector_of(source, "w7").any() and not vector_of(source, "w100").any() and vector_of(source, "w8").any()


@pytest.mark.parametrize("header", [b"", b"300 6\n"])
def test_more_than_a_hundredth_broken_stops_with_the_line(tmp_path: Path, header: bytes) -> None:
    many = [b"w%d " % n + b" ".join([b"0.5"] * WIDTH) for n in range(300)]
    many[120:130] = [b"w 1 2 3"] * 10
    (tmp_path / "a.txt").write_bytes(header + b"\n".join(many))
    line = 122 if header else 121
    with pytest.raises(SourceError, match=rf"10 of 300 lines; the first: line {line} has 3 numbers, not 6"):
        open_source(f"words:{tmp_path / 'a.txt'}")


def test_a_file_that_ends_in_the_middle_of_a_line_says_so(tmp_path: Path) -> None:
    many = [f"w{n} " + " ".join(["0.5"] * WIDTH) for n in range(200)]
    (tmp_path / "a.txt").write_text("\n".join([*many, "w200 0.5 0.5"]))
    assert "line 201" in open_source(f"words:{tmp_path / 'a.txt'}").info.notes[0]


def test_a_header_that_lies_is_said_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text(f"9999 {WIDTH}\n" + lines())
    assert f"says 9,999 words; it holds {len(WORDS)}" in open_source(f"words:{path}").info.notes[0]
    path.write_text("31 7\n" + lines())
    with pytest.raises(SourceError, match=r"header of .*, line 1, must give the dimension"):
        open_source(f"words:{path}")
    data = write(tmp_path, "bin").read_bytes()
    body = data.partition(b"\n")[2]
    for head, body_of in ((b"30 7\n", body), (b"30 60\n", body), (b"30 6\n", body[:-9])):
        (tmp_path / "b.bin").write_bytes(head + body_of)
        with pytest.raises(SourceError, match=r"the header of .* must be true"):
            open_source(f"words:{tmp_path / 'b.bin'}")


@pytest.mark.parametrize("content", [b"", b"hello\n", b"some words in a file\nand others\n", b"\x89PNG\r\n\x1a\n"])
def test_what_holds_no_vectors_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(SourceError, match="must hold word vectors"):
        open_source(f"words:{tmp_path / 'a.txt'}")


def test_absent_files_and_cut_gzip_are_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no file"):
        open_source(f"words:{tmp_path / 'gone.txt'}")
    data = write(tmp_path, "gz").read_bytes()
    for damaged in (data[: len(data) // 2], data[:40] + bytes(byte ^ 0x55 for byte in data[40:])):
        (tmp_path / "cut.gz").write_bytes(damaged)
        with pytest.raises(SourceError, match="must be a whole gzip file"):
            open_source(f"words:{tmp_path / 'cut.gz'}")


def test_of_several_files_in_an_archive_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "two.zip"
    path.write_bytes(zipped({"d/a.txt": lines().encode(), "d/b.txt": lines(WORDS[:3]).encode()}))
    with pytest.raises(SourceError, match=r"found d/a\.txt, d/b\.txt; write (words:.*two\.zip#d/a\.txt)") as caught:
        open_source(f"words:{path}")
    remedy = str(caught.value).rpartition("write ")[2]
    assert vector_of(open_source(remedy), "salt").any()
    small = open_source(f"words:{path}#b.txt")
    assert not vector_of(small, "salt").any() and small.info.sha256 != open_source(remedy).info.sha256
    with pytest.raises(SourceError, match=r"must hold the file 'c\.txt'; found d/a\.txt, d/b\.txt; write"):
        open_source(f"words:{path}#c.txt")
    (tmp_path / "a#b.txt").write_text(lines())
    assert vector_of(open_source(f"words:{tmp_path / 'a#b.txt'}"), "salt").any()
    with pytest.raises(SourceError, match="must be a zip archive to hold 'x'"):
        open_source(f"words:{tmp_path / 'a#b.txt'}#x")


@pytest.mark.parametrize("pack", [gzip.compress, lambda data: zipped({"a.txt": data})])
def test_what_grows_beyond_its_limit_is_refused__CKP_10(
    pack: Callable[[bytes], bytes], tmp_path: Path, cache: Path
) -> None:
    (tmp_path / "a.packed").write_bytes(pack(bytes(40 << 20)))
    with pytest.raises(
        SourceError, match=r"must unpack to 100 times its size at most; found more than [\d,]+ bytes from"
    ):
        open_source(f"words:{tmp_path / 'a.packed'}")
    assert list((cache / "words").iterdir()) == []


def test_spaces_in_words_and_words_twice_are_said(tmp_path: Path) -> None:
    numbers = lines().splitlines()[0].partition(" ")[2]
    odd = "".join(f"{word} {numbers}\n" for word in (". . .", "at name@domain.com", " ", "\u00a0", "2003", "salt"))
    (tmp_path / "a.txt").write_text(odd + lines())
    source = open_source(f"words:{tmp_path / 'a.txt'}")
    assert [note.partition(" of ")[0] for note in source.info.notes] == ["1 words"]
    assert "more than once; the first of each is used" in source.info.notes[0]
    np.testing.assert_allclose(vector_of(source, "salt"), VECTORS[0], atol=1e-6)


def test_a_vector_that_is_not_finite_is_named_when_it_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(lines(["the", "of"]) + "salt 1e99 1 1 1 1 1\n")
    source = open_source(f"words:{tmp_path / 'a.txt'}")
    with pytest.raises(SourceError, match="word 3, 'salt', is not"):
        vector_of(source, "salt")


def test_random_vectors_for_the_same_words_are_the_control_arm(tmp_path: Path) -> None:
    path = write(tmp_path, "glove")
    one, other = (open_source(f"words:{path}", weights="none", seed=seed) for seed in (0, 1))
    assert one.network().fingerprint != other.network().fingerprint
    assert isinstance(one, WordSource) and isinstance(other, WordSource)
    assert (vector_of(one, "salt") != vector_of(other, "salt")).all()
    assert not vector_of(one, "zebra").any()


def test_full_coverage_is_reported_too(tmp_path: Path) -> None:
    import headstart as hs

    texts = [f"{one} {other}" for one in ("salt", "the") for other in TOPICS["music"]]
    model = hs.fit((texts, ["a"] * 12 + ["b"] * 12), source=f"words:{write(tmp_path, 'glove')}")
    assert model.report["texts"]["coverage"] == 1 and model.report["texts"]["unknown"] == []
    assert any("knows 100.0% of the running words." in note for note in model.report["warnings"])


@pytest.mark.parametrize("layer", ["pool", "sif", "joined"])
def test_every_layer_has_words_that_speak_for_its_classes(tmp_path: Path, layer: str) -> None:
    import headstart as hs

    rows = sentences(10)
    data = [text for text, _ in rows], [label for _, label in rows]
    hs.fit(data, source=f"words:{write(tmp_path, 'glove')}", layer=layer, out=tmp_path / "out")
    assert "By word vectors" in (tmp_path / "out" / "report.html").read_text()


def test_fit_reports_coverage_and_chooses_between_the_means(tmp_path: Path) -> None:
    import headstart as hs

    rows = sentences(16)
    path = write(tmp_path, "glove")
    data = [text for text, _ in rows], [label for _, label in rows]
    model = hs.fit(data, source=f"words:{path}", out=tmp_path / "out")
    said = model.report["texts"]
    assert 0.2 < said["coverage"] < 0.5 and dict(map(tuple, said["unknown"]))
    assert model.report["layer"] in ("pool", "sif", "joined")
    assert any("of the running words" in note for note in model.report["warnings"])
    again = hs.load(tmp_path / "out" / "bundle")
    texts = [text for text, _ in rows[:4]]
    np.testing.assert_allclose(again.predict_proba(texts), model.predict_proba(texts), atol=1e-6)
    assert np.isfinite(model.predict_proba(["zebra yak"])).all()
