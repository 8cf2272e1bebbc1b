"""The moving average of weights: what a long run is judged by, and leaves behind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor


class Average:
    """An exponential moving average of tensors (Polyak & Juditsky 1992), short at first: the start is forgotten.

    Args:
        held: what training changes in place, by name; counters and other whole numbers are left as they are.
        decay: share of the average that a step keeps, 0..1.
    """

    def __init__(self, held: Mapping[str, Tensor], decay: float) -> None:
        self.held, self.decay = {name: one for name, one in held.items() if one.is_floating_point()}, decay
        self.values = {name: tensor.detach().clone() for name, tensor in self.held.items()}

    def update(self, step: int) -> None:
        """Take the tensors as they are after `step` steps, from 1, into the average."""
        share = 1 - min(self.decay, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, value in self.values.items():
                value.lerp_(self.held[name].detach(), share)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the tensors have their averages inside the block."""
        now = {name: tensor.detach().clone() for name, tensor in self.held.items()}
        self._put(self.values)
        try:
            yield
        finally:
            self._put(now)

    def _put(self, values: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, value in values.items():
                self.held[name].copy_(value)
