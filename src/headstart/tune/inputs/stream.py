"""Examples that are decoded when their batch comes, and forgotten: for data that would not fit into memory decoded."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.base.config import cores
from headstart.data.audio.spectrogram import AudioPreprocessing
from headstart.data.dataset import Dataset
from headstart.data.images.preprocessing import Preprocessing
from headstart.tune.inputs.augment import SpectrogramAugmentation

CHUNK = 16  # pictures a thread decodes at a time
SHIFT_PART = 8  # a picture is moved by at most one part in so many of its side
PHASES = ((0.6, 0.5), (0.85, 0.75))
"""Up to which share of the epochs pictures have which share of their size; beyond them, all of it."""
SHARES = tuple(share for _, share in PHASES)
SIZE_STEP = 8  # smaller sizes are multiples of so many pixels


class Stream:
    """Pictures, or recordings as their spectrograms, as examples of the training loop.

    An augmented picture is moved by a few pixels, its edge repeated, and flipped or not; a recording begins anywhere,
    where it is longer than what the network reads, is moved in time and masked (`SpectrogramAugmentation`). All of it
    follows from the seed, the epoch and the example's row alone. Where `progressive`, the first epochs see smaller
    ones.
    """

    def __init__(
        self,
        dataset: Dataset,
        positions: Sequence[int],
        y: NDArray[np.int64],
        preprocessing: Preprocessing,
        *,
        augment: bool = False,
        horizontal_flip: bool = False,
        progressive: bool = False,
        seed: int = 0,
    ) -> None:
        self.dataset, self.positions, self.y, self.preprocessing = dataset, tuple(positions), y, preprocessing
        self.augment, self.horizontal_flip, self.progressive, self.seed = augment, horizontal_flip, progressive, seed
        self._sizes: list[int] = []
        self._pool = ThreadPoolExecutor(cores(), thread_name_prefix="decode")
        self._drawn = lru_cache(maxsize=2)(self._draw)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def plan(self, epochs: int) -> Sequence[int]:
        """Return the size of the pictures in each of so many epochs, in pixels of the input's height."""
        self._sizes = [self._size((epoch + 1) / epochs) for epoch in range(epochs)]
        return self._sizes

    def order(self, epoch: int, *, batch_size: int, seed: int) -> Sequence[NDArray[np.intp]]:
        """Return the rows of each batch of one epoch, the batches as equal as can be."""
        rng = np.random.default_rng([seed, epoch])
        runs = self.dataset.runs
        order = rng.permutation(len(self.y)) if runs is None else shuffled_in_runs(len(self.y), runs, rng)
        return np.array_split(order, -(-len(order) // batch_size))

    def inputs(self, rows: NDArray[np.intp], *, epoch: int) -> tuple[Tensor, ...]:
        """Return the pictures of `rows` as this epoch sees them: uint8 of shape (n, h, w, channels).

        Raises:
            DataError: one cannot be read any more.
        """
        full = self.preprocessing.size[0]
        size = self._sizes[epoch] if self.progressive and epoch < len(self._sizes) else full
        preprocessing = self.preprocessing if size == full else self.preprocessing.at_side(size)
        chunks = [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]
        pictures = list(self._pool.map(lambda chunk: self._decoded(chunk, preprocessing, epoch), chunks))
        return (torch.from_numpy(np.concatenate(pictures)),)

    def _size(self, progress: float) -> int:
        share = next((share for until, share in PHASES if progress <= until), 1.0) if self.progressive else 1.0
        return scaled_side(self.preprocessing.size[0], share)

    def _decoded(self, rows: NDArray[np.intp], preprocessing: Preprocessing, epoch: int) -> NDArray[np.uint8]:
        pictures = np.empty((len(rows), *preprocessing.shape), np.uint8)
        augments_sound = self.augment and isinstance(preprocessing, AudioPreprocessing)
        for number, row in enumerate(rows):
            if augments_sound:
                pictures[number] = self._augmented_spectrogram(int(row), preprocessing, epoch)
            else:
                pictures[number] = self.dataset.reread(self.positions[row], preprocessing.prepare)
        return self._shifted(pictures, rows, epoch) if self.augment and not augments_sound else pictures

    def _augmented_spectrogram(self, row: int, preprocessing: Preprocessing, epoch: int) -> NDArray[np.uint8]:
        assert isinstance(preprocessing, AudioPreprocessing)
        share = float(self._drawn(epoch)[row, 0])
        picture = self.dataset.reread(self.positions[row], partial(preprocessing.prepare, share=share))
        return SpectrogramAugmentation("light", self.seed).apply(picture, key=row, view=epoch)

    def _shifted(self, pictures: NDArray[np.uint8], rows: NDArray[np.intp], epoch: int) -> NDArray[np.uint8]:
        _, height, width, _ = pictures.shape
        for picture, (down, right, side) in zip(pictures, self._drawn(epoch)[rows], strict=True):
            across = _shifted_indices(width, right)
            flipped = self.horizontal_flip and side < 0.5
            picture[:] = picture[_shifted_indices(height, down)][:, across[::-1] if flipped else across]
        return pictures

    def _draw(self, epoch: int) -> NDArray[np.float32]:
        """Return three numbers in 0..1 for each picture, float32 of shape (n, 3)."""
        return np.random.default_rng([self.seed, epoch, 1]).random((len(self.y), 3), np.float32)


def scaled_side(side: int, share: float) -> int:
    """Return the side of a picture, in pixels, at a share of its full size."""
    return side if share == 1.0 else max(SIZE_STEP, round(side * share / SIZE_STEP) * SIZE_STEP)


def shuffled_in_runs(count: int, runs: tuple[int, int], rng: np.random.Generator) -> NDArray[np.intp]:
    """Return 0..count-1 shuffled for data that is read in runs: rows mix only with those that are buffered with them.

    `runs` are the length of a run, and how many rows are buffered.
    """
    length, buffered = runs
    pieces = np.split(np.arange(count), range(length, count, length))
    mixed = max(1, buffered // (2 * length))  # rows that were left out move the others: a piece may touch two runs
    order = rng.permutation(len(pieces))
    windows = [
        np.concatenate([pieces[number] for number in order[start : start + mixed]])
        for start in range(0, len(order), mixed)
    ]
    return np.concatenate([rng.permutation(window) for window in windows])


def _shifted_indices(side: int, share: float) -> NDArray[np.intp]:
    """Return the indices 0..side-1 moved by a share, 0..1, of the way between the farthest shifts."""
    farthest = side // SHIFT_PART
    return np.clip(np.arange(side) + int(share * (2 * farthest + 1)) - farthest, 0, side - 1)
