"""A comparison under way: every arm in every split once, what was kept is not run again, and a failure is named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prepared import prepared_data

from headstart.base.errors import UsageError
from headstart.base.progress import Progress
from headstart.comparison.arms import Costs, TestCurve
from headstart.comparison.budget import ArmPlan, ExperimentPlan, Limits
from headstart.comparison.experiment import UNTRAINED, Experiment
from headstart.comparison.options import CompareOptions
from headstart.judge.benefit.results import Outcome
from headstart.run.clock import Clock
from headstart.run.prepare import PreparedData
from headstart.testing import ToySource

LABELS = ["a", "b"] * 20


class Graph(ToySource):
    """A source that only computes: it has no weights that could learn."""

    def as_trainable(self, *texts: Any) -> Any:
        return None

    def anew(self, seed: int) -> Any:
        return Graph(seed)


def experiment(data: PreparedData, **chosen: Any) -> Experiment:
    clock = chosen.pop("clock", None) or Clock()
    options = CompareOptions(**{"labels_per_class": (10, None), "seeds": 2, "budget": 600.0, **chosen})
    return Experiment(data, options, clock=clock, trackers=(), limits=Limits(), progress=Progress())


def outcomes(under_way: Experiment) -> dict[tuple[str, str, int], Any]:
    return {
        (arm, one.labels, one.seed): under_way.outcomes.get(arm, one.labels, one.seed)
        for one in under_way.splits.every()
        for arm in UNTRAINED
    }


def test_every_arm_is_run_in_every_split_on_its_own_test_part() -> None:
    under_way = experiment(prepared_data(LABELS))
    under_way.run_untrained()
    found = outcomes(under_way)
    assert len(found) == 4 * 4 and None not in found.values()
    for one in under_way.splits.every():
        assert found["frozen", one.labels, one.seed].right.shape == (1, len(one.prepared.parts.test))
    assert under_way.clock.seconds["head"] > 0


def test_what_is_kept_in_the_folder_is_not_run_again(tmp_path: Path) -> None:
    data = prepared_data(LABELS)
    (tmp_path / "checkpoints").mkdir(parents=True)
    first = experiment(data, out=tmp_path, seeds=1)
    first.run_untrained()
    blind = replace(data, extraction=replace(data.extraction, x=np.zeros_like(data.extraction.x)))
    again = experiment(blind, out=tmp_path, seeds=1)
    again.run_untrained()
    for key, outcome in outcomes(first).items():
        assert (outcomes(again)[key].right == outcome.right).all(), (
            "features that tell nothing would give other results"
        )
    assert again.outcomes.kept() == "8 runs are kept"


def test_another_comparison_in_the_folder_is_refused(tmp_path: Path) -> None:
    experiment(prepared_data(LABELS), out=tmp_path)
    with pytest.raises(UsageError):
        experiment(prepared_data(LABELS), out=tmp_path, seeds=3)
    with pytest.raises(UsageError):
        experiment(prepared_data([*LABELS, "a"]), out=tmp_path)


def test_arms_that_cannot_learn_are_named_and_nothing_stops() -> None:
    under_way = experiment(replace(prepared_data(LABELS), source=Graph()))
    under_way.run_trained()
    assert under_way.failures.keys() == {"scratch", "tuned"}
    assert all("needs a source that is a torch network" in reason for reason in under_way.failures.values())
    assert sorted(note.partition(":")[0] for note in under_way.notes) == [
        "Scratch failed and was left out",
        "Tuned failed and was left out",
    ]
    alone = experiment(replace(prepared_data(LABELS), source=Graph()), tune="none")
    alone.run_trained()
    assert alone.failures.keys() == {"scratch"}


def test_what_is_left_of_the_budget_keeps_a_reserve_and_counts_what_is_spent() -> None:
    limits, clock = Limits(), Clock()
    clock.add("extract", 1e6)
    left = experiment(prepared_data(LABELS), budget=5e6, clock=clock).left
    assert left == pytest.approx(5e6 * (1 - limits.reserve) - 1e6, rel=1e-3)


def test_notes_of_the_splits_are_those_of_the_comparison() -> None:
    under_way = experiment(prepared_data(LABELS), labels_per_class=(10, 900))
    assert under_way.notes == ["Left out 900 labels per class: the smallest class has 14 to learn from."]


class Fake:
    """A clock that goes on as it is told, and runs that take so many seconds each."""

    def __init__(self, run_seconds: float, epochs: int = 4) -> None:
        self.seconds, self.run_seconds, self.epochs = 0.0, run_seconds, epochs
        self.budgets: list[float] = []

    def now(self) -> float:
        return self.seconds

    def train(self, prepared: PreparedData, source: Any, config: Any, **_: Any) -> tuple[TestCurve, Outcome]:
        self.budgets.append(config.seconds)
        self.seconds += self.run_seconds
        points, tested = self.epochs + 1, len(prepared.parts.test)
        right, loss = np.ones((points, tested), bool), np.ones((points, tested), np.float32)
        outcome = Outcome(np.arange(points), right, loss, np.arange(points) + 1.0, cut=self.epochs < config.epochs)
        return TestCurve(prepared.labels(prepared.parts.test), {0}, self.now), outcome


def running(monkeypatch: pytest.MonkeyPatch, fake: Fake, *, run: float, **chosen: Any) -> Experiment:
    """Return an experiment of scratch alone whose plan says `run` seconds a run, after it was run on a fake clock."""
    under_way = experiment(prepared_data(LABELS), tune="none", clock=Clock(now=fake.now), **chosen)
    monkeypatch.setattr("headstart.comparison.experiment.train_arm", fake.train)
    monkeypatch.setattr("headstart.comparison.experiment.random_network", lambda data, **_: data.source)
    plan = ExperimentPlan(
        chosen["seeds"], under_way.splits.numbers, {"scratch": ArmPlan("all", 0, Costs(run, 0.0, 0.0))}
    )
    monkeypatch.setattr(under_way, "_plan", lambda: {**plan.as_dict(), "failures": {}, "notes": []})
    monkeypatch.setattr(under_way, "_check_flip", lambda: {"keeps labels": False})
    under_way.run_trained()
    return under_way


def test_a_comparison_whose_runs_take_as_long_as_planned_runs_all(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fake(10.0, epochs=120)
    under_way = running(monkeypatch, fake, run=10.0, seeds=3, budget=100.0)
    assert len(fake.budgets) == 6 and len(under_way.splits.seeds) == 3
    assert all(seconds >= 10.0 for seconds in fake.budgets) and fake.seconds <= 100


def test_where_runs_take_longer_the_last_seeds_go_and_the_budget_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fake(20.0, epochs=120)
    under_way = running(monkeypatch, fake, run=10.0, seeds=5, budget=110.0)
    assert len(under_way.splits.seeds) == 2 and len(fake.budgets) == 4
    assert fake.seconds <= 1.1 * 110 and under_way.splits.dropped == (2, 5)


def test_one_epoch_that_does_not_fit_fails_scratch_once_and_says_what_would_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake = Fake(30.0, epochs=0)
    under_way = running(monkeypatch, fake, run=10.0, seeds=2, budget=100.0)
    assert len(fake.budgets) == 1, "and is not tried again"
    assert "scratch needs time for one epoch" in under_way.failures["scratch"]
    assert sum("one epoch" in note for note in under_way.notes) == 1 and "would answer" in under_way.remedy


def test_a_run_that_was_cut_is_run_again_where_time_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fake(10.0, epochs=60)
    running(monkeypatch, fake, run=10.0, seeds=1, budget=200.0)
    assert len(fake.budgets) == 4


def test_a_plan_without_scratch_leaves_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    under_way = experiment(prepared_data(LABELS), tune="none", budget=60.0)
    under_way._adopt(ExperimentPlan(2, under_way.splits.numbers, {}, {"scratch": 200.0}))
    assert under_way.remedy.startswith("A budget of ") and under_way.remedy.endswith(" would answer.")
    assert under_way.notes == [], "it is told in the verdict and not again"
    under_way._adopt(ExperimentPlan(1, (None,), {}))
    assert under_way.left_out == (10,) and len(under_way.splits.seeds) == 1


def test_what_repeats_massively_is_planned_by_its_visits__TXT_06() -> None:
    data = prepared_data(LABELS)
    under_way = experiment(data)
    whole = under_way.splits.every()[-1]
    cell = under_way._cell(whole, "scratch")
    assert (cell.labels, cell.tested) == (len(whole.prepared.parts.train), len(whole.prepared.parts.test))
    row_of = np.zeros_like(data.extraction.row_of)
    copies = replace(whole.prepared, extraction=replace(data.extraction, row_of=row_of))
    under_way._sizes_of.clear()
    assert under_way._cell(replace(whole, prepared=copies), "tuned").tested <= 2
