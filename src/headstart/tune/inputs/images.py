"""Pictures, and recordings as pictures of their sound, to learn from: decoded once, augmented at each visit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from headstart.base.config import cores
from headstart.base.prefetch import Prefetcher
from headstart.base.progress import Progress
from headstart.data.dataset import Dataset
from headstart.data.images.preprocessing import Preprocessing
from headstart.tune.inputs.augment import Augmentation, ImageAugmentation, SpectrogramAugmentation
from headstart.tune.inputs.base import BATCH, DecodedCache, InputPipeline, in_order, shuffled
from headstart.tune.inputs.row_store import Rows, RowSubset, place_for
from headstart.tune.network.readers import Inputs, PictureReader
from headstart.tune.problem import TrialConfig, TuningProblem
from headstart.tune.settings import ALL, LAST

WINDOW = 64  # pictures decoded ahead


def uncropped(preprocessing: Preprocessing) -> Preprocessing:
    """Return the preprocessing without its last crop, for views to be cut from; that crop is their centre."""
    if preprocessing.resize is None or preprocessing.resize <= max(preprocessing.size):
        return preprocessing
    # An odd rest would put the centre of the centre half a pixel off.
    height, width = (side + (preprocessing.resize - side) // 4 * 4 for side in preprocessing.size)
    return replace(preprocessing, size=(height, width))


def decoded_pictures(
    decoded_cache: DecodedCache,
    problem: TuningProblem,
    positions: Sequence[int],
    preprocessing: Preprocessing,
    *,
    progress: Progress,
) -> tuple[Rows, Mapping[str, int]]:
    """Return the pictures at `positions`, ready to be augmented, and the row of each content; the cache keeps them.

    It raises what `decode_rows` does.
    """
    if preprocessing.size not in decoded_cache:
        first = {problem.keys[position]: position for position in reversed(positions)}
        contents = sorted(first, key=first.__getitem__)
        distinct = [first[content] for content in contents]
        rows = decode_rows(problem.dataset, distinct, uncropped(preprocessing), cache=problem.cache, progress=progress)
        decoded_cache[preprocessing.size] = rows, {content: row for row, content in enumerate(contents)}
    pictures: tuple[Rows, Mapping[str, int]] = decoded_cache[preprocessing.size]
    return pictures


def decode_rows(
    dataset: Dataset, positions: Sequence[int], preprocessing: Preprocessing, *, cache: Path, progress: Progress
) -> Rows:
    """Return the decoded pictures at `positions`, uint8, one a row.

    Raises:
        DataError: one cannot be read any more.
        UsageError: they do not fit into memory, and the disk is full.
    """
    place = place_for(len(positions) * int(np.prod(preprocessing.shape)), cache)
    rows = Rows(len(positions), preprocessing.shape, np.uint8, None if place == "memory" else cache / "tuning")

    def read(position: int) -> NDArray[np.uint8]:
        return dataset.reread(position, preprocessing.prepare)

    with (
        Prefetcher(read, positions, workers=cores(), window=WINDOW) as ahead,
        progress.step("Reading for tuning", len(positions), f"{dataset.kind}s") as step,
    ):
        for row, picture in enumerate(ahead):
            rows[row] = picture
            step.advance()
    return rows


class Pictures:
    """Decoded pictures, uint8, as examples of the training loop.

    Each varies from visit to visit, as follows from its key; after `cycle` views the first comes again, unless it is 0.
    """

    def __init__(
        self,
        rows: Rows | RowSubset,
        y: NDArray[np.int64],
        keys: Sequence[str],
        augmentation: Augmentation,
        *,
        cycle: int = 0,
    ) -> None:
        self.rows, self.y, self.keys, self.augmentation, self.cycle = rows, y, keys, augmentation, cycle

    def order(self, epoch: int, *, batch_size: int, seed: int) -> Sequence[NDArray[np.intp]]:
        """Return the rows of each batch of one epoch."""
        return shuffled(len(self.y), epoch=epoch, batch_size=batch_size, seed=seed)

    def inputs(self, rows: NDArray[np.intp], *, epoch: int) -> Inputs:
        """Return the pictures of `rows` as this epoch sees them: uint8 of shape (n, h, w, channels)."""
        view = epoch % self.cycle if self.cycle else epoch
        augmented = [
            self.augmentation.apply(picture, key=self.keys[row].encode(), view=view)
            for row, picture in zip(rows, self.rows.take(rows), strict=True)
        ]
        return (torch.from_numpy(np.stack(augmented)),)


class ImagePipeline(InputPipeline):
    """Photos: decoded once, in as many augmented views as there are visits."""

    learning_rates: ClassVar[Mapping[str, float]] = {
        "norm": 1e-3,
        "lora": 1e-3,
        "last": 5e-4,
        "all": 3e-4,
        "pairs": 3e-4,
        "scratch": 1e-3,
    }

    preprocessing: Preprocessing

    def __init__(
        self, problem: TuningProblem, config: TrialConfig, *, decoded_cache: DecodedCache, progress: Progress
    ) -> None:
        super().__init__(problem, config, decoded_cache=decoded_cache, progress=progress)
        own = problem.source.preprocessing
        assert isinstance(own, Preprocessing)
        self.preprocessing = own.at_side(config.size) if config.size else own
        self.has_own_size = not config.size
        self.plain = config.augment == "none"
        self.views = 1 if self.plain else config.augmented_views
        everything = (*problem.train_positions, *problem.validation_positions)
        self._rows, self._row_of = decoded_pictures(
            decoded_cache, problem, everything, self.preprocessing, progress=progress
        )

    @classmethod
    def auto_modes(cls, problem: TuningProblem) -> tuple[tuple[str, bool], ...]:
        """Return the modes that `auto` tries."""
        return ("last:2", False), ("last:1", False), (ALL, False)

    def reader(self, body: nn.Module) -> PictureReader:
        """Return the module that reads pictures."""
        return PictureReader(body, self.preprocessing, self.problem.taps)

    def blank(self) -> Inputs:
        """Return two pictures of noise."""
        noise = np.random.default_rng(0).integers(0, 256, (2, *self.preprocessing.shape), dtype=np.uint8)
        return (torch.from_numpy(noise),)

    def examples(self, *, plain: bool = False) -> tuple[Pictures, Pictures]:
        """Return the training pictures and the validation pictures."""
        problem = self.problem
        strength = "none" if plain else self.config.augment
        return (
            self._pictures(problem.y_train, problem.train_positions, strength),
            self._pictures(problem.y_validation, problem.validation_positions, "none"),
        )

    def _pictures(self, y: NDArray[np.int64], positions: Sequence[int], strength: str) -> Pictures:
        cycle = self.config.augmented_views if LAST.fullmatch(self.config.mode) else 0
        keys = [self.problem.keys[position] for position in positions]
        chosen = np.array([self._row_of[key] for key in keys], dtype=np.intp)
        return Pictures(RowSubset(self._rows, chosen), y, keys, self.augmentation(strength), cycle=cycle)

    def augmentation(self, strength: str) -> Augmentation:
        """Return how the pictures vary, at a strength."""
        flip, seed = self.config.horizontal_flip, self.config.recipe.seed
        return ImageAugmentation(strength, horizontal_flip=flip, size=self.preprocessing.size, seed=seed)

    def batches(self) -> tuple[list[NDArray[np.intp]], list[NDArray[np.intp]]]:
        """Return the rows in their order, in batches."""
        train, validation = self.first_of
        return in_order(train), in_order(validation, 2 * BATCH)

    def cache_size(self, shapes: Sequence[Sequence[int]]) -> int:
        """Return the bytes that cached activations take."""
        train, validation = (len(np.unique(first_of)) for first_of in self.first_of)
        count = train * self.views + validation
        return count * sum(4 * int(np.prod(shape)) for shape in shapes)


class SoundPipeline(ImagePipeline):
    """Recordings: the pictures that their spectrograms are, moved in time and masked."""

    def augmentation(self, strength: str) -> Augmentation:
        """Return how the spectrograms vary, at a strength."""
        return SpectrogramAugmentation(strength, seed=self.config.recipe.seed)
