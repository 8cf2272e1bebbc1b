"""Examples that are decoded when their batch comes, and forgotten: for data that would not fit into memory decoded."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from types import TracebackType
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.base.config import cores
from headstart.data.audio.spectrogram import AudioPreprocessing
from headstart.data.dataset import Dataset
from headstart.data.images.preprocessing import Preprocessing
from headstart.tune.inputs.images import resized
from headstart.tune.inputs.spec_augment import Masked

CHUNK = 16  # pictures a thread decodes at a time
SHIFT = 8  # a view is moved by at most this part of its side
PHASES = ((0.6, 0.5), (0.85, 0.75))
"""Up to which share of the epochs pictures have which share of their size; beyond them, all of it."""
SHARES = tuple(share for _, share in PHASES)
STEP = 8  # sizes on the way are multiples of this many pixels


class Stream:
    """Pictures, or recordings as their spectrograms, as examples of the training loop.

    A view of a picture is moved by a few pixels, its edge repeated, and mirrored or not; one of a recording begins
    anywhere, where it is longer than what is heard, is moved in time and masked (`Masked`). All of it follows from the
    seed, the epoch and the example's row alone.

    Args:
        dataset: the pictures.
        positions: of those in question.
        y: their class ids, int64 of shape (n,).
        how: how the network wants them.
        views: whether they vary from epoch to epoch.
        mirror: whether a mirrored one keeps its label.
        growing: whether the first epochs see them smaller.
        seed: of all that is drawn.
    """

    def __init__(
        self,
        dataset: Dataset,
        positions: Sequence[int],
        y: NDArray[np.int64],
        how: Preprocessing,
        *,
        views: bool = False,
        mirror: bool = False,
        growing: bool = False,
        seed: int = 0,
    ) -> None:
        self.dataset, self.positions, self.y, self.how = dataset, tuple(positions), y, how
        self.views, self.mirror, self.growing, self.seed = views, mirror, growing, seed
        self._sizes: list[int] = []
        self._pool = ThreadPoolExecutor(cores(), thread_name_prefix="decode")
        self._drawn = lru_cache(maxsize=2)(self._draw)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def plan(self, epochs: int) -> Sequence[int]:
        """Return the size of the pictures in each of so many epochs, in pixels of the input's height."""
        self._sizes = [self._size((epoch + 1) / epochs) for epoch in range(epochs)]
        return self._sizes

    def order(self, epoch: int, *, batch: int, seed: int) -> Sequence[NDArray[np.intp]]:
        """Return the rows of each batch of one epoch, the batches as equal as can be."""
        rng = np.random.default_rng([seed, epoch])
        runs = self.dataset.runs
        order = rng.permutation(len(self.y)) if runs is None else nearby(len(self.y), runs, rng)
        return np.array_split(order, -(-len(order) // batch))

    def inputs(self, rows: NDArray[np.intp], *, epoch: int) -> tuple[Tensor, ...]:
        """Return the pictures of `rows` as this epoch sees them: uint8 of shape (n, h, w, channels).

        Raises:
            DataError: one cannot be read any more.
        """
        size = self._sizes[epoch] if self.growing and epoch < len(self._sizes) else self.how.size[0]
        how = self.how if size == self.how.size[0] else resized(self.how, size)
        chunks = [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]
        found = list(self._pool.map(lambda chunk: self._decoded(chunk, how, epoch), chunks))
        return (torch.from_numpy(np.concatenate(found)),)

    def _size(self, share: float) -> int:
        part = next((part for until, part in PHASES if share <= until), 1.0) if self.growing else 1.0
        return grown(self.how.size[0], part)

    def _decoded(self, rows: NDArray[np.intp], how: Preprocessing, epoch: int) -> NDArray[np.uint8]:
        found = np.empty((len(rows), *how.size, 1 if how.channels == "grey" else 3), np.uint8)
        for at, row in enumerate(rows):
            if self.views and isinstance(how, AudioPreprocessing):
                found[at] = self._heard(int(row), how, epoch)
            else:
                found[at] = self.dataset.reread(self.positions[row], how.prepare)
        return self._moved(found, rows, epoch) if self.views and not isinstance(how, AudioPreprocessing) else found

    def _heard(self, row: int, how: AudioPreprocessing, epoch: int) -> NDArray[np.uint8]:
        share = float(self._drawn(epoch)[row, 0])
        picture = self.dataset.reread(self.positions[row], partial(how.prepare, share=share))
        return Masked("light", self.seed).apply(picture, key=row, view=epoch)

    def _moved(self, pictures: NDArray[np.uint8], rows: NDArray[np.intp], epoch: int) -> NDArray[np.uint8]:
        _, height, width, _ = pictures.shape
        for picture, (down, right, side) in zip(pictures, self._drawn(epoch)[rows], strict=True):
            across = _along(width, right)
            picture[:] = picture[_along(height, down)][:, across[::-1] if self.mirror and side < 0.5 else across]
        return pictures

    def _draw(self, epoch: int) -> NDArray[np.float32]:
        """Return three numbers in 0..1 for each picture, float32 of shape (n, 3)."""
        return np.random.default_rng([self.seed, epoch, 1]).random((len(self.y), 3), np.float32)


def grown(side: int, share: float) -> int:
    """Return the side of a picture, in pixels, at a share of its full size."""
    return side if share == 1.0 else max(STEP, round(side * share / STEP) * STEP)


def nearby(count: int, runs: tuple[int, int], rng: np.random.Generator) -> NDArray[np.intp]:
    """Return 0..count-1 in an order that can be read in runs: runs in any order, mixed as far as they are held at once.

    Args:
        count: how many.
        runs: length of a run, and how many rows are held.
        rng: draws the order.
    """
    length, held = runs
    pieces = np.split(np.arange(count), range(length, count, length))
    mixed = max(1, held // (2 * length))  # rows that were left out move the others: a piece may touch two runs
    order = rng.permutation(len(pieces))
    windows = [
        np.concatenate([pieces[at] for at in order[start : start + mixed]]) for start in range(0, len(order), mixed)
    ]
    return np.concatenate([rng.permutation(window) for window in windows])


def _along(side: int, share: float) -> NDArray[np.intp]:
    """Return the indices 0..side-1 moved by a share, 0..1, of the way between the farthest shifts."""
    most = side // SHIFT
    return np.clip(np.arange(side) + int(share * (2 * most + 1)) - most, 0, side - 1)
