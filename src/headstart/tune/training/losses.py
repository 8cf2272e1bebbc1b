"""The loss of a batch: the cross-entropy of its class scores, or the objective of a task."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from headstart.tune.training.task import Recipe, Task, precision


def batch_loss(
    task: Task, recipe: Recipe, inputs: tuple[Tensor, ...], y: Tensor, *, class_weights: Tensor, seed: int
) -> tuple[Tensor, int]:
    """Return the weighted sum of the losses of some examples in nats, and how many are classified correctly.

    Args:
        inputs: a row of each tensor an example.
        y: class ids, int64 of shape (n,).
        class_weights: float32 of shape (c,).
        seed: of mixup.
    """
    if task.objective is not None:
        with precision(task.device):
            outputs = task.objective.outputs(*inputs)
        losses, correct = task.objective.losses(outputs.float(), y)
        return (losses * class_weights[y]).sum(), correct
    targets = one_hot(y, task.c).float()
    if recipe.mixup:
        mixed = [mixup(part.float(), targets, alpha=recipe.mixup, seed=seed) for part in inputs]
        inputs, targets = tuple(part for part, _ in mixed), mixed[0][1]
    with precision(task.device):
        scores = task.scores(*inputs)
    losses = cross_entropy(scores.float(), targets, reduction="none", label_smoothing=recipe.label_smoothing)
    return (losses * (targets @ class_weights)).sum(), int((scores.detach().argmax(dim=1) == y).sum())


def mixup(inputs: Tensor, targets: Tensor, *, alpha: float, seed: int) -> tuple[Tensor, Tensor]:
    """Return a batch whose examples are each mixed with another one, and its targets (mixup; Zhang et al. 2018).

    One share, of Beta(alpha, alpha), serves the whole batch, as in the paper's own experiments.

    Args:
        inputs: floats of shape (n, …): prepared inputs, or features.
        targets: floats of shape (n, classes): one-hot or probabilities.
        alpha: > 0; the larger, the nearer to halves.
        seed: of the share and of the pairs.
    """
    rng = np.random.default_rng(seed)
    share = float(rng.beta(alpha, alpha))
    partners = torch.from_numpy(rng.permutation(len(inputs))).to(inputs.device)
    return inputs.lerp(inputs[partners], 1 - share), targets.lerp(targets[partners], 1 - share)
