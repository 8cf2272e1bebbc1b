"""Input pipelines: examples of one kind on their way into the network; they alone know which kind it is."""

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
from headstart.data.images.preprocessing import Preprocessing
from headstart.tune.inputs.row_store import Rows
from headstart.tune.network.readers import Inputs, Reader
from headstart.tune.problem import TrialConfig, TuningProblem
from headstart.tune.training.task import Examples

BATCH = 32

DecodedCache = dict[Any, Any]
"""Decoded examples by their content, shared between trials."""


class ActivationCache:
    """The activations of the frozen prefix, of so many shapes a content, for several augmented views of each.

    Rows in one of the `batches` are computed together, and hold the first example of each content; those of any other
    are those of the first, `first_of` (n,). Without `folder` everything is in memory.
    """

    def __init__(
        self,
        shapes: Sequence[Sequence[int]],
        examples: Examples,
        batches: Sequence[NDArray[np.intp]],
        *,
        first_of: NDArray[np.intp],
        views: int,
        folder: Path | None,
    ) -> None:
        self.y, self.batches, self.views = examples.y, batches, views
        self.lengths: NDArray[np.int64] = getattr(examples, "lengths", np.ones(len(self.y), np.int64))
        self.firsts, self._content_of = np.unique(first_of, return_inverse=True)
        self.parts = [self._part(number, tuple(shape), folder) for number, shape in enumerate(shapes)]

    def adopt(self, known: KnownActivations, keys: Sequence[str], strength: str, view: int) -> NDArray[np.bool_]:
        """Take what other caches hold of the contents in one view, and let others take it of this one.

        Args:
            known: what the caches of one boundary hold.
            keys: the content of each row; a row beyond them is of no content that others have.
            strength: of the augmentation.

        Returns:
            Whether each row is to be computed, bool of shape (n,).
        """
        missing = np.ones(len(self.firsts), np.bool_)
        for content, first in enumerate(self.firsts):
            if first >= len(keys):
                continue
            name, row = (strength, view, keys[first]), content + view * len(self.firsts)
            if (donor := known.get(name)) is not None:
                cache, donated = donor
                for part, value in zip(self.parts, cache.row(donated), strict=True):
                    part[row] = value
                missing[content] = False
            known[name] = self, row
        return missing[self._content_of]

    def row(self, row: int) -> list[NDArray[np.float32]]:
        """Return what is stored in one row of each part."""
        return [part.take(np.array([row]))[0] for part in self.parts]

    def _part(self, number: int, shape: tuple[int, ...], folder: Path | None) -> Any:
        return Rows(len(self.firsts) * self.views, shape, np.float32, folder)

    def fill(self, rows: NDArray[np.intp], activations: Sequence[Tensor], *, view: int) -> None:
        """Store the activations of the examples `rows` in one view."""
        for part, tensor in zip(self.parts, activations, strict=True):
            for row, value in zip(self._rows(rows, view), tensor.float().cpu().numpy(), strict=True):
                part[int(row)] = value

    def _rows(self, rows: NDArray[np.intp], view: int) -> NDArray[np.intp]:
        return self._content_of[rows] + view * len(self.firsts)

    def order(self, epoch: int, *, batch_size: int, seed: int) -> Sequence[NDArray[np.intp]]:
        """Return the rows of each batch of one epoch."""
        return shuffled(len(self.y), epoch=epoch, batch_size=batch_size, seed=seed)

    def inputs(self, rows: NDArray[np.intp], *, epoch: int) -> Inputs:
        """Return the activations of `rows`, in the view of this epoch."""
        of_view = self._rows(rows, epoch % self.views)
        return tuple(torch.from_numpy(part.take(of_view)) for part in self.parts)


KnownActivations = dict[tuple[str, int, str], tuple[ActivationCache, int]]
"""Which row of which cache holds the activations of a content in a view, by strength of augmentation, view, content."""


ACTIVATIONS = "activations"


def known_activations(decoded_cache: DecodedCache, *names: object) -> KnownActivations:
    """Return what is known of the activations that `names` tell apart from any other, to be added to."""
    known: KnownActivations = decoded_cache.setdefault((ACTIVATIONS, *names), {})
    return known


def whole_cache(
    known: KnownActivations,
    examples: Examples,
    keys: Sequence[str],
    strength: str,
    *,
    firsts: NDArray[np.intp],
    views: int,
) -> ActivationCache | None:
    """Return the cache of another trial that holds just these examples in their order; None where none does.

    `firsts` are the first rows of each content; the other arguments are those of `ActivationCache.adopt`.
    """
    cache, _ = known.get((strength, 0, keys[0]), (None, 0)) if keys else (None, 0)
    if cache is None or cache.views != views or not np.array_equal(cache.y, examples.y) or firsts[-1] >= len(keys):
        return None
    names = [(strength, view, keys[first]) for view in range(views) for first in firsts]
    return cache if all(known.get(name) == (cache, row) for row, name in enumerate(names)) else None


def forget_activations(decoded_cache: DecodedCache) -> None:
    """Forget all activations, and leave the decoded examples."""
    for name in [name for name in decoded_cache if name[0] == ACTIVATIONS]:
        del decoded_cache[name]


class InputPipeline(ABC):
    """The examples of a problem, as one configuration wants them.

    Attributes:
        learning_rates: the highest learning rate of each mode, of `pairs` and of `scratch`, at the topmost stage; it
            decays towards the first one.
        has_own_size: whether the inputs have the source's own size, so that the features of the problem hold for them.
        views: augmented views of each example, where activations are cached.
        preprocessing: how the network wants its pictures; None for what is none.
        plain: whether activations are cached of the examples without augmentation.
        train_counts: how many examples each training row stands for; None for one each.
        keys: the content of each training, and validation, row.
        first_of: the first training, and validation, row of the content of each; what is computed of it serves all.

    Raises:
        DataError: an example cannot be read any more.
    """

    learning_rates: ClassVar[Mapping[str, float]]
    cache: ClassVar[type[ActivationCache]] = ActivationCache
    has_own_size: bool = True
    views: int = 1
    preprocessing: Preprocessing | None = None
    plain: bool = True

    def __init__(
        self, problem: TuningProblem, config: TrialConfig, *, decoded_cache: DecodedCache, progress: Progress
    ) -> None:
        self.problem, self.config, self.progress = problem, config, progress
        self.train_counts = problem.train_counts
        parts = problem.train_positions, problem.validation_positions
        self.keys = tuple([problem.keys[position] for position in part] for part in parts)
        self.first_of = tuple(map(first_copies, self.keys))

    @classmethod
    @abstractmethod
    def auto_modes(cls, problem: TuningProblem) -> tuple[tuple[str, bool], ...]:
        """Return the modes that `auto` tries, and whether by pairs, the most promising first."""

    @abstractmethod
    def reader(self, body: nn.Module) -> Reader:
        """Return the module that reads the examples with `body`."""

    @abstractmethod
    def blank(self) -> Inputs:
        """Return two examples to try the network on."""

    @abstractmethod
    def examples(self, *, plain: bool = False) -> tuple[Examples, Examples]:
        """Return the training examples, without augmentation where `plain`, and the validation examples."""

    @abstractmethod
    def batches(self) -> tuple[list[NDArray[np.intp]], list[NDArray[np.intp]]]:
        """Return which training rows, and which validation rows, are best computed together, each content once."""

    @abstractmethod
    def cache_size(self, shapes: Sequence[Sequence[int]]) -> int:
        """Return the bytes that cached activations take; 0 where they cannot be cached."""

    def activation_caches(
        self, shapes: Sequence[Sequence[int]], folder: Path | None
    ) -> tuple[ActivationCache, ActivationCache]:
        """Return empty caches for the activations of the training and of the validation examples."""
        train, validation = (
            self.cache(shapes, examples, batches, first_of=first_of, views=views, folder=folder)
            for examples, batches, first_of, views in zip(
                self.examples(), self.batches(), self.first_of, (self.views, 1), strict=True
            )
        )
        return train, validation


def shuffled(count: int, *, epoch: int, batch_size: int, seed: int) -> list[NDArray[np.intp]]:
    """Return the rows 0..count-1 in an order of this epoch, in batches."""
    order = np.random.default_rng([seed, epoch]).permutation(count).astype(np.intp)
    return np.split(order, range(batch_size, count, batch_size))


def first_copies(contents: Sequence[str]) -> NDArray[np.intp]:
    """Return the first row of the content of each row, intp of shape (n,)."""
    first: dict[str, int] = {}
    return np.array([first.setdefault(content, row) for row, content in enumerate(contents)], dtype=np.intp)


def in_order(first_of: NDArray[np.intp], batch_size: int = BATCH) -> list[NDArray[np.intp]]:
    """Return the rows that are the first of their content in their order, in batches."""
    rows = np.unique(first_of)
    return np.split(rows, range(batch_size, len(rows), batch_size)) if len(rows) else []
