"""Tuning as a whole: kept only where it gains beyond the interval, and always with an answer."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from tuning_ground import ground

from headstart.base.errors import UsageError
from headstart.base.progress import Progress
from headstart.data.images.preprocessing import Preprocessing
from headstart.engines.torch import TorchEngine
from headstart.judge.intervals import Interval
from headstart.sources.layers import select
from headstart.testing import ToySource
from headstart.tune import evaluation as judging
from headstart.tune import flip_check as mirror
from headstart.tune import search as adapt
from headstart.tune import trial as arm
from headstart.tune.problem import TuningProblem
from headstart.tune.result import Confirmed, TriedConfig
from headstart.tune.search import tune
from headstart.tune.settings import Settings, parse_budget
from headstart.tune.training import loop
from headstart.tune.training.task import Recipe, Trained
from headstart.tune.trial_config import TrialConfig

QUICK = {"epochs": 2, "batch_size": 8, "augment": "none", "learning_rate": 1e-3}


@pytest.fixture
def place(tmp_path: Path) -> TuningProblem:
    return ground(tmp_path, ToySource(), per_class=16)


def test_without_a_gain_beyond_the_interval_the_frozen_source_stands(place: TuningProblem) -> None:
    found = tune(place, Settings("all", **{**QUICK, "learning_rate": 1e-8}), seed=0)
    assert not found.kept
    assert found.source is None
    assert found.tried[0].gain.low <= 0
    assert "Tuning was not kept" in found.notes[-1]


@pytest.mark.usefixtures("float32")
def test_with_one_the_tuned_source_gives_the_scores_that_were_judged(
    place: TuningProblem, monkeypatch: pytest.MonkeyPatch
) -> None:
    better = itertools.count(0, -1)
    monkeypatch.setattr(loop, "judge", lambda scores, y, weights: (float(next(better)), 0.9))
    monkeypatch.setattr(judging, "paired_difference", lambda *args, **kwargs: Interval(0.1, 0.05, 0.2))
    judged: list[np.ndarray] = []
    plain = arm.TuningTrial.judged
    monkeypatch.setattr(arm.TuningTrial, "judged", lambda self: judged.append(plain(self)) or judged[-1])
    found = tune(place, Settings("last:1", **{**QUICK, "learning_rate": 1e-5}), seed=0)
    assert found.kept
    assert found.source is not None
    assert found.head is not None
    prepared = np.stack([found.source.prepare(place.dataset.read(at)) for at in place.judge])
    network = found.source.network()
    x, _ = select(TorchEngine(network.module()).run(prepared), network.blocks, place.layer)
    np.testing.assert_allclose(found.head.scores(x), judged[-1], rtol=1e-3, atol=1e-3 * judged[-1].std())
    assert found.source.info.sha256 != place.source.info.sha256
    assert network.fingerprint != place.source.network().fingerprint
    original = place.source.module().state_dict()
    assert all(torch.equal(ToySource().module().state_dict()[name], original[name]) for name in original)


def test_the_weights_between_start_and_end_are_judged_too(place: TuningProblem) -> None:
    found = tune(place, Settings("all", **{**QUICK, "learning_rate": 0.05}), seed=0)
    assert found.tried[0].alpha in adapt.ALPHAS
    made = arm.TuningTrial(place, TrialConfig("all"), decoded_cache={}, device=torch.device("cpu"), progress=Progress())
    start = made.judged()
    end = {name: tensor + 1 for name, tensor in made.original.items() if tensor.is_floating_point()}
    head = {name: tensor + 1 for name, tensor in made.begin.items()}
    made.at(arm.Point(1.0, settled=False), end, head)
    assert all(torch.equal(made.body.state_dict()[name], tensor) for name, tensor in end.items())
    made.at(arm.Point(0.0, settled=False), end, head)
    np.testing.assert_array_equal(made.judged(), start)


def _all_better(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every epoch judge better than the one before, and beyond the interval."""
    better = itertools.count(0, -1)
    monkeypatch.setattr(
        loop, "judge", lambda scores, y, weights: (float(next(better)), 0.9) if len(y) else (np.nan, np.nan)
    )
    monkeypatch.setattr(judging, "paired_difference", lambda *args, **kwargs: Interval(0.1, 0.05, 0.2))


def test_what_is_kept_learns_again_from_all_examples_in_the_way_that_was_judged(
    place: TuningProblem, monkeypatch: pytest.MonkeyPatch
) -> None:
    _all_better(monkeypatch)
    quick = Settings("last:1", **{**QUICK, "learning_rate": 1e-5})
    found = tune(replace(place, held_out=True), quick, seed=0)
    assert found.source is not None
    assert found.notes[-1].endswith("judged on examples held out, then learned again from all 48 training examples.")
    all_of_them = arm.TuningTrial(
        place.whole(),
        arm.Way("last:1", augment="none", recipe=Recipe(epochs=2, batch=8, rate=1e-5, last=True)),
        decoded_cache={},
        device=torch.device("cpu"),
        progress=Progress(),
    )
    assert len(all_of_them.ground.learn) == 48
    all_of_them.run(budget=None, folder=None, identity={})
    end = {name: tensor.clone() for name, tensor in all_of_them.changed().items()}
    all_of_them.at(
        arm.Point(found.tried[0].alpha, found.tried[0].settled), end, all_of_them.classifier.linear.state_dict()
    )
    assert {name: np.ascontiguousarray(tensor.numpy()).tobytes() for name, tensor in all_of_them.changed().items()} == {
        name: array.tobytes() for name, array in found.source.weights.items()
    }


def _confirmed(place: TuningProblem, monkeypatch: pytest.MonkeyPatch, step: int) -> Confirmed:
    """Return what the second look says where each log loss that is asked for differs from the last one by `step`."""
    _all_better(monkeypatch)
    losses = itertools.count(0, step)
    monkeypatch.setattr(judging.EvaluatedTrial, "log_loss", property(lambda self: float(next(losses))))
    quick = Settings("auto", budget=200.0, **{**QUICK, "learning_rate": 1e-5})
    found = tune(replace(place, held_out=True), quick, seed=0)
    assert found.confirmed is not None
    return found.confirmed


def test_auto_asks_every_part_that_had_no_say_in_the_search(
    place: TuningProblem, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[tuple[int, ...]] = []
    plain = TuningProblem.judged_by
    monkeypatch.setattr(TuningProblem, "judged_by", lambda self, at: held.append(tuple(at)) or plain(self, at))
    found = _confirmed(place, monkeypatch, step=1)
    assert found.parts == adapt.FOLDS - 1
    assert found.examples == len(place.learn)
    assert sorted(at for part in set(held) for at in part) == sorted(place.learn)
    assert found.gain == Interval(0.1, 0.05, 0.2)


def test_no_part_of_the_second_look_decodes_an_example_again(
    place: TuningProblem, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bytes] = []
    plain = Preprocessing.prepare
    monkeypatch.setattr(Preprocessing, "prepare", lambda self, data: seen.append(data) or plain(self, data))
    assert _confirmed(place, monkeypatch, step=1).parts == adapt.FOLDS - 1
    assert len(seen) == len(set(seen)) == len(place.learn) + len(place.judge)


def test_parts_on_which_nothing_is_gained_end_the_second_look(
    place: TuningProblem, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _confirmed(place, monkeypatch, step=-1).parts == adapt.HOPELESS


def test_without_time_for_a_second_look_the_best_of_several_ways_is_not_kept(
    place: TuningProblem, monkeypatch: pytest.MonkeyPatch
) -> None:
    _all_better(monkeypatch)
    monkeypatch.setattr(adapt._Search, "_confirmed", lambda *args: None)
    quick = Settings("auto", budget=60.0, **{**QUICK, "learning_rate": 1e-5})
    found = tune(replace(place, held_out=True), quick, seed=0)
    assert not found.kept
    assert "no time for a second look (give a larger --budget)" in found.notes[-1]
    assert tune(place, quick, seed=0).kept, "a validation part of the data's own decides by itself"


def test_a_rung_leaves_time_for_two_looks(place: TuningProblem) -> None:
    search = adapt._Search(
        replace(place, held_out=True),
        Settings("auto"),
        pooled=place,
        seed=0,
        folder=None,
        identity={},
        watchers=(),
        progress=None,
    )
    before = adapt._Attempt(cast(arm.TuningTrial, None), [], cast(TriedConfig, None), seconds=50.0)
    share = search._share(300.0, before)
    assert share < 300 * adapt.RUNG
    assert 300 - share == pytest.approx(2 * (1 + search.again) * (50 + share))
    assert search._share(300.0, None) == 300 * adapt.RUNG


def test_a_way_that_goes_on_after_its_second_look_has_checkpoints_of_its_own(
    place: TuningProblem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _all_better(monkeypatch)
    monkeypatch.setattr(judging, "paired_difference", lambda *args, **kwargs: Interval(0.1, -0.05, 0.2))
    monkeypatch.setattr(adapt, "FAIR", 1.0)
    monkeypatch.setattr(adapt._Attempt, "cut", property(lambda self: self.confirmed is not None and len(self.runs) < 2))
    monkeypatch.setattr(adapt._Search, "_ways", lambda self, budget: [self._way("last:1")])
    looks: list[int] = []
    plain = adapt._Search._run

    def watched(
        search: adapt._Search, way: TrialConfig, budget: float, prefix: str, *more: arm.TuningTrial
    ) -> tuple[arm.TuningTrial, Trained]:
        made, trained = plain(search, way, budget, prefix, *more)
        looks.extend([trained.best] if prefix.startswith("part1") else [])
        return made, trained

    monkeypatch.setattr(adapt._Search, "_run", watched)
    quick = Settings("auto", budget=60.0, **{**QUICK, "learning_rate": 1e-5})
    found = tune(replace(place, held_out=True), quick, seed=0, folder=tmp_path / "checkpoints")
    assert not found.kept
    assert looks == [2, 4], "the second look learned for all of its epochs"


def test_where_learning_again_fails_the_model_that_was_judged_stands(
    place: TuningProblem, monkeypatch: pytest.MonkeyPatch
) -> None:
    _all_better(monkeypatch)
    quick = Settings("last:1", **{**QUICK, "learning_rate": 1e-5})
    judged = tune(place, quick, seed=0)
    monkeypatch.setattr(adapt, "ENOUGH", 2.0)
    found = tune(replace(place, held_out=True), quick, seed=0)
    assert found.source is not None
    assert judged.source is not None
    assert "no time to learn again" in found.notes[-1]
    assert found.source.info.sha256 == judged.source.info.sha256


def test_a_budget_too_short_gives_the_frozen_source_and_says_so(place: TuningProblem) -> None:
    for mode in ("all", "auto"):
        found = tune(place, Settings(mode, budget=0.001, **QUICK), seed=0)
        assert not found.kept
        assert any("too short for one epoch" in note for note in found.notes)


def test_a_loss_that_explodes_is_said_with_what_to_change(place: TuningProblem) -> None:
    found = tune(place, Settings("all", **{**QUICK, "learning_rate": 1e30}), seed=0)
    assert not found.kept
    assert any("smaller --learning-rate" in note for note in found.notes)


def test_auto_tries_the_cheapest_first_and_stops_where_nothing_gains(
    place: TuningProblem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapt, "FAIR", 0.1)
    found = tune(place, Settings("auto", budget=60.0, **{**QUICK, "learning_rate": 1e-8}), seed=0)
    assert {one.name for one in found.tried} == {"last:1", "last:2", "all"}
    assert all(sum(epoch.epoch == 0 for epoch in one.history) == 1 for one in found.tried), "one rung and no more"


def test_auto_spends_the_next_rungs_on_the_better_half(place: TuningProblem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapt, "FAIR", 0.1)
    monkeypatch.setattr(adapt._Attempt, "cut", True)
    gains = iter(range(1, 1000))
    monkeypatch.setattr(judging, "paired_difference", lambda *args, **kwargs: Interval(next(gains), 0.1, 1000.0))
    found = tune(place, Settings("auto", budget=9.0, **QUICK), seed=0)
    rungs = sorted(sum(epoch.epoch == 0 for epoch in one.history) for one in found.tried)
    assert rungs[0] < rungs[-1]


def test_auto_tries_one_way_alone_where_the_budget_is_short(place: TuningProblem) -> None:
    found = tune(place, Settings("auto", budget=9.0, **QUICK), seed=0)
    assert [one.name for one in found.tried] == ["last:2"]


def test_too_few_to_judge_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="examples to judge it by; found 6"):
        tune(ground(tmp_path, ToySource(), per_class=8), Settings("all", **QUICK), seed=0)


def test_mirrors_are_asked_of_the_frozen_source(place: TuningProblem, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    monkeypatch.setattr(mirror, "KNOWN", 0.0)
    monkeypatch.setattr(mirror, "COST", 1.0)
    assert mirror.mirror_keeps_labels(place, cpu)
    monkeypatch.setattr(mirror, "COST", -1.0)
    assert not mirror.mirror_keeps_labels(place, cpu)


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("10m", 600), ("1h", 3600), ("1.5m", 90)])
def test_budgets(text: str, seconds: float) -> None:
    assert parse_budget(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "m", "-5s", "0s", "1d", "ten"])
def test_budgets_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="30s, 10m or 1h"):
        parse_budget(text)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"mode": "nrom"}, "did you mean 'norm'"),
        ({"mode": "last:N"}, "a number for N"),
        ({"mode": "all", "augment": "lite"}, "--augment"),
        ({"mode": "all", "batchnorm": "off"}, "--batchnorm"),
        ({"mode": "all", "track": "excel"}, "--track"),
        ({"mode": "all", "epochs": 0}, "--epochs"),
        ({"mode": "all", "learning_rate": -1.0}, "--learning-rate"),
        ({"mode": "all", "label_smoothing": 1.0}, "--label-smoothing"),
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Settings(**wrong).check()  # type: ignore[arg-type]
