"""The loss of a batch: of its class scores, or of what a task aims at instead."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from headstart.tune.training.task import Recipe, Task, precision


def loss_of(
    task: Task, recipe: Recipe, inputs: tuple[Tensor, ...], y: Tensor, *, counted: Tensor, seed: int
) -> tuple[Tensor, int]:
    """Return the sum of the losses of some examples in nats, each class counting what it does, and the number right.

    Args:
        task: what is learned.
        recipe: how.
        inputs: a row of each tensor an example.
        y: class ids, int64 of shape (n,).
        counted: what each class counts, float32 of shape (c,).
        seed: of mixup.
    """
    if task.aim is not None:
        with precision(task.device):
            said = task.aim.outputs(*inputs)
        losses, right = task.aim.losses(said.float(), y)
        return (losses * counted[y]).sum(), right
    targets = one_hot(y, task.c).float()
    if recipe.mixup:
        mixed = [mixup(part.float(), targets, alpha=recipe.mixup, seed=seed) for part in inputs]
        inputs, targets = tuple(part for part, _ in mixed), mixed[0][1]
    with precision(task.device):
        scores = task.scores(*inputs)
    losses = cross_entropy(scores.float(), targets, reduction="none", label_smoothing=recipe.smoothing)
    return (losses * (targets @ counted)).sum(), int((scores.detach().argmax(dim=1) == y).sum())


def mixup(inputs: Tensor, targets: Tensor, *, alpha: float, seed: int) -> tuple[Tensor, Tensor]:
    """Return a batch whose examples are each mixed with another one, and its targets (mixup; Zhang et al. 2018).

    One share, of Beta(alpha, alpha), serves the whole batch, as in the paper's own experiments.

    Args:
        inputs: floats of shape (n, …): prepared inputs, or features.
        targets: floats of shape (n, classes): one-hot or probabilities.
        alpha: > 0; the larger, the nearer to halves.
        seed: of the share and of who is mixed with whom.
    """
    rng = np.random.default_rng(seed)
    share = float(rng.beta(alpha, alpha))
    partners = torch.from_numpy(rng.permutation(len(inputs))).to(inputs.device)
    return inputs.lerp(inputs[partners], 1 - share), targets.lerp(targets[partners], 1 - share)
