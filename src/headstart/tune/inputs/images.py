"""Pictures, and recordings as pictures of their sound, to learn from: decoded once, seen anew at each visit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from headstart.base.config import cores
from headstart.base.prefetch import Prefetcher
from headstart.base.progress import Progress
from headstart.data.dataset import Dataset
from headstart.data.images.preprocessing import Preprocessing
from headstart.data.modality import Kind
from headstart.sources.base import Source, Weights
from headstart.tune.inputs.augment import Views
from headstart.tune.inputs.base import BATCH, ActivationCache, DecodedCache, InputPipeline, in_turn, shuffled
from headstart.tune.inputs.row_store import Part, Placed, Rows, place_for
from headstart.tune.inputs.spec_augment import Masked
from headstart.tune.network.readers import Given, PictureReader
from headstart.tune.problem import TuningProblem
from headstart.tune.settings import ALL, LAST
from headstart.tune.trial_config import TrialConfig

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


def decoded_pictures(
    decoded_cache: DecodedCache,
    dataset: Dataset,
    positions: Sequence[int],
    how: Preprocessing,
    *,
    cache: Path,
    progress: Progress,
) -> Placed:
    """Return the pictures at `positions`, ready for views of them to be cut; those of the shelf where it has them.

    Raises:
        DataError: one cannot be read any more.
        UsageError: they do not fit into memory, and the disk is full.
    """
    if how.size not in decoded_cache:
        decoded_cache[how.size] = Placed(
            decoded(dataset, positions, wide(how), cache=cache, progress=progress), positions
        )
    found: Placed = decoded_cache[how.size]
    return found


def decoded(dataset: Dataset, positions: Sequence[int], how: Preprocessing, *, cache: Path, progress: Progress) -> Rows:
    """Return the pictures at `positions`, ready for views of them to be cut.

    Raises:
        DataError: one cannot be read any more.
        UsageError: they do not fit into memory, and the disk is full.
    """
    shape = (*how.size, 1 if how.channels == "grey" else 3)
    place = place_for(len(positions) * int(np.prod(shape)), cache)
    rows = Rows(len(positions), shape, np.uint8, None if place == "memory" else cache / "tuning")

    def read(position: int) -> NDArray[np.uint8]:
        return dataset.reread(position, how.prepare)

    with (
        Prefetcher(read, positions, workers=cores(), window=WINDOW) as ahead,
        progress.step("Reading for tuning", len(positions), f"{dataset.kind}s") as step,
    ):
        for at, picture in enumerate(ahead):
            rows[at] = picture
            step.advance()
    return rows


class Varied(Protocol):
    """How examples vary from visit to visit."""

    def apply(self, picture: NDArray[np.uint8], *, key: int | bytes, view: int) -> NDArray[np.uint8]:
        """Return a view of a picture; see `Views.apply`."""


class Pictures:
    """Decoded pictures as examples of the training loop.

    Args:
        rows: the pictures, uint8.
        y: class ids, int64 of shape (n,).
        keys: a name of each picture, that its views follow from.
        views: how they vary.
        cycle: after so many views of each, the first comes again; 0 for never.
    """

    def __init__(self, rows: Part, y: NDArray[np.int64], keys: Sequence[str], views: Varied, *, cycle: int = 0) -> None:
        self.rows, self.y, self.keys, self.views, self.cycle = rows, y, keys, views, cycle

    def order(self, epoch: int, *, batch: int, seed: int) -> Sequence[NDArray[np.intp]]:
        """Return the rows of each batch of one epoch."""
        return shuffled(len(self.y), epoch=epoch, batch=batch, seed=seed)

    def inputs(self, rows: NDArray[np.intp], *, epoch: int) -> Given:
        """Return the pictures of `rows` as this epoch sees them: uint8 of shape (n, h, w, channels)."""
        view = epoch % self.cycle if self.cycle else epoch
        seen = [
            self.views.apply(picture, key=self.keys[row].encode(), view=view)
            for row, picture in zip(rows, self.rows.take(rows), strict=True)
        ]
        return (torch.from_numpy(np.stack(seen)),)


class ImagePipeline(InputPipeline):
    """Photos: decoded once, in as many views as there are visits."""

    kind: ClassVar[Kind] = "image"
    rates: ClassVar[Mapping[str, float]] = {
        "norm": 1e-3,
        "lora": 1e-3,
        "last": 5e-4,
        "all": 3e-4,
        "pairs": 3e-4,
        "scratch": 1e-3,
    }

    def __init__(
        self, ground: TuningProblem, way: TrialConfig, *, decoded_cache: DecodedCache, progress: Progress
    ) -> None:
        super().__init__(ground, way, decoded_cache=decoded_cache, progress=progress)
        own = ground.source.preprocessing
        assert isinstance(own, Preprocessing)
        self.how = resized(own, way.size) if way.size else own
        self.own = not way.size
        self.plain = way.augment == "none"
        self.views = 1 if self.plain else way.views
        everything = (*ground.learn, *ground.judge)
        self._rows = decoded_pictures(
            decoded_cache, ground.dataset, everything, self.how, cache=ground.cache, progress=progress
        )

    @classmethod
    def ways(cls, ground: TuningProblem) -> tuple[tuple[str, bool], ...]:
        """Return the modes that `auto` tries."""
        return ("last:2", False), (ALL, False), ("last:1", False)

    def reader(self, body: nn.Module) -> PictureReader:
        """Return what reads pictures."""
        return PictureReader(body, self.how, self.ground.taps)

    def blank(self) -> Given:
        """Return two pictures of noise."""
        shape = (*self.how.size, 1 if self.how.channels == "grey" else 3)
        noise = np.random.default_rng(0).integers(0, 256, (2, *shape), dtype=np.uint8)
        return (torch.from_numpy(noise),)

    def examples(self, *, plain: bool = False) -> tuple[Pictures, Pictures]:
        """Return the pictures to learn from, and those that judge."""
        ground = self.ground
        learn = self._pictures(ground.y_learn, ground.learn, "none" if plain else self.way.augment)
        return learn, self._pictures(ground.y_judge, ground.judge, "none")

    def _pictures(self, y: NDArray[np.int64], positions: Sequence[int], strength: str) -> Pictures:
        way = self.way
        cycle = way.views if LAST.fullmatch(way.mode) else 0
        keys = [self.ground.keys[at] for at in positions]
        return Pictures(self._rows.part(positions), y, keys, self.varied(strength), cycle=cycle)

    def varied(self, strength: str) -> Varied:
        """Return how the pictures vary, at a strength."""
        return Views(strength, mirror=self.way.mirror, size=self.how.size, seed=self.way.recipe.seed)

    def turns(self) -> tuple[list[NDArray[np.intp]], list[NDArray[np.intp]]]:
        """Return the rows in their order, in batches."""
        return in_turn(len(self.ground.learn)), in_turn(len(self.ground.judge), 2 * BATCH)

    def kept(self, shapes: Sequence[Sequence[int]], folder: Path | None) -> tuple[ActivationCache, ActivationCache]:
        """Return room for what is kept."""
        learn, judge = self.ground.y_learn, self.ground.y_judge
        return (
            ActivationCache(shapes, learn, self.turns()[0], views=self.views, folder=folder),
            ActivationCache(shapes, judge, self.turns()[1], views=1, folder=folder),
        )

    def tuned(self, weights: Weights) -> Source:
        """Return the tuned source of pictures, at this size."""
        return self.ground.source.with_weights(weights, self.how)

    def size(self, shapes: Sequence[Sequence[int]]) -> int:
        """Return the bytes that keeping takes."""
        count = len(self.ground.learn) * self.views + len(self.ground.judge)
        return count * sum(4 * int(np.prod(shape)) for shape in shapes)


class SoundPipeline(ImagePipeline):
    """Recordings: the pictures that their spectrograms are, moved in time and masked."""

    kind = "sound"

    def varied(self, strength: str) -> Varied:
        """Return how the spectrograms vary, at a strength."""
        return Masked(strength, seed=self.way.recipe.seed)
