"""Learning from pairs: the loss, the batches, and an arm that learns so."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from tuning_problem import tuning_problem

from headstart.base.progress import Progress
from headstart.testing import ToySource
from headstart.tune.inputs.contrastive import TEMPERATURE, Paired, contrastive_loss
from headstart.tune.inputs.texts import Texts
from headstart.tune.problem import TrialConfig
from headstart.tune.training import loop
from headstart.tune.training.task import Recipe
from headstart.tune.trial import TuningTrial

CPU = torch.device("cpu")


def test_the_loss_is_that_of_the_paper() -> None:
    rows = torch.nn.functional.normalize(torch.randn(7, 5, generator=torch.Generator().manual_seed(0)), dim=1)
    y = torch.tensor([0, 0, 1, 1, 1, 2, 0])
    losses, right = contrastive_loss(rows, y)
    for at in range(7):
        others = [k for k in range(7) if k != at]
        alike = {k: math.exp(float(rows[at] @ rows[k]) / TEMPERATURE) for k in others}
        positive = [k for k in others if y[k] == y[at]]
        wanted = sum(-math.log(alike[k] / sum(alike.values())) for k in positive) / max(1, len(positive))
        assert math.isclose(float(losses[at]), wanted, rel_tol=1e-4, abs_tol=1e-6)
    nearest = [max((k for k in range(7) if k != at), key=lambda k: float(rows[at] @ rows[k])) for at in range(7)]
    assert right == sum(int(y[at] == y[nearest[at]]) for at in range(7))
    rows.requires_grad_()
    contrastive_loss(rows, y)[0].sum().backward()
    assert rows.grad is not None and torch.isfinite(rows.grad).all()
    assert float(contrastive_loss(rows[:1].detach(), y[:1])[0].sum()) == 0, "one alone has nothing to be near to"


def test_batches_hold_pairs_and_every_example_once() -> None:
    y = np.repeat(np.arange(20), np.random.default_rng(0).integers(1, 9, 20))
    examples = Paired(Texts([], y[:0]))
    examples.y, examples._lengths = y, np.arange(len(y)) % 30
    for epoch in range(3):
        batches = examples.order(epoch, batch_size=16, seed=0)
        np.testing.assert_array_equal(np.sort(np.concatenate(batches)), np.arange(len(y)))
        for rows in batches:
            labels, counts = np.unique(y[rows], return_counts=True)
            assert all(count > 1 or (y == label).sum() == 1 for label, count in zip(labels, counts, strict=True))
    assert len(batches) > 3
    again = examples.order(2, batch_size=16, seed=0)
    assert all(np.array_equal(one, other) for one, other in zip(batches, again, strict=True))


def test_an_arm_learns_from_pairs_then_fits_its_head_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    place = tuning_problem(tmp_path, ToySource())
    for mode in ("all", "last:1"):
        config = TrialConfig(
            mode,
            contrastive=True,
            augment="none",
            recipe=Recipe(epochs=3, learning_rate=1e-3, batch_size=8, keep_last=True),
        )
        whole = TuningTrial(place, config, decoded_cache={}, device=CPU, progress=Progress())
        trained = whole.run(budget=None, folder=None, identity={})
        assert trained.best == 3 and all(math.isfinite(epoch.loss) for epoch in trained.history)
        assert whole.changed_weights() and whole.config.name == f"{mode} by pairs"
        head = {name: tensor.clone() for name, tensor in whole.classifier.linear.state_dict().items()}
        assert not torch.equal(head["weight"], whole.initial_head["weight"]), "the head was fitted anew"
        whole.refit_head()
        assert torch.equal(head["weight"], whole.classifier.linear.weight), "on just these features"

        class StopRequest(Exception):
            pass

        folder, plain = tmp_path / f"checkpoints-{mode}", loop._Run._end_epoch

        def stopping(run: loop._Run, plain: object = plain) -> None:
            plain(run)  # type: ignore[operator]
            if run.state.epoch == 2:
                raise StopRequest

        loop._Run._end_epoch = stopping  # type: ignore[method-assign]
        try:
            first = TuningTrial(place, config, decoded_cache={}, device=CPU, progress=Progress())
            with suppress(StopRequest):
                first.run(budget=None, folder=folder, identity={})
        finally:
            loop._Run._end_epoch = plain  # type: ignore[method-assign]
        resumed = TuningTrial(place, config, decoded_cache={}, device=CPU, progress=Progress())
        resumed.run(budget=None, folder=folder, identity={})
        assert all(
            torch.equal(resumed.changed_weights()[name], tensor) for name, tensor in whole.changed_weights().items()
        )
        assert torch.equal(resumed.classifier.linear.weight, head["weight"])
