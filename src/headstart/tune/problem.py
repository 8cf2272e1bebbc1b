"""The problem that tuning solves: examples, a source, and the head that was chosen on its frozen features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart.data.dataset import Dataset
from headstart.data.images.preprocessing import Preprocessing
from headstart.heads.linear import LinearHead
from headstart.sources.base import Source
from headstart.sources.layers import JOINED
from headstart.sources.taps import Tap


@dataclass(frozen=True)
class TuningProblem:
    """The data, the source, and the head that tuning starts from and has to beat.

    Attributes:
        keys: the content hash of each example of `dataset`.
        train_positions: positions of the n examples to learn from.
        validation_positions: positions of the m examples that tuning is evaluated on.
        y_train: class ids of the training examples, int64 of shape (n,).
        y_validation: class ids of the validation examples, int64 of shape (m,).
        layer: the layer that the features are taken at.
        head: the kind, penalty and temperature that were chosen.
        x_train: features of the training examples, float32 of shape (n, d), at the source's own input size.
        x_validation: features of the validation examples, float32 of shape (m, d).
        c: number of classes.
        cache: folder for arrays that do not fit into memory.
        held_out: whether the validation examples were held out of the training part, so that the final model may learn
            from them as well.
    """

    dataset: Dataset
    keys: tuple[str, ...]
    train_positions: tuple[int, ...]
    validation_positions: tuple[int, ...]
    y_train: NDArray[np.int64]
    y_validation: NDArray[np.int64]
    source: Source
    layer: str
    head: LinearHead
    x_train: NDArray[np.float32]
    x_validation: NDArray[np.float32]
    c: int
    cache: Path
    held_out: bool = False

    def without_validation(self) -> TuningProblem:
        """Return the problem in which every example is a training example."""
        return replace(
            self,
            train_positions=(*self.train_positions, *self.validation_positions),
            validation_positions=(),
            y_train=np.concatenate([self.y_train, self.y_validation]),
            y_validation=self.y_validation[:0],
            x_train=np.concatenate([self.x_train, self.x_validation]),
            x_validation=self.x_validation[:0],
        )

    def with_validation(self, positions: Sequence[int]) -> TuningProblem:
        """Return the problem that is evaluated on the examples at `positions` and learned from all the others."""
        everything, validation = self.without_validation(), set(positions)
        rows = np.array([position in validation for position in everything.train_positions])
        return replace(
            everything,
            train_positions=tuple(position for position in everything.train_positions if position not in validation),
            validation_positions=tuple(position for position in everything.train_positions if position in validation),
            y_train=everything.y_train[~rows],
            y_validation=everything.y_train[rows],
            x_train=everything.x_train[~rows],
            x_validation=everything.x_train[rows],
        )

    @property
    def taps(self) -> tuple[Tap, ...]:
        """The taps of the layer, in the order of the head's rows."""
        if self.layer == JOINED:
            return self.source.taps
        taps = {tap.name: tap for tap in self.source.all_taps}
        return tuple(taps[name] for name in dict.fromkeys(self.layer.split("+")))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the source's input in pixels; zeros where the examples are no pictures."""
        preprocessing = self.source.preprocessing
        return preprocessing.size if isinstance(preprocessing, Preprocessing) else (0, 0)

    @property
    def stages(self) -> tuple[str, ...]:
        """The modules that end the stages of the network, in no particular order."""
        return self.source.stages
