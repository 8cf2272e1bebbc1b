"""Predictions as lines and as JSON: the class of the greatest probability, safe for a terminal; and what is refused."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from served import small_run
from toy_texts import sentences, write_csv

import headstart as hs
from headstart.base.errors import UsageError
from headstart.base.progress import Progress
from headstart.cli.predict import PredictOptions, as_json_object, as_lines, check_out_file, predict_inputs
from headstart.data.dataset import Skipped
from headstart.judge.prediction import Predictions

MODEL: Any = SimpleNamespace(classes=("cat", "dog"), source=SimpleNamespace(info=SimpleNamespace(kind="image")))
TWO = Predictions(
    ("a.jpg", "long/b.jpg"),
    np.array([[0.25, 0.75], [0.5123456, 0.4876544]], np.float32),
    (Skipped("c.jpg", "", "empty"),),
    3,
)


def test_each_line_has_the_input_the_likeliest_class_and_its_probability() -> None:
    assert list(as_lines(MODEL, TWO, every_class=False)) == ["a.jpg       dog  0.750", "long/b.jpg  cat  0.512"]
    assert list(as_lines(MODEL, TWO, every_class=True)) == [
        "a.jpg       dog  0.750  (cat 0.250, dog 0.750)",
        "long/b.jpg  cat  0.512  (cat 0.512, dog 0.488)",
    ]


def test_what_is_unlike_the_training_data_is_marked() -> None:
    marked = replace(TWO, novelty=np.array([1.25, 0.5], np.float32))
    assert list(as_lines(MODEL, marked, every_class=False)) == [
        "a.jpg       dog  0.750  unlike the training data",
        "long/b.jpg  cat  0.512",
    ]
    shown = as_json_object(MODEL, marked, bundle=Path("x"), every_class=False)["predictions"]
    assert [(one["novelty"], one["unlike"]) for one in shown] == [(1.25, True), (0.5, False)]


def test_texts_are_shown_as_they_begin() -> None:
    shown = replace(TWO, texts=("a film\n of " + "x" * 99, "bad\x1b[31m"))
    lines = list(as_lines(MODEL, shown, every_class=False))
    assert lines[0].startswith("a film of xxx") and lines[0].endswith("x…  dog  0.750")
    assert lines[1].startswith("bad\\x1b[31m ")
    assert as_json_object(MODEL, shown, bundle=Path("x"), every_class=False)["predictions"][1]["text"] == "bad\x1b[31m"


@pytest.fixture
def topics(tmp_path: Path) -> Path:
    hs.fit(write_csv(tmp_path / "topics.csv", sentences(12)), source="packaged:wordllama", out=tmp_path / "run")
    return tmp_path / "run"


def found(run: Path, inputs: list[str], **options: Any) -> Predictions:
    return predict_inputs(run, inputs, PredictOptions(**options), Progress())[1]


def test_texts_come_from_options_and_standard_input(topics: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("some bread soup\n\nthe guitar song\n"))
    texts = found(topics, ["-"], text=("we bake bread",)).texts
    assert texts == ("we bake bread", "some bread soup", "the guitar song")
    with pytest.raises(UsageError, match="of files or of texts"):
        found(topics, ["new.csv"], text=("bread",))
    with pytest.raises(UsageError, match="INPUT must name something"):
        found(topics, [])


def test_paths_come_from_standard_input(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = small_run(tmp_path)
    paths = sorted(str(path) for path in (tmp_path / "photos0").rglob("*.png"))[:3]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(paths)))
    predictions = found(run, ["-"])
    assert list(predictions.ids) == paths and predictions.texts is None
    with pytest.raises(UsageError, match="--text needs a model of texts, and this one reads photos"):
        found(run, [], text=("bread",))


def test_names_and_classes_that_could_drive_a_terminal_are_escaped__IMG_18() -> None:
    hostile: Any = SimpleNamespace(classes=("\x1b[31mred", "a\nb"), source=MODEL.source)
    odd = Predictions(("new\nline.jpg",), np.array([[0.9, 0.1]], np.float32), ())
    assert list(as_lines(hostile, odd, every_class=True)) == [
        "new\\nline.jpg  \\x1b[31mred  0.900  (\\x1b[31mred 0.900, a\\nb 0.100)"
    ]


def test_json_has_every_input_those_left_out_and_all_probabilities_only_where_asked() -> None:
    found = as_json_object(MODEL, TWO, bundle=Path("runs/x"), every_class=False)
    assert found == {
        "schema": 1,
        "task": "image-classification",
        "bundle": "runs/x",
        "predictions": [
            {"path": "a.jpg", "label": "dog", "probability": 0.75},
            {"path": "long/b.jpg", "label": "cat", "probability": 0.512346},
        ],
        "ignored": 3,
        "skipped": [{"path": "c.jpg", "reason": "empty"}],
    }
    every = as_json_object(MODEL, TWO, bundle=Path("x"), every_class=True)["predictions"]
    assert every[1]["probabilities"] == {"cat": 0.512346, "dog": 0.487654}


def test_a_folder_for_the_predictions_is_refused_before_the_bundle_is_opened(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"--out must be the path of a CSV file; found the folder .*; give .*preds\.csv"
    ):
        check_out_file(tmp_path)
    check_out_file(tmp_path / "p.csv")
    with pytest.raises(UsageError, match="bundle"):
        found(tmp_path / "no bundle", ["x.jpg"])


def test_options_of_other_commands_are_refused_with_the_nearest() -> None:
    assert PredictOptions(every_class=True).every_class and PredictOptions().out is None
    with pytest.raises(UsageError, match="every_class"):
        PredictOptions(every_clas=True)
