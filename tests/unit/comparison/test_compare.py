"""A whole comparison on toy photos: every arm, the folder, going on where it stopped, and what cannot be run."""

from __future__ import annotations

import copy
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from simulated import arms, simulate

from headstart.base.errors import DataError, UsageError
from headstart.base.progress import Progress, Step
from headstart.cli.app import app
from headstart.comparison.budget import Limits
from headstart.comparison.compare import run_compare, run_several, write_several
from headstart.comparison.options import CompareOptions, label_numbers
from headstart.comparison.outcome_store import Outcomes
from headstart.comparison.result import ComparisonResult, write_comparison
from headstart.judge.benefit.benefit import compute_benefit
from headstart.judge.benefit.results import ComparisonMeta, Outcome
from headstart.run.folder import ARMS, CHECKPOINTS
from headstart.testing import PlantedSource, ToySource, toy_photos, toy_stripes

QUICK = Limits(epochs={"scratch": (2, 3), "tuned": (2, 3)})


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch, warm_cache: Path) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(warm_cache))


class Listening(Progress):
    """Progress that keeps the names of the runs of arms, and interrupts one after so many, as Ctrl-C does."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.runs: list[str] = []
        self.lines: list[str] = []
        self.stop_after = stop_after

    @contextmanager
    def step(self, name: str, total: int | None = None, unit: str = "items", *, done: int = 0) -> Iterator[Step]:
        yield Named(self)

    def say(self, text: str) -> None:
        self.lines.append(text)


class Named(Step):
    def __init__(self, listening: Listening) -> None:
        self._listening = listening

    def advance(self, count: int = 1, note: str = "") -> None:
        run = note.partition(" (")[0]
        if run and run not in self._listening.runs:
            if len(self._listening.runs) == self._listening.stop_after:
                raise KeyboardInterrupt
            self._listening.runs.append(run)


class Unknown(ToySource):
    """A source whose network with random weights cannot be made."""

    def anew(self, seed: int) -> ToySource:
        raise RuntimeError("no such convolution")


class Fragile(ToySource):
    """A source whose network loses every number where a step moves a weight of it by more than `MAX_STEP`."""

    MAX_STEP = 6e-4

    def anew(self, seed: int) -> ToySource:
        return Fragile(seed)

    def module(self) -> Any:
        network = copy.deepcopy(super().module())
        network.stages[0][0].register_forward_hook(Breaking(self.MAX_STEP))
        return network


class Breaking:
    def __init__(self, limit: float) -> None:
        self.limit, self.before = limit, None

    def __call__(self, module: Any, inputs: Any, output: Any) -> Any:
        weight, before = module.weight.detach().clone(), self.before
        self.before = weight
        moved = 0.0 if before is None or before.shape != weight.shape else float((weight - before).abs().max())
        return output * float("nan") if moved > self.limit else output


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_photos(tmp_path_factory.mktemp("compare") / "photos", classes=3, per_class=20, seed=1)


def options(folder: Path | None = None, **how: Any) -> CompareOptions:
    plain = {"source": ToySource(0), "labels_per_class": (None,), "seeds": 2, "tune": "all", "budget": 60.0}
    return CompareOptions(**{**plain, "out": folder, "engine": "torch", **how})


def compared(data: Any, folder: Path | None = None, progress: Progress | None = None, **how: Any) -> ComparisonResult:
    return run_compare(data, options(folder, **how), progress or Progress(), limits=QUICK)


@pytest.mark.thorough
def test_every_arm_on_the_same_photos(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    whole = compared(photos, out, labels_per_class=[10, "all"])
    write_comparison(out, whole)
    found = whole.benefit
    assert not found.failures
    assert [(one.per_class, len(one.tested), set(one.arms)) for one in found.results] == [
        (10, 2, {"majority", "simple", "start", "frozen", "scratch", "tuned"}),
        (None, 2, {"majority", "simple", "start", "frozen", "scratch", "tuned"}),
    ]
    last = found.results[-1].arms
    assert last["scratch"].epochs.tolist() == [0, 1, 2, 3]
    few = found.results[0].arms
    np.testing.assert_array_equal(few["tuned"].right[:, -1], few["frozen"].right[:, -1])
    assert few["tuned"].note == "frozen: too few labels to judge tuning by"
    said = json.loads((out / "result.json").read_text())
    assert said["schema"] == 1 and said["verdict"] in ("benefit", "harm", "none", "baseline")
    assert set(said["arms"]) == {"baseline", "scratch", "frozen", "tuned"}
    for name in ("start", "slope", "asymptote", "labels_saved"):
        assert {"value", "low", "high"} <= said[name].keys()
    page = " ".join(re.sub("<[^>]*>", "", unescape((out / "report.html").read_text())).split())
    assert said["sentence"] in page.replace("\N{MINUS SIGN}", "-")
    assert said["examples"]["test"] == 18 and said["seeds"] == {"10": 2, "all": 2}
    kept = {path.name for path in (out / ARMS).iterdir()}
    assert {"scratch-10-seed1", "tuned-all-seed1", "frozen-all-seed0"} <= kept
    assert not (out / CHECKPOINTS).exists()


@pytest.mark.thorough
def test_one_that_was_stopped_continues_and_runs_no_arm_twice(photos: Path, tmp_path: Path) -> None:
    whole, listening = compared(photos), Listening(stop_after=3)
    with pytest.raises(KeyboardInterrupt):
        compared(photos, tmp_path, listening)
    assert len(listening.runs) == 3
    resumed = Listening()
    again = compared(photos, tmp_path, resumed)
    assert resumed.runs == ["Tuned, all labels, seed 2 of 2"], "three of four were there"
    for name, one in again.benefit.results[-1].arms.items():
        np.testing.assert_array_equal(one.right, whole.benefit.results[-1].arms[name].right)
    assert again.benefit.asymptote == whole.benefit.asymptote
    with pytest.raises(UsageError, match=r"same data and arguments.*seed"):
        compared(photos, tmp_path, seed=7)
    write_comparison(tmp_path, again)
    assert json.loads((tmp_path / "result.json").read_text())["schema"] == 1


def test_an_arm_that_fails_is_named_and_the_others_are_reported(photos: Path) -> None:
    found = compared(photos, source=Unknown(), seeds=1, tune="none")
    assert found.benefit.failures == {"scratch": "RuntimeError: no such convolution"}
    assert found.result["arms"]["scratch"] == {"error": "RuntimeError: no such convolution"}
    assert found.result["against"] == "simple" and found.result["start"]["value"] is None
    assert any("no such convolution" in one for one in found.result["warnings"])


def test_a_budget_too_short_for_an_epoch_leaves_baselines_and_frozen_source(photos: Path) -> None:
    nothing_left = replace(QUICK, reserve=1.0)
    found = run_compare(photos, options(seeds=1), Progress(), limits=nothing_left)
    assert set(found.benefit.failures) == {"scratch", "tuned"}
    assert found.benefit.failures["scratch"].startswith("the budget does not suffice: give ")
    assert found.result["verdict"] in ("unanswered", "baseline")
    assert found.result["arms"]["frozen"]["accuracy"]["value"] > 0


@pytest.mark.thorough
def test_what_is_left_of_the_budget_goes_to_runs_that_it_cut(photos: Path, tmp_path: Path) -> None:
    whole = compared(photos, tmp_path / "whole", tune="none").benefit.results[-1].arms["scratch"]
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    outcomes = Outcomes(tmp_path / "cut" / CHECKPOINTS, print)
    outcome = outcomes.get("scratch", "all", 0)
    assert outcome is not None and not outcome.cut
    shutil.rmtree(tmp_path / "cut" / CHECKPOINTS / "scratch-all-seed0")
    part = {name: getattr(outcome, name)[:2] for name in ("epochs", "right", "loss", "seconds")}
    outcomes.put("scratch", "all", 0, replace(outcome, cut=True, **part))
    listening = Listening()
    found = compared(photos, tmp_path / "cut", listening, tune="none").benefit.results[-1].arms["scratch"]
    assert listening.runs == ["Scratch, all labels, seed 1 of 2, again"]
    assert not found.cut and found.epochs[-1] == 3
    np.testing.assert_array_equal(found.right, whole.right)


def test_a_run_whose_loss_explodes_starts_again_at_a_lower_rate(photos: Path) -> None:
    scratch = compared(photos, source=Fragile(), seeds=1, tune="none").benefit.results[-1].arms["scratch"]
    assert scratch.epochs[-1] == 3 and not scratch.cut
    assert "3 epochs, at a rate of 3.3e-04, for at a higher one its loss exploded" in scratch.note


def test_label_counts_that_the_data_has_not_are_left_out_and_said(photos: Path) -> None:
    found = compared(photos, labels_per_class=(10, 50), seeds=1, tune="none", budget=1.0)
    assert [one.per_class for one in found.benefit.results] == [10]
    assert "Left out 50 labels per class: the smallest class has 14 to learn from." in found.result["warnings"]
    with pytest.raises(DataError, match="the smallest class must have 50 examples to learn from; found 14"):
        compared(photos, labels_per_class=(50,))


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"tune": "lst:1"}, "--tune must be one of"),
        ({"labels_per_class": (1,)}, "--labels-per-class must be at least 2"),
        ({"seeds": 0}, "--seeds must be at least 1"),
        ({"engine": "cuda"}, "--engine must be one of"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(how: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        run_compare("nowhere/", options(**how), Progress())


@pytest.mark.thorough
def test_a_source_that_knows_the_stripes_is_found_to_help() -> None:
    plain = options(source=PlantedSource(), labels_per_class=(10,), seeds=3, tune="none")
    short = Limits(epochs={"scratch": (4, 4)})
    found = run_compare(toy_stripes(3, 30, noise=0.05), plain, Progress(), limits=short).benefit
    assert found.verdict == "benefit"
    assert found.sentence.startswith("Use the source: compared with ")


def test_tensorboard_has_the_curves_on_the_test_part(photos: Path, tmp_path: Path) -> None:
    compared(photos, seeds=1, tune="none", tensorboard=tmp_path)
    (folder,) = tmp_path.iterdir()
    assert folder.name == "Scratch-all-labels-seed-1-of-1"
    data = next(folder.iterdir()).read_bytes()
    assert data.count(b"test/accuracy") == 4 and b"validation/accuracy" not in data


def test_few_labels_have_as_many_seeds_as_were_asked_for(photos: Path) -> None:
    found = compared(photos, source=Unknown(), labels_per_class=(3, None), tune="none")
    assert found.result["seeds"] == {"3": 2, "all": 2}


def made_up(how: CompareOptions, frozen: float) -> ComparisonResult:
    """Return a comparison of simulated results, and the folder that a real one would have left."""
    about = ComparisonMeta(str(how.source), "raw pixels", "photos")
    simulated = simulate(arms(start=0.5, frozen=frozen, scratch=(0.3, 0.5)), n=100)
    benefit = compute_benefit([simulated], np.arange(100) % 5, about)
    assert how.checkpoints is not None
    how.checkpoints.mkdir(parents=True)
    plain = {"schema": 1, "task": "image-classification", "source": how.source, "seeds": {"all": 5}, "classes": []}
    counts = dict.fromkeys(("train", "test", "skipped", "ignored"), 1)
    plain |= {"examples": counts, "engine": "torch", "seed": 0, "budget": 1.0, "seconds": {"total": 1.0}}
    return ComparisonResult("toys", benefit, {**plain, "warnings": [], **benefit.as_dict()})


def test_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    given: list[CompareOptions] = []

    def recorded(data: Any, how: CompareOptions, progress: Progress) -> ComparisonResult:
        given.append(how)
        return made_up(how, 0.9)

    monkeypatch.setattr("headstart.comparison.compare.run_compare", recorded)
    flags = ["--source", "toy:a", "--labels-per-class", "5,all", "--seeds", "7", "--budget", "2m", "--tune", "last:1"]
    app(["compare", "photos/", *flags, "--seed", "3", "--out", str(tmp_path / "a"), "--json"], standalone_mode=False)
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said == json.loads((tmp_path / "a" / "result.json").read_text())
    (how,) = given
    assert (how.source, how.labels_per_class, how.seeds, how.budget) == ("toy:a", (5, None), 7, 120.0)
    assert (how.tune, how.seed, how.layer) == ("last:1", 3, "auto")
    app(["compare", "photos/", "--out", str(tmp_path / "b")], standalone_mode=False)
    assert (given[1].source, given[1].labels_per_class, given[1].tune) == (None, None, "auto")
    shown = capsys.readouterr().out
    assert shown.startswith("Use the source") and "Report: " in shown
    assert all(len(line) <= 80 for line in shown.splitlines()[1:-2])
    app(
        ["compare", "photos/", "--source", "toy:a", "--source", "toy:b", "--out", str(tmp_path / "c")],
        standalone_mode=False,
    )
    assert "Each source: " in capsys.readouterr().out
    with pytest.raises(UsageError, match="--budget must be a time"):
        app(["compare", "photos/", "--budget", "soon"], standalone_mode=False)


def test_several_sources_share_the_budget_and_the_best_comes_first(tmp_path: Path) -> None:
    given: list[CompareOptions] = []

    def compared(data: Any, how: CompareOptions, progress: Progress) -> ComparisonResult:
        given.append(how)
        if len(given) == 2:
            raise KeyboardInterrupt
        return made_up(how, 0.9 if how.source == "toy:b" else 0.6)

    several = partial(
        run_several,
        None,
        ["toy:a", "toy:b", "toy:c"],
        CompareOptions(budget=90.0, out=tmp_path),
        Progress(),
        compare=compared,
    )
    with pytest.raises(KeyboardInterrupt):
        several()
    found = several()
    assert [(one.source, one.budget) for one in given] == [
        ("toy:a", 30.0),
        ("toy:b", 30.0),
        ("toy:b", 30.0),
        ("toy:c", 30.0),
    ]
    write_several(tmp_path, found)
    said = json.loads((tmp_path / "result.json").read_text())
    assert said["source"] == said["sources"][0]["source"] == "toy:b"
    assert all((tmp_path / one["folder"] / "report.html").exists() for one in said["sources"])
    assert not (tmp_path / CHECKPOINTS).exists() and found.verdict.startswith("toy:b: Use the source")


@pytest.mark.thorough
def test_training_photos_that_the_test_part_holds_too_can_be_left_out(photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos, tmp_path / "data" / "train")
    for name in ("class0", "class1", "class2"):
        (tmp_path / "data" / "test" / name).mkdir(parents=True)
        for photo in sorted((tmp_path / "data" / "train" / name).iterdir())[:5]:
            shutil.copy(photo, tmp_path / "data" / "test" / name / photo.name)
            if name != "class0":
                photo.unlink()
    how = {"seeds": 1, "tune": "none", "budget": 1.0}
    plain, dropped = (compared(tmp_path / "data", **how, drop_test_duplicates=drop).result for drop in (False, True))
    assert (plain["examples"]["train"], dropped["examples"]["train"]) == (50, 45)
    assert any("5 training examples are exact copies" in note for note in dropped["warnings"])
    assert dropped["relatives"]["test"] == 0 and plain["relatives"]["test"] == 5
    assert plain["arms"]["frozen"]["accuracy_without_relatives"]["low"] >= 0
    assert any("--drop-test-duplicates" in note for note in plain["warnings"])


def test_the_weights_of_one_source_are_not_those_of_several(tmp_path: Path) -> None:
    for how in ({"weights": "some.pth"}, {"arch": "timm:resnet18"}):
        with pytest.raises(UsageError, match="--weights and --arch belong to one source; found 2 sources"):
            run_several(tmp_path, ["one", "other"], options(tmp_path, **how), Progress(), compare=run_compare)


def test_numbers_of_labels() -> None:
    assert label_numbers(["20", "all", 5, 5]) == (5, 20, None)
    with pytest.raises(UsageError, match="'ten'"):
        label_numbers(["ten"])


def test_an_outcome_survives_and_a_damaged_one_is_run_again(tmp_path: Path) -> None:
    right, loss = np.array([[True, False], [True, True]]), np.ones((2, 2), np.float32)
    outcome = Outcome(np.array([0, 2]), right, loss, np.array([0.5, 1.5]), cut=True, note="so")
    said: list[str] = []
    Outcomes(tmp_path, said.append).put("tuned", "10", 3, outcome)
    found = Outcomes(tmp_path, said.append).get("tuned", "10", 3)
    assert found is not None and found.cut and found.note == "so"
    np.testing.assert_array_equal(found.right, outcome.right)
    np.testing.assert_array_equal(found.loss, outcome.loss)
    (path,) = (tmp_path / "tuned-10-seed3").iterdir()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    assert Outcomes(tmp_path, said.append).get("tuned", "10", 3) is None
    assert "cannot be used" in said[0]
