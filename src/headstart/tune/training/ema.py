"""The moving average of weights: what a long run is evaluated with, and leaves behind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor


class MovingAverage:
    """An exponential moving average of tensors (Polyak & Juditsky 1992), short at first: the start is forgotten.

    Args:
        tensors: what training changes in place, by name; counters and other whole numbers are left as they are.
        decay: share of the average that a step keeps, 0..1.
    """

    def __init__(self, tensors: Mapping[str, Tensor], decay: float) -> None:
        self.tensors = {name: tensor for name, tensor in tensors.items() if tensor.is_floating_point()}
        self.decay = decay
        self.values = {name: tensor.detach().clone() for name, tensor in self.tensors.items()}

    def update(self, step: int) -> None:
        """Take the tensors as they are after `step` steps, from 1, into the average."""
        share = 1 - min(self.decay, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, value in self.values.items():
                value.lerp_(self.tensors[name].detach(), share)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the tensors have their averages inside the block."""
        now = {name: tensor.detach().clone() for name, tensor in self.tensors.items()}
        self._put(self.values)
        try:
            yield
        finally:
            self._put(now)

    def _put(self, values: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, value in values.items():
                self.tensors[name].copy_(value)
