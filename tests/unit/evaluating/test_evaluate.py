"""A bundle on new labelled data: what is judged, what is said of it, and which of two is better."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from tests.support.forged import resign
from tests.support.worded import write_texts, write_vectors

import headstart as hs
from headstart.base.errors import DataError, UsageError
from headstart.base.progress import Progress
from headstart.evaluating.evaluate import EvaluateResult, run_evaluate, write_evaluation
from headstart.evaluating.options import EvaluateOptions
from headstart.testing import toy_photos

WORDS = {"sports": "goal match team win score", "food": "bread soup cheese taste cook", "travel": "train hotel sea map"}
NEXT = {"sports": "food", "food": "travel", "travel": "sports"}


def table(
    path: Path, seed: int, *, per_class: int = 14, renamed: dict[str, str] | None = None, split: str = ""
) -> Path:
    """Write texts of three classes that their words tell apart; `renamed` gives a class the label of another."""
    rng = np.random.default_rng(seed)
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["text", "label", *(["split"] if split else [])])
        for number in range(14):
            for label, words in WORDS.items():
                text = " ".join([*rng.choice(words.split(), 4), f"item{rng.integers(10**6)}"])
                part = [split if number % 2 else "train"] if split else []
                writer.writerow([text, (renamed or {}).get(label, label), *part])
    return path


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A bundle fitted on the truth, and one on labels that all name the next class."""
    folder = tmp_path_factory.mktemp("evaluate")
    for name, renamed in (("right", None), ("wrong", NEXT)):
        data = table(folder / f"{name}.csv", 1, renamed=renamed)
        hs.fit(data, source="packaged:wordllama", out=folder / name)
    return {"right": folder / "right", "wrong": folder / "wrong", "data": folder / "right.csv"}


def evaluated(bundle: Path, data: Path, **options: object) -> EvaluateResult:
    return run_evaluate(bundle, str(data), EvaluateOptions(**options), Progress())


def test_new_data_is_judged_whole_and_the_folder_is_written(bundles: dict[str, Path], tmp_path: Path) -> None:
    run = evaluated(bundles["right"], table(tmp_path / "new.csv", 2))
    lines = write_evaluation(tmp_path / "out", run)
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["examples"] == {"train": 0, "validation": 0, "test": 42, "skipped": 0, "ignored": 0}
    assert result["test"]["accuracy"]["value"] > 0.9 > result["baselines"]["majority"] + 0.5
    assert result["schema"] == 1 and result["when_fitted"]["data"] == "right.csv" and "against" not in result
    page = (tmp_path / "out" / "report.html").read_text()
    assert "headstart evaluate" in page and "when fitted, on right.csv" in page and "training texts" not in page
    assert [line.split(":")[0] for line in lines] == ["Report", "Result"]
    assert run.verdict.startswith("4") and "of 42 texts are classified correctly" in run.verdict


def test_the_better_of_two_bundles_is_named_with_its_paired_difference(
    bundles: dict[str, Path], tmp_path: Path
) -> None:
    new = table(tmp_path / "new.csv", 3)
    run = evaluated(bundles["right"], new, against=bundles["wrong"])
    gap = run.result["against"]["difference"]
    assert gap["low"] > 0.5 and "It is better than" in run.verdict
    back = evaluated(bundles["wrong"] / "bundle", new, against=bundles["right"])
    assert back.result["against"]["difference"]["value"] == pytest.approx(-gap["value"])
    assert "It is worse than" in back.verdict
    assert "It is not shown to differ" in evaluated(bundles["right"], new, against=bundles["right"]).verdict


def test_of_data_with_parts_the_test_part_is_judged(bundles: dict[str, Path], tmp_path: Path) -> None:
    run = evaluated(bundles["right"], table(tmp_path / "parts.csv", 4, split="test"))
    assert run.result["examples"]["test"] == 21 and run.result["unused"] == 21
    assert "Of 42 texts the 21 of the test part are judged." in run.result["warnings"]


def test_data_that_was_fitted_on_is_said_to_be_that(bundles: dict[str, Path]) -> None:
    assert "fitted on these very data" in evaluated(bundles["right"], bundles["data"]).result["warnings"][0]


def test_fewer_classes_are_judged_and_an_unknown_one_is_refused(bundles: dict[str, Path], tmp_path: Path) -> None:
    fewer = table(tmp_path / "fewer.csv", 5, renamed={"travel": "food"})
    run = evaluated(bundles["right"], fewer)
    assert "holds no example of 1 of the 3 classes" in " ".join(run.result["warnings"])
    assert len(run.result["confusion"]) == 3
    other = table(tmp_path / "other.csv", 5, renamed={"travel": "Travel"})
    with pytest.raises(UsageError, match=r"must be one of the model's 3.*'Travel'.*did you mean 'travel'"):
        evaluated(bundles["right"], other)


def test_data_of_another_kind_is_refused_before_any_work(bundles: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="must hold texts"):
        evaluated(bundles["right"], toy_photos(tmp_path / "photos"))
    with pytest.raises(DataError):
        evaluated(bundles["right"], tmp_path / "absent")


def test_columns_of_the_table_that_was_fitted_on_are_remembered(tmp_path: Path) -> None:
    data = table(tmp_path / "first.csv", 1)
    data.write_text(data.read_text().replace("text,label", "review,stars", 1))
    model = hs.fit(data, source="packaged:wordllama", text_column="review", label_column="stars")
    new = table(tmp_path / "new.csv", 6)
    new.write_text(new.read_text().replace("text,label", "review,stars", 1))
    evaluation = model.evaluate(new)
    assert evaluation.accuracy > 0.9 and len(evaluation.ids) == 42
    assert repr(evaluation).startswith("<Evaluation of 42 texts: accuracy 9") or evaluation.accuracy == 1


@pytest.fixture
def by_names(tmp_path: Path) -> Path:
    """A run on texts whose labels and groups stand in the names of their files."""
    hs.fit(
        named(tmp_path / "first", 1),
        source=write_vectors(tmp_path / "vectors.txt", width=4, apart=3),
        label_from="([a-z]+)_",
        group_by="_(g[0-9]+)",
        out=tmp_path / "run",
    )
    return tmp_path / "run"


def named(folder: Path, seed: int) -> Path:
    folder.mkdir()
    rows = write_texts(folder.with_suffix(".csv"), 40, seed=seed).read_text().splitlines()[1:]
    for number, row in enumerate(rows):
        text, label = row.split(",")
        (folder / f"{label}_g{number // 4}_{number}.txt").write_text(text)
    return folder


def test_patterns_that_the_model_was_fitted_with_are_remembered(by_names: Path, tmp_path: Path) -> None:
    evaluation = hs.load(by_names / "bundle").evaluate(named(tmp_path / "new", 2))
    assert evaluation.accuracy > 0.9 and len(evaluation.ids) == 40
    dataset = evaluation.scan.dataset
    assert len({example.group for example in dataset.examples}) == 10
    assert dataset.notes[-1].startswith("Read with --label-from '([a-z]+)_' and --group-by '_(g[0-9]+)'")


def test_a_pattern_that_is_asked_for_or_that_does_not_match_stands_above_the_remembered(
    by_names: Path, tmp_path: Path
) -> None:
    model = hs.load(by_names / "bundle")
    evaluation = model.evaluate(named(tmp_path / "new", 2), group_by="_([0-9])")
    assert {example.group for example in evaluation.scan.dataset.examples} == set("0123456789") - {""}
    table = model.evaluate(write_texts(tmp_path / "table.csv", 40, seed=3))
    assert len(table.ids) == 40 and not any("Read with" in note for note in table.scan.dataset.notes)
    with pytest.raises(UsageError, match="DATA"):
        model.evaluate(tmp_path / "absent")


def test_a_bundle_of_before_remembers_no_pattern(by_names: Path) -> None:
    resign(by_names / "bundle", lambda manifest: manifest["data"].pop("patterns"))
    assert hs.load(by_names / "bundle").data.patterns == {}
