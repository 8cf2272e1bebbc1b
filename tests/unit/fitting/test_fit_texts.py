"""Texts through the whole job: fit, report, bundle, predict."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from toy_texts import TOPICS, sentences, write_csv

import headstart as hs
from headstart.base.errors import UsageError
from headstart.base.progress import Progress
from headstart.cli.app import main
from headstart.fitting.fit import FitOptions, run_fit
from headstart.run.clock import Clock
from headstart.run.prepare import prepare

SOURCE = "packaged:wordllama"
HOSTILE = [
    "<script>alert(1)</script> boat",
    "{{7*7}} sail",
    "\x1b[31msong\x07",
    "👩‍👩‍👧 oven",
    "\u202eanchor",
    "a\0b tune",
]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_csv(tmp_path_factory.mktemp("texts") / "topics.csv", sentences(24))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, table: Path) -> Path:
    """The folder of one fit."""
    out = tmp_path_factory.mktemp("out") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADSTART_CACHE", str(tmp_path_factory.mktemp("cache")))
        hs.fit(table, source=SOURCE, out=out)
    return out


def test_the_result_speaks_of_texts(folder: Path) -> None:
    result = json.loads((folder / "result.json").read_text())
    assert result["task"] == "text-classification" and result["source"] == SOURCE
    assert result["engine"] == "numpy-f32" and result["classes"] == sorted(TOPICS)
    assert result["test"]["accuracy"]["value"] > 0.9 and result["baselines"]["simple"] > 0.8
    assert result["texts"]["truncated"] == 0 and result["texts"]["tokens"] == result["texts"]["used"] > 500
    assert set(result["words"]) == {"joined", "log_loss", "source_alone"}
    assert result["examples"] == {"train": 51, "validation": 0, "test": 21, "skipped": 0, "ignored": 0}


def test_the_report_shows_sentences_and_words_that_speak(folder: Path) -> None:
    page = (folder / "report.html").read_text()
    assert "TF-IDF with logistic regression" in page and "test texts" in page
    assert "By word vectors" in page and "By TF-IDF" in page
    words = page.partition("By word vectors")[2].partition("cooking</td>")[2].partition("</td>")[0]
    assert any(word in words for word in TOPICS["cooking"])
    assert 'class="gallery written"' in page and "data:image" not in page


def test_a_bundle_predicts_what_the_model_did_with_its_words(folder: Path, table: Path, tmp_path: Path) -> None:
    model = hs.load(folder / "bundle")
    texts = [text for text, _ in sentences(2, seed=9)]
    probabilities = model.predict_proba(texts)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert model.predict(texts) == [label for _, label in sentences(2, seed=9)]
    (tmp_path / "one.txt").write_text(texts[0])
    np.testing.assert_allclose(model.predict_proba([tmp_path / "one.txt"]), probabilities[:1], atol=1e-6)
    model.save(tmp_path / "again")
    np.testing.assert_array_equal(hs.load(tmp_path / "again").predict_proba(texts), probabilities)


def test_a_head_with_words_stacked_on_it_is_whole_in_the_bundle(table: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = []
    for at in range(200):
        marked = rng.random() > 0.1  # where neither is sure of all, both together are better than the source
        start = ("zq " if at % 2 else "qz ") if marked else ""
        rows.append((start + " ".join(rng.choice(list("abcdefgh"), 6)), str(at % 2)))
    model = hs.fit(
        write_csv(tmp_path / "a.csv", rows), source=hs.open_source(SOURCE, weights="none", seed=0), out=tmp_path / "out"
    )
    assert model.report["words"]["joined"] and model.terms is not None
    assert model.report["head"].endswith("+ words")
    np.testing.assert_allclose(model.predict_proba(["zq a b c", "qz a b c"]).argmax(axis=1), [1, 0])
    assert (tmp_path / "out" / "bundle" / "words.safetensors").is_file()


def test_hostile_texts_are_shown_as_text__TXT_04_TXT_05_TXT_07(tmp_path: Path) -> None:
    write_csv(tmp_path / "train.csv", sentences(12) + [(text, "music") for text in HOSTILE])
    write_csv(tmp_path / "test.csv", [(f"{text} too", "cooking") for text in HOSTILE] + sentences(3, seed=2))
    hs.fit(tmp_path, source=SOURCE, out=tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("<script>") == 1 and "&lt;script&gt;" in page  # that of the page itself
    assert "{{7*7}}" in page and "\x1b" not in page and "\x00" not in page and "\u202e" not in page
    model = hs.load(tmp_path / "out" / "bundle")
    assert np.isfinite(model.predict_proba([*HOSTILE, "zzzzqqq", "x" * 1_000_000])).all()


def test_a_million_copies_cost_one_row__TXT_06(tmp_path: Path) -> None:
    texts = ["the same words"] * 1_999 + ["not the same"] + [f"other words {at}" for at in range(40)]
    labels = ["a"] * 2_000 + ["b"] * 40
    model = hs.fit((texts, labels), source=SOURCE)
    assert model.report["cache"]["misses"] == 42


def test_the_default_source_follows_the_kind_and_a_source_of_another_kind_is_refused(table: Path) -> None:
    with pytest.raises(UsageError, match="must read texts; found packaged:efficientnet-lite0, which reads photos"):
        hs.fit(table, source="packaged:efficientnet-lite0")
    from headstart.data.readers.open import open_dataset
    from headstart.run.prepare import source_for

    assert source_for(open_dataset(table), FitOptions()).info.uri == "packaged:minilm"


def test_formulas_in_labels_are_escaped_in_what_is_written__TAB_12(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [(text, "=cmd|calc" if label == "music" else label) for text, label in sentences(12)]
    hs.fit(write_csv(tmp_path / "a.csv", rows), source=SOURCE, out=tmp_path / "out")
    given = [str(tmp_path / "out"), str(tmp_path / "a.csv"), "--out", str(tmp_path / "named.csv"), "--all"]
    monkeypatch.setattr("sys.argv", ["headstart", "predict", *given])
    with pytest.raises(SystemExit) as done:
        main()
    written = (tmp_path / "named.csv").read_text()
    assert done.value.code == 0 and "'=cmd|calc" in written and ",=cmd" not in written


def test_a_table_of_vectors_has_nothing_to_tune_and_pictures_settings_say_so(table: Path) -> None:
    with pytest.raises(UsageError, match="a table of vectors; leave it out, or take a network"):
        hs.fit(table, source=SOURCE, tune="all")
    for named, value in (("mixup", 0.2), ("size", 64)):
        with pytest.raises(UsageError, match=f"{named}= changes pictures; found texts; leave out {named}="):
            hs.fit(table, source=SOURCE, tune="all", **{named: value})  # type: ignore[arg-type]


def test_a_scikit_learn_transformer_takes_texts(cache: Path) -> None:
    x = hs.SourceFeatures(SOURCE).fit_transform(["the first text", "the second"])
    np.testing.assert_allclose(x, hs.open_source(SOURCE).encode(["the first text", "the second"]), atol=1e-6)


def test_columns_and_leaks_by_flag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    write_csv(tmp_path / "train.csv", [*sentences(12), ("the same", "music")], header=("body", "topic"))
    write_csv(tmp_path / "test.csv", [*sentences(4, seed=3), ("the same", "music")], header=("body", "topic"))
    flags = ["--text-column", "body", "--label-column", "topic", "--drop-test-duplicates", "--source", SOURCE, "--json"]
    monkeypatch.setattr("sys.argv", ["headstart", "fit", str(tmp_path), *flags, "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as done:
        main()
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert done.value.code == 0 and result["examples"]["train"] == 36
    inputs = str(tmp_path / "test.csv")
    flags = ["--text-column", "body", "--json"]
    monkeypatch.setattr("sys.argv", ["headstart", "predict", str(tmp_path / "out"), inputs, *flags])
    with pytest.raises(SystemExit) as done:
        main()
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert done.value.code == 0 and said["task"] == "text-classification" and len(said["predictions"]) == 13


def test_roles_are_remembered_and_every_row_comes_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    rows = [(label, "see below", text) for text, label in sentences(12)]
    lines = [f"{label};{title};{text}" for label, title, text in rows]
    (tmp_path / "bare.csv").write_text("\n".join(lines))
    hs.fit(
        tmp_path / "bare.csv",
        columns="kind,title,body",
        text_column=["title", "body"],
        label_column="kind",
        source=SOURCE,
        out=tmp_path / "out",
    )
    capsys.readouterr()
    (tmp_path / "new.csv").write_text("see below;salt and soup\n;\nsee below;the mast of a boat\n")
    given = ["predict", str(tmp_path / "out"), str(tmp_path / "new.csv"), "--out", str(tmp_path / "named.csv")]
    monkeypatch.setattr("sys.argv", ["headstart", *given])
    with pytest.raises(SystemExit) as done:
        main()
    assert done.value.code == 0
    written = list(csv.DictReader((tmp_path / "named.csv").read_text().splitlines()))
    assert [(row["body"], row["reason"]) for row in written] == [
        ("salt and soup", ""),
        ("", "empty"),
        ("the mast of a boat", ""),
    ]
    assert [row["label"] for row in written] == ["cooking", "", "sailing"]


@pytest.mark.thorough
def test_a_warm_fit_of_texts_imports_neither_torch_nor_scikit_learn(table: Path, cache: Path) -> None:
    import subprocess
    import sys

    code = (
        "import sys, headstart as hs\n"
        f"hs.fit({str(table)!r}, source={SOURCE!r})\n"
        "print([name for name in ('torch', 'sklearn', 'transformers', 'openvino', 'wordllama') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_same_run_twice_gives_the_same_figures(table: Path) -> None:
    one, other = (run_fit(table, FitOptions(source=SOURCE), Progress()).result for _ in range(2))
    assert one["test"] == other["test"] and other["cache"]["misses"] == 0
    assert one["texts"] == other["texts"]


@pytest.mark.slow
def test_the_default_source_from_nothing_cached(table: Path, cache: Path) -> None:
    rows = sentences(110)
    model = hs.fit(([f"{text} {at}" for at, (text, _) in enumerate(rows)], [label for _, label in rows]))
    assert model.report["source"] == "packaged:minilm" and model.report["engine"].startswith("openvino")
    assert model.report["test"]["accuracy"]["value"] > 0.9


def test_rows_that_say_the_same_are_kept_and_learned_from_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    distinct = sentences(8)
    run = run_fit(write_csv(tmp_path / "rows.csv", distinct * 250), FitOptions(source=SOURCE), Progress())
    assert run.result["examples"]["train"] + run.result["examples"]["test"] == 6_000
    assert (run.result["cache"]["misses"], run.result["test"]["accuracy"]["value"]) == (24, 1.0)
    assert sum(row["support"] for row in run.result["per_class"]) == run.result["examples"]["test"]
    prepared = prepare(tmp_path / "rows.csv", FitOptions(source=SOURCE), Progress(), Clock())
    learned = prepared.distinct(prepared.parts.train)
    assert len(prepared.extraction.x) == 24 and set(learned.counts) == {250}
    assert len(prepared.extraction.x_of_all) == 6_000
    texts = [text for text, _ in distinct]
    once = run.model.predict_proba(texts)
    np.testing.assert_allclose(run.model.predict_proba(texts * 3), np.tile(once, (3, 1)), atol=1e-6)
