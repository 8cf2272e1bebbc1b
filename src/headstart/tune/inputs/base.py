"""A medium: examples of one kind on their way into what learns. It alone knows whether they are photos or texts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from headstart.base.progress import Progress
from headstart.data.modality import Kind
from headstart.sources.base import Source, Weights
from headstart.tune.inputs.row_store import Rows
from headstart.tune.network.readers import Given, Reader
from headstart.tune.problem import TuningProblem
from headstart.tune.training.task import Examples
from headstart.tune.trial_config import TrialConfig

BATCH = 32

DecodedCache = dict[Any, Any]
"""Examples that are read already, found by their positions, shared between arms."""


class ActivationCache:
    """What the frozen prefix says of each example, for several views of each.

    Args:
        shapes: of what is kept of one example.
        y: class ids, int64 of shape (n,).
        turns: rows that are computed together.
        views: how many of each example there are.
        folder: where the file lies; None keeps everything in memory.
    """

    def __init__(
        self,
        shapes: Sequence[Sequence[int]],
        y: NDArray[np.int64],
        turns: Sequence[NDArray[np.intp]],
        *,
        views: int,
        folder: Path | None,
    ) -> None:
        self.y, self.turns, self.views = y, turns, views
        self.parts = [self._part(at, tuple(shape), folder) for at, shape in enumerate(shapes)]

    def _part(self, at: int, shape: tuple[int, ...], folder: Path | None) -> Any:
        return Rows(len(self.y) * self.views, shape, np.float32, folder)

    def fill(self, rows: NDArray[np.intp], said: Sequence[Tensor], *, view: int) -> None:
        """Keep what was said of the examples `rows` in one view."""
        for part, tensor in zip(self.parts, said, strict=True):
            for row, value in zip(rows, tensor.float().cpu().numpy(), strict=True):
                part[int(row) + view * len(self.y)] = value

    def order(self, epoch: int, *, batch: int, seed: int) -> Sequence[NDArray[np.intp]]:
        """Return the rows of each batch of one epoch."""
        return shuffled(len(self.y), epoch=epoch, batch=batch, seed=seed)

    def inputs(self, rows: NDArray[np.intp], *, epoch: int) -> Given:
        """Return what was kept of `rows`, in the view of this epoch."""
        at = rows + (epoch % self.views) * len(self.y)
        return tuple(torch.from_numpy(part.take(at)) for part in self.parts)


class InputPipeline(ABC):
    """The examples of a ground, as one way of tuning wants them.

    Attributes:
        kind: of examples.
        rates: the full learning rate of each mode, of `pairs` and of `scratch`; that of stages below the topmost decays
            from it.
        own: whether features are those that the ground holds, and not of another size.
        views: of each example, where activations are kept.
        plain: whether activations are kept of the examples as they are.

    Args:
        ground: what is tuned on.
        way: how.
        shelf: what is read already, by what it depends on.
        progress: where to show progress.

    Raises:
        DataError: an example cannot be read any more.
    """

    kind: ClassVar[Kind]
    rates: ClassVar[Mapping[str, float]]
    own: bool = True
    views: int = 1
    plain: bool = True

    def __init__(
        self, ground: TuningProblem, way: TrialConfig, *, decoded_cache: DecodedCache, progress: Progress
    ) -> None:
        self.ground, self.way, self.progress = ground, way, progress

    @classmethod
    @abstractmethod
    def ways(cls, ground: TuningProblem) -> tuple[tuple[str, bool], ...]:
        """Return the modes that `auto` tries, and whether by pairs, the most promising first."""

    @abstractmethod
    def reader(self, body: nn.Module) -> Reader:
        """Return what reads the examples with `body`."""

    @abstractmethod
    def blank(self) -> Given:
        """Return two examples to try the network on."""

    @abstractmethod
    def examples(self, *, plain: bool = False) -> tuple[Examples, Examples]:
        """Return what is learned from, seen as it is where `plain`, and what judges."""

    @abstractmethod
    def turns(self) -> tuple[list[NDArray[np.intp]], list[NDArray[np.intp]]]:
        """Return which rows are best computed together, each once, of what is learned from and of what judges."""

    @abstractmethod
    def kept(self, shapes: Sequence[Sequence[int]], folder: Path | None) -> tuple[ActivationCache, ActivationCache]:
        """Return room for what is kept of what is learned from and of what judges."""

    @abstractmethod
    def tuned(self, weights: Weights) -> Source:
        """Return the source of the ground with `weights` changed."""

    @abstractmethod
    def size(self, shapes: Sequence[Sequence[int]]) -> int:
        """Return the bytes that keeping takes; 0 where there is nothing that could be kept."""


def shuffled(count: int, *, epoch: int, batch: int, seed: int) -> list[NDArray[np.intp]]:
    """Return the rows 0..count-1 in an order of this epoch, in batches."""
    order = np.random.default_rng([seed, epoch]).permutation(count).astype(np.intp)
    return np.split(order, range(batch, count, batch))


def in_turn(count: int, size: int = BATCH) -> list[NDArray[np.intp]]:
    """Return the rows 0..count-1 in their order, in batches."""
    return np.split(np.arange(count), range(size, count, size)) if count else []
