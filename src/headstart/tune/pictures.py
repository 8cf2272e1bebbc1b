"""Pictures to learn from: decoded once, seen anew at each visit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.base.config import cores
from headstart.base.errors import DataError
from headstart.base.progress import Progress
from headstart.data.dataset import Dataset, Unusable
from headstart.data.images import Preprocessing, decode
from headstart.features.ahead import Ahead
from headstart.tune.augment import Views
from headstart.tune.rows import Rows, place_for

WINDOW = 64  # pictures decoded ahead


def wide(how: Preprocessing) -> Preprocessing:
    """Return the preprocessing without its last crop: what views are cut from, and whose centre is what it was."""
    if how.resize is None or how.resize <= max(how.size):
        return how
    # An odd rest would put the centre of the centre half a pixel off.
    height, width = (side + (how.resize - side) // 4 * 4 for side in how.size)
    return replace(how, size=(height, width))


def resized(how: Preprocessing, size: int) -> Preprocessing:
    """Return the preprocessing for another size of the network's input, in pixels, in the same proportions."""
    share = size / how.size[0]
    resize = None if how.resize is None else max(size, round(how.resize * share))
    return replace(how, size=(size, round(how.size[1] * share)), resize=resize)


def decoded(dataset: Dataset, positions: Sequence[int], how: Preprocessing, *, cache: Path, progress: Progress) -> Rows:
    """Return the pictures at `positions`, ready for views of them to be cut.

    Raises:
        DataError: one cannot be read any more.
        UsageError: they do not fit into memory, and the disk is full.
    """
    shape = (*how.size, 1 if how.channels == "grey" else 3)
    place = place_for(len(positions) * int(np.prod(shape)), cache)
    rows = Rows(len(positions), shape, np.uint8, None if place == "memory" else cache / "tuning")

    def read(at: int) -> NDArray[np.uint8]:
        return decode(dataset.read(positions[at]), how)

    with (
        Ahead(read, range(len(positions)), workers=cores(), window=WINDOW) as ahead,
        progress.step("Reading for tuning", len(positions), f"{dataset.kind}s") as step,
    ):
        for at, said in ahead:
            if isinstance(said, Unusable):
                name = dataset.examples[positions[at]].id
                raise DataError(f"{name} must be readable again", said.reason, "run the same command again")
            rows[at] = np.asarray(said)
            step.advance()
    return rows


def shuffled(count: int, *, epoch: int, batch: int, seed: int) -> list[NDArray[np.intp]]:
    """Return the rows 0..count-1 in an order of this epoch, in batches."""
    order = np.random.default_rng([seed, epoch]).permutation(count).astype(np.intp)
    return np.split(order, range(batch, count, batch))


class Pictures:
    """Decoded pictures as examples of the training loop.

    Args:
        rows: the pictures, uint8.
        y: class ids, int64 of shape (n,).
        keys: a name of each picture, that its views follow from.
        views: how they vary.
        cycle: after so many views of each, the first comes again; 0 for never.
    """

    def __init__(self, rows: Rows, y: NDArray[np.int64], keys: Sequence[str], views: Views, *, cycle: int = 0) -> None:
        self.rows, self.y, self.keys, self.views, self.cycle = rows, y, keys, views, cycle

    def order(self, epoch: int, *, batch: int, seed: int) -> Sequence[NDArray[np.intp]]:
        """Return the rows of each batch of one epoch."""
        return shuffled(len(self.y), epoch=epoch, batch=batch, seed=seed)

    def inputs(self, rows: NDArray[np.intp], *, epoch: int) -> tuple[Tensor, ...]:
        """Return the pictures of `rows` as this epoch sees them: uint8 of shape (n, h, w, channels)."""
        view = epoch % self.cycle if self.cycle else epoch
        seen = [
            self.views.apply(picture, key=self.keys[row].encode(), view=view)
            for row, picture in zip(rows, self.rows.take(rows), strict=True)
        ]
        return (torch.from_numpy(np.stack(seen)),)


class Kept:
    """Activations at the boundary of the frozen prefix, for several views of each example.

    Args:
        parts: the tensors that the prefix keeps; each has `count` rows for the first view, then as many for the next.
        y: class ids, int64 of shape (n,).
        views: how many of each example there are.
    """

    def __init__(self, parts: Sequence[Rows], y: NDArray[np.int64], *, views: int) -> None:
        self.parts, self.y, self.views = tuple(parts), y, views

    def order(self, epoch: int, *, batch: int, seed: int) -> Sequence[NDArray[np.intp]]:
        """Return the rows of each batch of one epoch."""
        return shuffled(len(self.y), epoch=epoch, batch=batch, seed=seed)

    def inputs(self, rows: NDArray[np.intp], *, epoch: int) -> tuple[Tensor, ...]:
        """Return what the prefix kept of `rows`, in the view of this epoch."""
        at = rows + (epoch % self.views) * len(self.y)
        return tuple(torch.from_numpy(part.take(at)) for part in self.parts)
