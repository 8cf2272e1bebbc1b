"""Contrastive learning: a body learns to put examples of one class close together before a head is fitted on them.

With few labels a head has little to learn from, but every two examples are a pair: that is the idea of SetFit (Tunstall
et al., "Efficient Few-Shot Learning Without Prompts", 2022). The loss is the supervised contrastive one (Khosla et al.
2020), which looks at all the pairs of a batch at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.tune.network.readers import Inputs
from headstart.tune.training.task import Examples

TEMPERATURE = 0.05
BATCH_FACTOR = 2
"""Examples a step, as a multiple of those that a head is learned from: the more, the more there is to tell apart."""
WINDOW = 4  # batches among which pairs of one length find each other


class Paired:
    """Examples in batches that hold two of each class that they hold."""

    def __init__(self, examples: Examples) -> None:
        self.examples, self.y = examples, examples.y
        self._lengths: NDArray[np.int64] = getattr(examples, "lengths", np.ones(len(self.y), np.int64))

    def order(self, epoch: int, *, batch_size: int, seed: int) -> Sequence[NDArray[np.intp]]:
        """Return the rows of each batch of one epoch: every example once, in pairs of one class."""
        rng = np.random.default_rng([seed, epoch])
        pairs: list[NDArray[np.intp]] = []
        for label in np.unique(self.y):
            members = rng.permutation(np.flatnonzero(self.y == label))
            pairs += np.array_split(members, max(1, len(members) // 2))
        lengths = np.array([self._lengths[pair].max() for pair in pairs])
        order, size = rng.permutation(len(pairs)), max(1, batch_size // 2)
        batches: list[NDArray[np.intp]] = []
        for window in np.split(order, range(WINDOW * size, len(order), WINDOW * size)):
            sorted_ = window[np.argsort(lengths[window], kind="stable")]
            batches += np.split(sorted_, range(size, len(sorted_), size))
        return [np.concatenate([pairs[pair] for pair in batches[number]]) for number in rng.permutation(len(batches))]

    def inputs(self, rows: NDArray[np.intp], *, epoch: int) -> Inputs:
        """Return what the network is given for `rows`."""
        return self.examples.inputs(rows, epoch=epoch)


def contrastive_loss(rows: Tensor, y: Tensor) -> tuple[Tensor, int]:
    """Return the loss of each example, float32 of shape (n,), and of how many the nearest other one is of their class.

    It is the mean, over the others of its class, of minus the log of the share in nats that the similarity to that one
    has among the similarities to all (Khosla et al. 2020, `L_out`); 0 for one whose class stands nowhere else. `rows`
    are features of shape (n, d), of unit length; `y` are class ids.
    """
    alone = torch.eye(len(rows), dtype=torch.bool, device=rows.device)
    alike = (rows @ rows.T / TEMPERATURE).masked_fill(alone, -torch.inf)
    same = (y[:, None] == y) & ~alone
    shares = alike.log_softmax(1).masked_fill(~same, 0)
    right = int((y[alike.detach().argmax(1)] == y).sum()) if len(rows) > 1 else 0
    return -shares.sum(1) / same.sum(1).clamp(min=1), right
