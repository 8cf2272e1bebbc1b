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
from headstart.comparison.budget import Limits, Plan
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
    assert [note.partition(":")[0] for note in under_way.notes] == [
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


def test_an_arm_cut_before_its_first_epoch_gets_more_of_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    under_way = experiment(prepared_data(LABELS))
    split, seconds = under_way.splits.every()[0], []
    tested = len(split.prepared.parts.test)

    def arm(*_: Any, **__: Any) -> Outcome:
        seconds.append(_[2].budget)
        points = 1 if seconds[-1] < 20 else 2
        right, loss = np.ones((points, tested), bool), np.ones((points, tested), np.float32)
        return Outcome(np.arange(points), right, loss, np.arange(points) + 1.0, cut=points == 1)

    monkeypatch.setattr("headstart.comparison.experiment.train_arm", arm)
    monkeypatch.setattr("headstart.comparison.experiment.as_network", lambda data, *_: data.source)
    under_way._train(split, "tuned", Plan("last:1", 0, 2.0, 0.01), 5.0, flip=False)
    assert seconds == [5, 10, 20]
    assert under_way.outcomes.get("tuned", split.labels, split.seed) is not None
    under_way.options = under_way.options.changed(budget=12.0)
    with pytest.raises(UsageError, match="--budget must allow one epoch"):
        under_way._train(split, "scratch", Plan("all", 0, 2.0, 0.01), 5.0, flip=False)


def test_what_repeats_massively_is_planned_by_its_visits__TXT_06() -> None:
    data = prepared_data(LABELS)
    under_way = experiment(data)
    whole = under_way.splits.every()[-1]
    cell = under_way._cell(whole, "tuned")
    assert (cell.labels, cell.tested) == (len(whole.prepared.parts.train), len(whole.prepared.parts.test))
    row_of = np.zeros_like(data.extraction.row_of)
    copies = replace(whole.prepared, extraction=replace(data.extraction, row_of=row_of))
    under_way._sizes_of.clear()
    assert under_way._cell(replace(whole, prepared=copies), "tuned").tested <= 2
