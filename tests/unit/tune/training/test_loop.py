"""The loop: what it does with a loss that explodes, a batch too large, a budget too short, and patience."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from headstart.base.errors import UsageError
from headstart.heads.linear import fit_temperature
from headstart.tune.inputs.images import shuffled
from headstart.tune.training.loop import train
from headstart.tune.training.schedule import learning_rate_share
from headstart.tune.training.task import Recipe, Task, Weight, validation_scores

RECIPE = Recipe(epochs=6, learning_rate=0.05, batch_size=8)


class Points:
    """Points of two classes in the plane."""

    def __init__(self, count: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.y = np.arange(count, dtype=np.int64) % 2
        self.x_train = torch.from_numpy((rng.normal(size=(count, 2)) + 2 * self.y[:, None]).astype(np.float32))

    def order(self, epoch: int, *, batch_size: int, seed: int) -> Any:
        return shuffled(len(self.y), epoch=epoch, batch_size=batch_size, seed=seed)

    def inputs(self, rows: Any, *, epoch: int) -> tuple[Tensor, ...]:
        return (self.x_train[torch.from_numpy(rows)],)


def task(scores: Any = None) -> Task:
    torch.manual_seed(0)
    network = nn.Linear(2, 2)
    weights = [Weight(f"head.{name}", weight, 1.0) for name, weight in network.named_parameters()]
    return Task(weights, scores or network, lambda *, training: None, Points(64, 0), Points(32, 1), 2)


def values(made: Task) -> list[Tensor]:
    return [weight.tensor.detach().clone() for weight in made.weights]


def test_it_learns_and_leaves_the_best_weights() -> None:
    made = task()
    trained = train(made, RECIPE)
    losses = [epoch.loss for epoch in trained.history]
    assert trained.stop_reason == "epochs"
    assert trained.best == int(np.argmin(losses))
    assert losses[trained.best] < losses[0]
    y = made.validation.y
    scores = torch.from_numpy(validation_scores(made))
    temperature = fit_temperature(scores.numpy(), y, np.ones(len(y)))
    loss = nn.functional.cross_entropy(scores / temperature, torch.from_numpy(y))
    assert loss.item() == pytest.approx(losses[trained.best], rel=1e-5)


def test_an_example_that_stands_for_several_learns_as_they_would() -> None:
    first, second = task(), task()
    copies = np.repeat(np.arange(64), np.arange(64) % 3 + 1)
    examples = Points(64, 0)
    examples.y, examples.x_train = examples.y[copies], examples.x_train[copies]
    recipe = replace(RECIPE, epochs=1, batch_size=1000)
    train(replace(first, train_counts=np.arange(64) % 3 + 1.0), recipe)
    train(replace(second, train=examples), recipe)
    for one, other in zip(values(first), values(second), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("options", [{"mixup": 0.4}, {"label_smoothing": 0.1}, {"micro_batches": 3}])
def test_the_options_learn_too(options: dict[str, Any]) -> None:
    trained = train(task(), replace(RECIPE, **options))
    assert trained.history[trained.best].loss < trained.history[0].loss


def test_a_batch_in_parts_is_the_same_step() -> None:
    first, second = task(), task()
    train(first, replace(RECIPE, epochs=1))
    train(second, replace(RECIPE, epochs=1, micro_batches=4))
    for one, other in zip(values(first), values(second), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_patience_ends_it_and_the_best_weights_are_back() -> None:
    made = task()
    before = values(made)
    # From epoch 1 on every score is worse than the start's: the start is the best.
    judged = iter(itertools.chain([1.0], itertools.repeat(-1.0)))
    network = made.scores

    def scores(x: Tensor) -> Tensor:
        return network(x) if torch.is_grad_enabled() else next(judged) * (x @ torch.tensor([[-1.0, 1.0]] * 2))

    trained = train(replace(made, scores=scores), replace(RECIPE, epochs=50, patience=3))
    assert (trained.stop_reason, trained.best, len(trained.history)) == ("patience", 0, 4)
    assert all(torch.equal(one, other) for one, other in zip(values(made), before, strict=True))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_ends_it_with_the_last_good_weights(value: float) -> None:
    made = task()
    network = made.scores
    calls = itertools.count()

    def scores(x: Tensor) -> Tensor:
        bad = torch.is_grad_enabled() and next(calls) == 20
        return network(x) * (value if bad else 1.0)

    trained = train(replace(made, scores=scores), RECIPE)
    assert trained.stop_reason == "exploded"
    assert trained.best == 2
    assert all(torch.isfinite(tensor).all() for tensor in values(made))


def test_a_batch_that_does_not_fit_is_halved_once_then_refused() -> None:
    made = task()
    network = made.scores

    def limited(most: int) -> Any:
        def scores(x: Tensor) -> Tensor:
            if torch.is_grad_enabled() and len(x) > most:
                raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate")
            return network(x)

        return scores

    said: list[str] = []

    class Told(type(train.__globals__["Progress"]())):  # type: ignore[misc]
        def say(self, text: str) -> None:
            said.append(text)

    halved = train(replace(made, scores=limited(4)), RECIPE, progress=Told())
    assert halved.stop_reason == "epochs"
    assert "2 parts" in said[0]
    with pytest.raises(UsageError, match="smaller --batch"):
        train(replace(made, scores=limited(3)), RECIPE)


def test_a_budget_too_short_for_an_epoch_leaves_the_start() -> None:
    made = task()
    before = values(made)
    trained = train(made, RECIPE, budget=1e-6)
    assert trained.stop_reason == "short"
    assert all(torch.equal(one, other) for one, other in zip(values(made), before, strict=True))


def test_a_budget_plans_as_many_epochs_as_it_affords() -> None:
    assert 1 <= train(task(), replace(RECIPE, epochs=100_000), budget=1.0).planned < 100_000


def test_a_checkpoint_of_another_run_is_refused_and_the_difference_named(tmp_path: Path) -> None:
    train(task(), RECIPE, folder=tmp_path, identity={"data": "one"})
    with pytest.raises(UsageError, match="data: one then, two now"):
        train(task(), RECIPE, folder=tmp_path, identity={"data": "two"})
    with pytest.raises(UsageError, match=r"rate: 0\.05 then, 0\.1 now"):
        train(task(), replace(RECIPE, learning_rate=0.1), folder=tmp_path, identity={"data": "one"})


def test_a_finished_run_is_not_run_again(tmp_path: Path) -> None:
    first, second = task(), task()
    told = train(first, RECIPE, folder=tmp_path)
    again = train(second, RECIPE, folder=tmp_path)
    assert again.history[1:] == told.history[1:]
    assert all(torch.equal(one, other) for one, other in zip(values(first), values(second), strict=True))


def test_the_rate_rises_and_falls() -> None:
    lr_scales = [learning_rate_share(step, 100) for step in range(101)]
    assert lr_scales[0] == pytest.approx(0.1)
    assert max(lr_scales) == lr_scales[9] == 1.0
    assert all(a > b for a, b in itertools.pairwise(lr_scales[10:]))
    assert lr_scales[100] == 0.0


def test_each_epoch_is_told_with_its_weights_in_place_and_the_last_one_is_said() -> None:
    told: list[tuple[int, bool, Any]] = []
    made = task()
    watched = replace(made, on_epoch=lambda epoch, last, scores: told.append((epoch, last, scores())))
    trained = train(watched, replace(RECIPE, epochs=3))
    assert [(epoch, last) for epoch, last, _ in told] == [(0, False), (1, False), (2, False), (3, True)]
    right = [float((scores.argmax(axis=1) == made.validation.y).mean()) for _, _, scores in told]
    assert right == [epoch.accuracy for epoch in trained.history]
