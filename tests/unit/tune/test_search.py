"""The search: tuning is kept where it helps and nowhere else, on problems of which the truth is planted."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tuning_problem import stripes_problem, tuning_problem

from headstart.base.errors import UsageError
from headstart.base.progress import Progress
from headstart.data.images.preprocessing import Preprocessing
from headstart.engines.torch import TorchEngine
from headstart.heads.linear import softmax
from headstart.sources.layers import select
from headstart.testing import PlantedSource, ToySource
from headstart.tune.attempt import ALPHAS, SearchLimits, TrialRunner
from headstart.tune.frozen_checks import flip_keeps_labels
from headstart.tune.inputs.base import ACTIVATIONS, DecodedCache
from headstart.tune.problem import TrialConfig, TuningProblem
from headstart.tune.result import Tuning
from headstart.tune.search import tune
from headstart.tune.settings import Settings, parse_budget
from headstart.tune.training.task import Recipe
from headstart.tune.trial import Interpolation, TuningTrial

CPU = torch.device("cpu")
QUICK = Settings("all", epochs=2, batch_size=8, augment="none", learning_rate=1e-3)
HELPING = replace(QUICK, epochs=12, patience=12, learning_rate=3e-3)
"""Enough to learn the direction of stripes from random weights."""
ONE_CONFIG = SearchLimits(rung_seconds=1e6)
"""With them `auto` has time for one configuration alone: `last:2`."""
CONFIG = TrialConfig("last:2", augment="none", recipe=Recipe(epochs=12, patience=12, batch_size=8, learning_rate=3e-3))

pytestmark = pytest.mark.usefixtures("float32")


@pytest.fixture
def photos(tmp_path: Path) -> TuningProblem:
    """Return a problem on which a little tuning changes little."""
    return tuning_problem(tmp_path, ToySource(), per_class=16)


@pytest.fixture(scope="module")
def stripes(tmp_path_factory: pytest.TempPathFactory) -> TuningProblem:
    """Return a problem that tuning must help: the network does not know its stripes, and can learn them."""
    return stripes_problem(tmp_path_factory.mktemp("stripes"), PlantedSource(shuffled=True))


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> TuningProblem:
    """Return a problem that nothing can help: its labels are at random."""
    return stripes_problem(tmp_path_factory.mktemp("noise"), PlantedSource(shuffled=True), random_labels=True)


def held_out(problem: TuningProblem) -> TuningProblem:
    """Return the problem with a validation part that was held out of the training part."""
    return replace(problem, held_out=True)


@pytest.fixture(scope="module")
def learned_again(stripes: TuningProblem) -> Tuning:
    return tune(held_out(stripes), replace(HELPING, mode="last:2"), seed=0)


@pytest.fixture(scope="module")
def confirmed(stripes: TuningProblem) -> Tuning:
    settings = replace(HELPING, mode="auto", budget=600.0)
    return tune(held_out(stripes), settings, seed=0, limits=ONE_CONFIG)


def test_tuning_that_helps_is_kept_and_its_source_gives_the_probabilities_that_were_evaluated(
    stripes: TuningProblem,
) -> None:
    original = {name: tensor.clone() for name, tensor in stripes.source.module().state_dict().items()}
    tuning = tune(stripes, HELPING, seed=0)
    trial = tuning.trials[0]
    assert tuning.kept and trial.gain.low > 0 and trial.accuracy > tuning.frozen[1]
    assert tuning.source is not None and tuning.head is not None and tuning.validation_probabilities is not None
    pictures = [stripes.dataset.read(position) for position in stripes.validation_positions]
    network = tuning.source.network()
    prepared = np.stack([tuning.source.prepare(picture) for picture in pictures])
    x, _ = select(TorchEngine(network.module()).run(prepared), network.blocks, stripes.layer)
    probabilities = softmax(tuning.head.scores(x) / np.float32(tuning.head.temperature))
    np.testing.assert_allclose(probabilities, tuning.validation_probabilities, atol=2e-3)
    assert tuning.source.info.sha256 != stripes.source.info.sha256
    assert network.fingerprint != stripes.source.network().fingerprint
    assert all(torch.equal(tensor, original[name]) for name, tensor in stripes.source.module().state_dict().items())


def test_tuning_that_cannot_help_is_not_kept(noise: TuningProblem) -> None:
    tuning = tune(noise, HELPING, seed=0)
    assert not tuning.kept and tuning.source is None and tuning.validation_probabilities is None
    assert "Tuning was not kept" in tuning.notes[-1]
    assert tuning.frozen == tune(noise, replace(QUICK, epochs=1), seed=0).frozen


def test_without_a_gain_beyond_rounding_the_frozen_source_stands(photos: TuningProblem) -> None:
    tuning = tune(photos, replace(QUICK, learning_rate=1e-8), seed=0)
    assert not tuning.kept and tuning.trials[0].gain.low <= 0
    assert "Tuning was not kept" in tuning.notes[-1]


def test_a_gain_below_the_limit_is_rounding(stripes: TuningProblem) -> None:
    assert not tune(stripes, HELPING, seed=0, limits=SearchLimits(gain=10.0)).kept


def trial_of(problem: TuningProblem, config: TrialConfig) -> TuningTrial:
    return TuningTrial(problem, config, decoded_cache={}, device=CPU, progress=Progress())


def test_the_weights_between_start_and_end_are_evaluated_too(photos: TuningProblem) -> None:
    tuning = tune(photos, replace(QUICK, learning_rate=0.05), seed=0)
    assert tuning.trials[0].alpha in ALPHAS
    trial = trial_of(photos, TrialConfig("all"))
    start = trial.validation_scores()
    end = {name: tensor + 1 for name, tensor in trial.original.items() if tensor.is_floating_point()}
    head = {name: tensor + 1 for name, tensor in trial.initial_head.items()}
    trial.interpolate(Interpolation(1.0, refit_head=False), end, head)
    assert all(torch.equal(trial.body.state_dict()[name], tensor) for name, tensor in end.items())
    trial.interpolate(Interpolation(0.0, refit_head=False), end, head)
    np.testing.assert_array_equal(trial.validation_scores(), start)


@pytest.mark.thorough
def test_what_is_kept_learns_again_from_all_examples_with_the_configuration_that_was_evaluated(
    stripes: TuningProblem, learned_again: Tuning
) -> None:
    assert learned_again.source is not None
    assert learned_again.notes[-1].endswith("then learned again from all 48 training examples.")
    result = learned_again.trials[0]
    best = int(np.argmin([epoch.loss for epoch in result.history]))
    recipe = replace(CONFIG.recipe, epochs=best, patience=HELPING.patience, keep_last=True)
    trial = trial_of(stripes.without_validation(), replace(CONFIG, recipe=recipe))
    assert len(trial.problem.train_positions) == 48
    trial.run(budget=None, folder=None, identity={})
    trial.interpolate(Interpolation(result.alpha, result.refit_head), *trial.final_state())
    expected = {name: np.ascontiguousarray(tensor.numpy()) for name, tensor in trial.changed_weights().items()}
    assert {name: array.tobytes() for name, array in expected.items()} == {
        name: array.tobytes() for name, array in learned_again.source.weights.items()
    }


@pytest.mark.thorough
def test_where_learning_again_fails_the_model_that_was_evaluated_stands(stripes: TuningProblem) -> None:
    settings = replace(HELPING, mode="last:2")
    evaluated = tune(stripes, settings, seed=0)
    tuning = tune(held_out(stripes), settings, seed=0, limits=SearchLimits(retrained_share=2.0))
    assert tuning.source is not None and evaluated.source is not None
    assert "no time to learn again" in tuning.notes[-1]
    assert tuning.source.info.sha256 == evaluated.source.info.sha256


def test_auto_confirms_the_best_on_every_part_that_had_no_say_in_the_search(
    stripes: TuningProblem, confirmed: Tuning
) -> None:
    assert confirmed.kept and confirmed.confirmation is not None
    assert confirmed.confirmation.parts == ONE_CONFIG.parts - 1
    assert confirmed.confirmation.examples == len(stripes.train_positions)
    assert confirmed.confirmation.gain.low > 0
    assert confirmed.confirmation.tuned[1] > confirmed.confirmation.frozen[1]


def runner_of(problem: TuningProblem, **options: object) -> TrialRunner:
    return TrialRunner(held_out(problem), held_out(problem), seed=0, **options)  # type: ignore[arg-type]


def test_parts_on_which_nothing_is_gained_end_the_confirmation(tmp_path: Path) -> None:
    runner = runner_of(stripes_problem(tmp_path, PlantedSource(), classes=4))
    harmful = replace(CONFIG, recipe=replace(CONFIG.recipe, epochs=2, learning_rate=1e-2, keep_last=True))
    attempt = runner.single(harmful, None)
    attempt = replace(attempt, result=replace(attempt.result, alpha=1.0, refit_head=False))
    confirmation = runner.confirm(attempt, math.inf)
    assert confirmation is not None and confirmation.parts == runner.limits.hopeless_parts
    assert confirmation.gain.value <= runner.limits.gain


def test_no_part_of_the_confirmation_decodes_an_example_again(
    noise: TuningProblem, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[bytes] = []
    prepare = Preprocessing.prepare
    monkeypatch.setattr(Preprocessing, "prepare", lambda self, data: decoded.append(bytes(data)) or prepare(self, data))
    runner = runner_of(noise)
    short = replace(CONFIG, recipe=replace(CONFIG.recipe, epochs=1, keep_last=True))
    assert runner.confirm(runner.single(short, None), math.inf) is not None
    assert len(decoded) == len(noise.train_positions) + len(noise.validation_positions)


def test_the_activations_that_all_trials_share_have_their_own_time(noise: TuningProblem) -> None:
    cache: DecodedCache = {}
    runner = runner_of(noise, caching=600.0, decoded_cache=cache)
    config = replace(CONFIG, augment="light", augmented_views=3)
    assert runner.attempt(config, 1e-3, None) is None, "too short for an epoch, and not for the views of the others"
    known = next(held for name, held in cache.items() if name[0] == ACTIVATIONS)
    assert {view for strength, view, _ in known if strength == "light"} == {0, 1, 2}


@pytest.mark.thorough
def test_without_time_for_a_confirmation_the_best_of_several_is_not_kept(stripes: TuningProblem) -> None:
    settings = replace(HELPING, mode="auto", budget=600.0)
    limits = replace(ONE_CONFIG, parts=1)
    tuning = tune(held_out(stripes), settings, seed=0, limits=limits)
    assert not tuning.kept
    assert "no time to confirm it on further examples (give a larger --budget)" in tuning.notes[-1]
    assert tune(stripes, settings, seed=0, limits=limits).kept, "a validation part of the data's own decides by itself"


@pytest.mark.thorough
def test_an_attempt_that_goes_on_after_its_confirmation_has_checkpoints_of_its_own(
    stripes: TuningProblem, tmp_path: Path
) -> None:
    runner = runner_of(stripes, folder=tmp_path)
    config = replace(CONFIG, recipe=replace(CONFIG.recipe, epochs=2, learning_rate=1e-4, keep_last=True))
    first = runner.attempt(config, 600.0, None)
    assert first is not None and runner.confirm(first, math.inf) is not None
    second = runner.attempt(config, 600.0, first)
    assert second is not None and (first.epochs, second.epochs) == (2, 4)
    confirmation = runner.confirm(second, math.inf)
    assert confirmation is not None
    names = {path.name.rpartition("-last")[0] for path in tmp_path.iterdir()}
    assert names >= {"rung0", "rung1", "part1-of-1", "part1-of-2", "part2-of-1", "part2-of-2"}


def test_a_budget_too_short_gives_the_frozen_source_and_says_so(photos: TuningProblem) -> None:
    for mode in ("all", "auto"):
        tuning = tune(photos, replace(QUICK, mode=mode, budget=0.001), seed=0)
        assert not tuning.kept
        assert any("too short for one epoch" in note for note in tuning.notes)


def test_a_loss_that_explodes_is_reported_with_what_to_change(photos: TuningProblem) -> None:
    tuning = tune(photos, replace(QUICK, learning_rate=1e30), seed=0)
    assert not tuning.kept
    assert any("smaller --learning-rate" in note for note in tuning.notes)


def test_auto_tries_the_cheapest_first_and_stops_where_nothing_gains(photos: TuningProblem) -> None:
    settings = replace(QUICK, mode="auto", budget=600.0, learning_rate=1e-8)
    tuning = tune(photos, settings, seed=0)
    assert {trial.name for trial in tuning.trials} == {"last:1", "last:2", "all"}
    assert all(sum(epoch.epoch == 0 for epoch in trial.history) == 1 for trial in tuning.trials), "one rung and no more"


def test_auto_tries_one_configuration_alone_where_the_budget_is_short(photos: TuningProblem) -> None:
    tuning = tune(photos, replace(QUICK, mode="auto", budget=100.0), seed=0)
    assert [trial.name for trial in tuning.trials] == ["last:2"]


def test_too_few_validation_examples_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="examples to judge it by; found 6"):
        tune(tuning_problem(tmp_path, ToySource(), per_class=8), QUICK, seed=0)


@pytest.mark.parametrize(("classes", "keeps"), [(2, True), (4, False)])
def test_a_flip_keeps_upright_stripes_and_swaps_the_diagonals(tmp_path: Path, classes: int, keeps: bool) -> None:
    problem = stripes_problem(tmp_path, PlantedSource(), classes=classes)
    assert flip_keeps_labels(problem, CPU) == keeps


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
