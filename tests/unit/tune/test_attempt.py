"""How a search spends its budget, on planted costs and gains and an injected clock: where it pays, to the end."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tuning_problem import tuning_problem

from headstart.base.progress import Progress
from headstart.judge.intervals import Interval
from headstart.testing import ToySource
from headstart.tune.attempt import Attempt, SearchLimits
from headstart.tune.inputs.base import forget_activations
from headstart.tune.problem import TrialConfig, TuningProblem
from headstart.tune.result import Confirmation, TrialResult
from headstart.tune.search import Search
from headstart.tune.settings import Settings
from headstart.tune.training.task import Recipe
from headstart.tune.trial import TuningTrial

EPOCHS = 10


@dataclass(frozen=True)
class Way:
    """What is planted: the seconds of an epoch, and the nats that each of them gains."""

    epoch: float
    gain: float
    after: int = 0  # epochs at first that gain nothing
    rates: Mapping[float, float] = field(default_factory=dict)  # nats of an epoch at so many times the learning rate
    explodes: float = math.inf  # times the learning rate from which the loss explodes

    def gained(self, rate: float, epochs: int) -> float:
        gain = self.gain if rate == 1 else self.rates.get(rate, self.gain - 0.005)
        return gain * max(0, epochs - self.after)


@dataclass
class Planted:
    """A runner that learns nothing: each configuration costs and gains what is planted, on its own clock."""

    ways: dict[str, Way]
    limits: SearchLimits = field(default_factory=SearchLimits)
    caching: float | None = None
    retrain_share: float = 1.25
    seconds: float = 0.0
    unconfirmed: frozenset[str] = frozenset()  # what gains where it is chosen, and nowhere else
    costs: dict[str, float] = field(default_factory=dict)
    calls: list[tuple[str, str, float]] = field(default_factory=list)
    problem: Any = field(default_factory=lambda: SimpleNamespace(held_out=True))
    frozen: Any = field(default_factory=lambda: SimpleNamespace(log_loss=1.0, accuracy=0.9))

    def now(self) -> float:
        return self.seconds

    def attempt(self, config: TrialConfig, seconds: float, previous: Attempt | None) -> Attempt | None:
        way, before = self.ways[config.way], 0 if previous is None else previous.epochs
        rate = round(config.recipe.learning_rate / Recipe().learning_rate, 3)
        exploded, epochs = rate >= way.explodes, min(config.recipe.epochs, int(seconds / way.epoch))
        self.costs[config.way] = way.epoch
        self.calls.append(("run", config.name, seconds))
        self.seconds += (1 if exploded or not epochs else epochs) * way.epoch
        if not epochs:
            return None
        gain = 0.0 if exploded else way.gained(rate, before + epochs)
        result = TrialResult(
            name=config.name,
            log_loss=1.0 - gain,
            accuracy=0.9 + gain,
            gain=Interval(gain, gain - 0.01, gain + 0.01),
            alpha=1.0,
            refit_head=False,
            stop_reason="exploded" if exploded else "epochs",
            history=(),
            images_per_second=1.0,
            cached=True,
        )
        run: Any = SimpleNamespace(planned=epochs, best=epochs, stop_reason=result.stop_reason)
        runs = [*(previous.runs if previous else []), run]
        spent = (previous.seconds if previous else 0.0) + epochs * way.epoch
        return Attempt(SimpleNamespace(config=config, notes=[]), runs, result, spent)  # type: ignore[arg-type]

    def confirm(self, best: Attempt, end: float) -> Confirmation | None:
        parts, gain = 0, best.result.gain.value
        gain = -gain if best.result.name in self.unconfirmed else gain
        while parts < 4 and end - self.seconds >= best.seconds * (1 + self.retrain_share):
            self.seconds += best.seconds
            parts += 1
            if parts >= self.limits.hopeless_parts and gain <= 0:
                break
        self.calls.append(("confirm", best.result.name, float(parts)))
        if not parts:
            return None
        return Confirmation(parts, 100, (1.0, 0.9), (1.0 - gain, 0.9 + gain), Interval(gain, gain - 0.02, gain + 0.02))

    def ran(self, what: str = "run") -> list[str]:
        return [name for done, name, _ in self.calls if done == what]


def config(name: str) -> TrialConfig:
    return TrialConfig(name, recipe=Recipe(epochs=EPOCHS, patience=EPOCHS))


def searched(
    budget: float, ways: dict[str, Way], learning_rate: float | None = None, **planted: Any
) -> tuple[Planted, Search, list[Attempt]]:
    runner = Planted(ways, **planted)
    search = Search(runner, Settings("auto", budget=budget, learning_rate=learning_rate))  # type: ignore[arg-type]
    waiting = search._explored([config(name) for name in ways], budget)
    ranked = search._exploited(waiting, budget)
    search._note_end(ranked, budget, runner.seconds)
    return runner, search, ranked


def at(rate: float, way: str = "last:2") -> str:
    return config(way).at_rate(rate).name


def test_what_gains_most_learns_at_its_full_length_and_is_confirmed_before_another_gets_more() -> None:
    ways = {"last:1": Way(1.0, 0.001), "last:2": Way(8.0, 0.04), "all": Way(60.0, 0.05)}
    runner, search, ranked = searched(360.0, ways)
    assert ranked[0].result.name == "last:2" and search.is_better(ranked[0])
    assert runner.ran("confirm") == ["last:2"]
    assert runner.ran()[-1] == "last:2" and ranked[0].epochs > 4
    assert runner.seconds + ranked[0].seconds * runner.retrain_share <= 360.0, "time is left to learn from all examples"
    assert ranked[0].confirmation is not None and ranked[0].confirmation.parts >= 2


def test_what_one_configuration_leaves_goes_to_the_next() -> None:
    ways = {"last:1": Way(1.0, -0.01), "last:2": Way(8.0, 0.04)}
    runner, search, ranked = searched(600.0, ways, learning_rate=1e-3, unconfirmed=frozenset({"last:2"}))
    assert runner.ran("confirm") == ["last:2"] and not search.is_better(ranked[0])
    runner, search, ranked = searched(600.0, ways | {"last:1": Way(1.0, 0.003)}, unconfirmed=frozenset({"last:2"}))
    assert ranked[0].result.name != "last:2" and search.is_better(ranked[0])


def test_of_several_that_gain_only_the_better_half_has_another_rung() -> None:
    ways = {f"last:{n}": Way(2.0, 0.01 * n) for n in range(1, 5)}
    runner, _, ranked = searched(120.0, ways, learning_rate=1e-3)
    rungs = runner.ran()
    assert rungs[:4] == list(ways) and rungs.count("last:1") == 1 and rungs.count("last:4") >= 2
    assert ranked[0].result.name == "last:4"


def test_one_that_had_no_time_for_an_epoch_in_its_rung_gets_all_that_is_left() -> None:
    runner, _, ranked = searched(360.0, {"last:1": Way(1.0, -0.01), "last:2": Way(50.0, 0.05)})
    assert ranked[0].result.name == "last:2", "beside busy programs an epoch takes longer than its rung"
    assert runner.ran()[-1] == "last:2"


def test_a_gain_that_appears_only_at_the_third_epoch_is_found() -> None:
    runner, search, ranked = searched(360.0, {"last:1": Way(1.0, 0.0002), "last:2": Way(10.0, 0.08, after=2)})
    assert ranked[0].result.name == "last:2" and search.is_better(ranked[0])
    assert runner.seconds + ranked[0].seconds * runner.retrain_share <= 360.0


@pytest.mark.parametrize(("better", "gain"), [(3.0, 0.06), (0.333, 0.06)])
def test_a_better_learning_rate_than_that_of_the_mode_is_found(better: float, gain: float) -> None:
    ways = {"last:1": Way(1.0, 0.0005), "last:2": Way(6.0, 0.02, rates={better: gain})}
    runner, search, ranked = searched(360.0, ways)
    assert ranked[0].result.name == at(3.0 if better > 1 else 1 / 3) and search.is_better(ranked[0])
    assert runner.ran("confirm")[0] == ranked[0].result.name


def test_where_the_loss_explodes_a_lower_rate_is_tried_and_no_higher_one_nor_the_same_again() -> None:
    runner, search, ranked = searched(360.0, {"last:2": Way(6.0, 0.0, rates={0.333: 0.05}, explodes=1.0)})
    assert runner.ran()[:2] == ["last:2", at(1 / 3)] and runner.ran().count("last:2") == 1
    assert at(3.0) not in runner.ran() and ranked[0].result.name == at(1 / 3) and search.is_better(ranked[0])


def test_other_rates_are_tried_where_nobody_named_one_and_most_of_the_budget_is_left_for_the_winner() -> None:
    ways = {"last:2": Way(6.0, 0.04)}
    assert set(searched(360.0, ways)[0].ran()) == {"last:2", at(3.0), at(1 / 3)}
    assert set(searched(360.0, ways, learning_rate=1e-3)[0].ran()) == {"last:2"}
    assert set(searched(40.0, ways)[0].ran()) == {"last:2"}, "its rung has no time for an epoch"


def test_a_costly_way_that_cannot_pay_is_measured_once_and_never_again() -> None:
    runner, search, ranked = searched(360.0, {"last:2": Way(8.0, 0.04), "all": Way(100.0, 0.5)})
    assert ranked[0].result.name == "last:2" and search.is_better(ranked[0])
    assert runner.ran().count("all") == 1
    _, search, ranked = searched(360.0, {"last:2": Way(8.0, 0.0), "all": Way(100.0, 0.5)})
    assert any(note.startswith("all: ") and "too short for one epoch" in note for note in search.notes)


def test_what_is_left_when_one_is_better_goes_to_what_may_be_better_still() -> None:
    ways = {"last:2": Way(4.0, 0.04), "all": Way(20.0, 0.09)}
    runner, search, ranked = searched(3600.0, ways, learning_rate=1e-3, limits=SearchLimits(rung_share=0.01))
    assert runner.ran("confirm") == ["last:2", "all"], "the first rung of `all` has no time for an epoch"
    assert ranked[0].result.name == "all" and search.is_better(ranked[0])
    assert runner.seconds + ranked[0].seconds * runner.retrain_share <= 3600.0


@pytest.mark.parametrize("slow", [1.0, 2.0, 4.0, 8.0])
def test_a_budget_is_used_or_the_search_says_why_it_was_not(slow: float) -> None:
    ways = {"last:1": Way(1.0 * slow, 0.002), "last:2": Way(8.0 * slow, 0.03)}
    runner, search, ranked = searched(360.0, ways)
    assert runner.seconds <= 360.0
    used = runner.seconds + (ranked[0].seconds * runner.retrain_share if search.is_better(ranked[0]) else 0.0)
    said = any("The search ended after" in note or "too short" in note for note in search.notes)
    assert used >= 0.8 * 360 or said


def test_where_all_have_learned_at_their_full_length_nothing_more_can_be_gained_and_that_is_said() -> None:
    _, search, ranked = searched(10_000.0, {"last:1": Way(1.0, -0.01), "last:2": Way(2.0, -0.02)})
    assert not any(attempt.cut_short for attempt in ranked)
    assert "nothing more can be gained" in search.notes[-1]


def test_the_activations_that_all_share_are_left_out_of_the_first_rungs() -> None:
    ways = {"last:1": Way(1.0, 0.002), "last:2": Way(4.0, 0.03)}
    plain, _, _ = searched(360.0, ways)
    caching, _, _ = searched(360.0, ways, caching=100.0)
    first = [next(seconds for what, _, seconds in runner.calls if what == "run") for runner in (plain, caching)]
    assert first[1] < first[0]


def test_seconds_leave_time_for_two_parts_and_for_all_examples() -> None:
    runner = Planted({})
    search = Search(runner, Settings("auto", budget=300.0))  # type: ignore[arg-type]
    before = runner.attempt
    runner.ways["last:2"] = Way(5.0, 0.01)
    attempt = before(config("last:2"), 50.0, None)
    assert attempt is not None and attempt.seconds == 50.0
    seconds = search.full_seconds(300.0, attempt)
    after = runner.limits.slack * (runner.limits.hopeless_parts + runner.retrain_share)
    assert 300 - seconds == pytest.approx(after * (50 + seconds))
    assert search.rung_seconds(300.0, None) <= 300 * runner.limits.rung_share
    single = Search(replace(runner), Settings("last:2", budget=300.0))  # type: ignore[arg-type]
    assert single.full_seconds(300.0, None) > search.full_seconds(300.0, None), "no part confirms what was asked for"


def cached_trial(problem: TuningProblem, mode: str, decoded_cache: dict[Any, Any], computed: list[int]) -> TuningTrial:
    """Return a trial on the toy network that has cached its activations; `computed` gets how many each batch held."""
    config = TrialConfig(mode, cached_at="last:2", augmented_views=2)
    device = torch.device("cpu")
    trial = TuningTrial(problem, config, decoded_cache=decoded_cache, device=device, progress=Progress())
    prefix = trial.prefix
    assert prefix is not None
    compute = prefix.compute

    def counted(inputs: Any) -> Any:
        computed.append(len(inputs[0]))
        return compute(inputs)

    prefix.compute = counted  # type: ignore[method-assign]
    trial._activations = trial._cache_activations(prefix, None)
    return trial


def test_trials_share_the_activations_of_one_boundary_and_compute_none_twice(tmp_path: Path) -> None:
    problem = tuning_problem(tmp_path, ToySource(), per_class=12)
    n, m = len(problem.train_positions), len(problem.validation_positions)
    shared: dict[Any, Any] = {}
    first, again, part, alone = [], [], [], []  # type: ignore[var-annotated]
    one = cached_trial(problem, "last:2", shared, first)
    another = cached_trial(problem, "last:1", shared, again)
    assert sum(first) == 2 * n + m and again == [], "both ways learn from the activations at one boundary"
    assert one._activations == another._activations, "and keep them once in memory"
    assert one.groups.boundary == another.groups.boundary and len(one.groups.lr_scales) > len(another.groups.lr_scales)
    held = problem.train_positions[:6]
    third = cached_trial(problem.with_validation(held), "last:1", shared, part)
    assert sum(part) == 2 * m + len(held), "of another part, only the views that no trial had"
    same = cached_trial(problem.with_validation(held), "last:1", {}, alone)
    assert third._activations is not None and same._activations is not None
    for mine, fresh in zip(third._activations, same._activations, strict=True):
        rows = np.arange(len(mine.y))
        for epoch in range(2):
            for here, there in zip(mine.inputs(rows, epoch=epoch), fresh.inputs(rows, epoch=epoch), strict=True):
                np.testing.assert_allclose(here, there, atol=1e-5)
    forget_activations(shared)
    assert shared, "decoded pictures stay"
    cached_trial(problem, "last:1", shared, again)
    assert sum(again) == 2 * n + m
