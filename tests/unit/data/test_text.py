"""Texts: their encodings, and every form that they come in."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from toy_texts import TOPICS, sentences, write_csv

from headstart.base.errors import DataError
from headstart.base.progress import Progress
from headstart.data.audit import scan
from headstart.data.dataset import BadExample, Dataset
from headstart.data.readers.open import open_dataset, open_inputs
from headstart.data.split import split
from headstart.data.text import decode_text, remarks, text_bytes, text_of

ROWS = sentences(4)


def read_all(dataset: Dataset) -> list[tuple[str, str]]:
    return [(text_of(dataset.read(at)), example.label) for at, example in enumerate(dataset.examples)]


@pytest.mark.parametrize(
    ("data", "text", "encoding"),
    [
        ("naïve café".encode(), "naïve café", "UTF-8"),
        (b"\xef\xbb\xbfplain", "plain", "UTF-8"),
        ("naïve".encode("utf-16"), "naïve", "UTF-16"),
        ("naïve text that is long".encode("utf-16-le"), "naïve text that is long", "UTF-16"),
        ("naïve text that is long".encode("utf-16-be"), "naïve text that is long", "UTF-16"),
        ("naïve".encode("utf-32"), "naïve", "UTF-32"),
        ("naïve – “so”".encode("cp1252"), "naïve – “so”", "Windows-1252"),
        ("naïve".encode("latin-1"), "naïve", "Windows-1252"),
        (b"a\x00b\x01c", "a\x00b\x01c", "UTF-8"),
    ],
)
def test_encodings_are_found_and_nothing_is_replaced__TXT_03(data: bytes, text: str, encoding: str) -> None:
    assert decode_text(data) == (text, encoding)
    assert bool(remarks(data)) == (encoding != "UTF-8")


@pytest.mark.parametrize("data", [b"na\xefve \x81 x", b"\xff\xfe\x00\xd8", b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0d"])
def test_bytes_that_are_no_text_are_refused_with_their_offset__TXT_03(data: bytes) -> None:
    with pytest.raises(BadExample, match=r"not UTF-8 \(byte 0x.. at \d"):
        text_of(data)


@pytest.mark.parametrize("data", [b"", b"  \n\t ", b"\xef\xbb\xbf", "\u2003\u00a0".encode()])
def test_blank_texts_are_unusable__TXT_01(data: bytes) -> None:
    with pytest.raises(BadExample, match="empty"):
        text_of(data)


def test_half_a_surrogate_pair_is_named__TXT_04() -> None:
    with pytest.raises(BadExample, match="half a surrogate pair at character 2"):
        text_bytes("ab\ud800")


def test_tables_of_texts_in_every_format_give_the_same(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", ROWS)
    lines = [f"{text}\t{label}\n" for text, label in ROWS]
    (tmp_path / "a.tsv").write_text("text\tlabel\n" + "".join(lines))
    objects = [json.dumps({"label": label, "text": text, "more": [1]}) + "\n" for text, label in ROWS]
    (tmp_path / "a.jsonl").write_text("\n".join(objects))
    pq.write_table(
        pa.table({"text": [row[0] for row in ROWS], "label": [row[1] for row in ROWS]}), tmp_path / "a.parquet"
    )
    for name in ("a.csv", "a.tsv", "a.jsonl", "a.parquet"):
        dataset = open_dataset(tmp_path / name)
        assert (dataset.kind, dataset.items, dataset.classes) == ("text", "texts", tuple(sorted(TOPICS)))
        assert read_all(dataset) == ROWS, name
    items = open_dataset(([text for text, _ in ROWS], [label for _, label in ROWS]))
    assert items.kind == "text" and read_all(items) == ROWS


def test_other_column_names_are_given_by_name__TAB_01(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", ROWS, header=("Sentence", "Class"))
    with pytest.raises(DataError, match="the column 'body'; found the columns Sentence, Class"):
        open_dataset(path, columns={"text": "body"})
    assert read_all(open_dataset(path, columns={"text": "sentence", "label": "class"})) == ROWS


def test_the_named_text_column_wins_over_a_path_column(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("path,body,label\na.jpg,first words,x\nb.jpg,second words,y\n")
    assert open_dataset(path).kind == "image"
    assert read_all(open_dataset(path, columns={"text": "body"})) == [("first words", "x"), ("second words", "y")]


def test_empty_cells_and_missing_labels_are_skipped__TXT_01_TAB_02(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows: list[dict[str, object]] = [{"text": text, "label": label} for text, label in ROWS]
    rows += [
        {"text": " ", "label": "music"},
        {"text": None, "label": "music"},
        {"text": "x"},
        {"text": "y", "label": ""},
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    dataset = open_dataset(path)
    assert [(one.id, one.reason) for one in dataset.skipped] == [
        ("a.jsonl#13", "empty"),
        ("a.jsonl#14", "empty"),
        ("a.jsonl#15", "no label"),
        ("a.jsonl#16", "no label"),
    ]
    assert dataset.total == len(rows)


@pytest.mark.parametrize("line", ["[1]", "{", '"x"', "nonsense"])
def test_a_line_that_is_no_object_is_named__TAB_10(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a", "label": "b"}\n' + line + "\n")
    with pytest.raises(DataError, match="line 2 must be a JSON object"):
        open_dataset(tmp_path / "a.jsonl")


def test_numeric_labels_stay_apart__TAB_03(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\none,1\ntwo,01\nthree,1.0\n")
    dataset = open_dataset(tmp_path / "a.csv")
    assert dataset.classes == ("01", "1", "1.0")
    assert len(dataset.notes) == 2


def test_one_class_only_is_an_error__TAB_04(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\none,x\ntwo,x\n")
    with pytest.raises(DataError, match="at least two classes"):
        open_dataset(tmp_path / "a.csv")


def test_nearly_equal_labels_are_listed__TAB_07(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\none,Cat\ntwo,cat \n")
    assert "Nearly equal labels" in open_dataset(tmp_path / "a.csv").notes[0]


def test_paths_in_a_text_column_are_texts_and_never_opened__TAB_08_TAB_09(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\n../../etc/passwd,x\nhttp://169.254.169.254/,y\n")
    assert [text for text, _ in read_all(open_dataset(tmp_path / "a.csv"))] == [
        "../../etc/passwd",
        "http://169.254.169.254/",
    ]


def test_quotes_line_breaks_and_semicolons_in_texts__TAB_10(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes('\ufefftext;label\r\n"two\r\nlines; and ""quotes""";x\r\nplain;y\r\n'.encode())
    assert read_all(open_dataset(tmp_path / "a.csv")) == [('two\r\nlines; and "quotes"', "x"), ("plain", "y")]


def test_nul_and_control_characters_are_used__TXT_05(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"text,label\na\x00b\x07c,x\nplain,y\n")
    assert read_all(open_dataset(tmp_path / "a.csv"))[0] == ("a\x00b\x07c", "x")


def test_folders_of_text_files_are_texts_unless_a_picture_is_there(tmp_path: Path) -> None:
    for at, (text, label) in enumerate(ROWS):
        (tmp_path / "data" / label).mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / label / f"{at:02d}.txt").write_text(text)
    (tmp_path / "data" / "music" / "note.pdf").write_bytes(b"x")
    with tarfile.open(tmp_path / "data.tar", "w") as tar:
        tar.add(tmp_path / "data", "data")
    for path in (tmp_path / "data", tmp_path / "data.tar"):
        dataset = open_dataset(path)
        assert (dataset.kind, dataset.ignored) == ("text", 1)
        assert sorted(read_all(dataset)) == sorted(ROWS)
    (tmp_path / "data" / "music" / "a.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(DataError, match="must hold photos"):
        open_dataset(tmp_path / "data")


def test_a_latin_file_among_utf8_is_read_and_noted__TXT_03(tmp_path: Path) -> None:
    for label, data in (("x", "café noir".encode("latin-1")), ("y", "thé vert".encode())):
        (tmp_path / label).mkdir()
        (tmp_path / label / "a.txt").write_bytes(data)
    found = scan(open_dataset(tmp_path), progress=Progress())
    assert found.notes == ("Texts that are not in UTF-8, read as Windows-1252: 1 (x/a.txt).",)


class Loaded:
    """What a data set of the library `datasets` offers."""

    def __init__(self, columns: dict[str, list[object]], names: list[str] | None = None) -> None:
        self._columns = columns
        self.column_names = list(columns)
        self.features = {name: type("Feature", (), {"names": names if name == "label" else None}) for name in columns}

    def __getitem__(self, name: str) -> list[object]:
        return self._columns[name]


def test_data_sets_of_the_hub_library_are_read_by_what_they_offer() -> None:
    train = Loaded({"text": ["a b", "c d", "e"], "label": [0, 1, -1]}, ["cat", "dog"])
    test = Loaded({"text": ["f"], "label": [1]}, ["cat", "dog"])
    dataset = open_dataset({"train": train, "test": test})
    assert [(one.id, one.label, one.split) for one in dataset.examples] == [
        ("train#0", "cat", "train"),
        ("train#1", "dog", "train"),
        ("test#0", "dog", "test"),
    ]
    assert [one.reason for one in dataset.skipped] == ["no label"]
    assert open_dataset(train).classes == ("cat", "dog")
    with pytest.raises(DataError, match="must be named train"):
        open_dataset({"unsupervised": train})
    with pytest.raises(DataError, match="class ids below 1"):
        open_dataset(Loaded({"text": ["a", "b"], "label": [0, 1]}, ["cat"]))


def test_copies_across_given_parts_are_counted_and_can_be_left_out(tmp_path: Path) -> None:
    write_csv(tmp_path / "train.csv", [*ROWS, ("the same", "music"), ("the same", "music")])
    write_csv(tmp_path / "test.csv", [*sentences(2, seed=1), ("the same", "music")])
    found = scan(open_dataset(tmp_path), progress=Progress())
    kept = split(found.dataset, found.hashes, seed=0)
    assert "1 example of other parts is an exact copy of training examples" in " ".join(kept.notes)
    parts = split(found.dataset, found.hashes, seed=0, drop_test_duplicates=True)
    assert len(kept.train) - len(parts.train) == 2 and parts.test == kept.test
    assert "2 training examples are exact copies" in " ".join(parts.notes)


def test_inputs_must_be_of_the_models_kind(tmp_path: Path) -> None:
    table = write_csv(tmp_path / "a.csv", ROWS)
    (tmp_path / "one.txt").write_text("a text")
    (tmp_path / "photos.csv").write_text("path\na.jpg\n")
    assert len(open_inputs([table, tmp_path / "one.txt"], kind="text")) == len(ROWS) + 1
    with pytest.raises(DataError, match="must hold texts, which the model was fitted on; found photos"):
        open_inputs([tmp_path / "photos.csv"], kind="text")
    with pytest.raises(DataError, match="must hold photos"):
        open_inputs([table])


def test_lists_are_texts_only_where_no_item_is_a_path(tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(b"\xff\xd8\xff")
    assert open_dataset((["a text", "another\nwith a line break"], ["x", "y"])).kind == "text"
    assert open_dataset((["a.jpg", "b.jpg"], ["x", "y"])).kind == "image"
    assert open_dataset(([str(tmp_path / "there"), "a text"], ["x", "y"])).kind == "image"


def test_a_class_with_one_text_is_named__TAB_05(tmp_path: Path) -> None:
    found = scan(open_dataset(write_csv(tmp_path / "a.csv", [*ROWS, ("alone", "rare")])), progress=Progress())
    with pytest.raises(DataError, match="a single one of 'rare'"):
        split(found.dataset, found.hashes, seed=0)


def test_a_label_that_only_the_test_part_has_is_named__TAB_06(tmp_path: Path) -> None:
    write_csv(tmp_path / "train.csv", ROWS)
    write_csv(tmp_path / "test.csv", [("new", "unseen")])
    found = scan(open_dataset(tmp_path), progress=Progress())
    with pytest.raises(DataError, match="'unseen'"):
        split(found.dataset, found.hashes, seed=0)


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl"])
@pytest.mark.parametrize(("content", "says"), [(b"", "empty"), (b"PK\x03\x04rest", "Excel workbook")])
def test_empty_tables_and_workbooks_are_no_tables__TAB_11(
    tmp_path: Path, suffix: str, content: bytes, says: str
) -> None:
    (tmp_path / f"a.{suffix}").write_bytes(content)
    with pytest.raises(DataError, match=says):
        open_dataset(tmp_path / f"a.{suffix}")
