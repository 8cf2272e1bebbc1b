"""The ground that tuning stands on."""

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
    """What tuning stands on: the data, the source, and the head that was chosen on its features.

    Attributes:
        dataset: the examples.
        keys: a name of each that follows from its content.
        learn: positions of the examples to learn from.
        judge: positions of those that judge.
        y_learn: class ids, int64 of shape (len(learn),).
        y_judge: class ids, int64 of shape (len(judge),).
        source: what is tuned.
        layer: where its features are taken.
        head: kind, penalty and temperature that were chosen.
        x: features of `learn`, float32 of shape (len(learn), d), at the source's own size.
        x_judge: features of `judge`, float32 of shape (len(judge), d).
        c: number of classes.
        cache: folder for rows that do not fit into memory.
        held_out: whether those that judge are training examples, which the final model may learn from as well.
    """

    dataset: Dataset
    keys: tuple[str, ...]
    learn: tuple[int, ...]
    judge: tuple[int, ...]
    y_learn: NDArray[np.int64]
    y_judge: NDArray[np.int64]
    source: Source
    layer: str
    head: LinearHead
    x: NDArray[np.float32]
    x_judge: NDArray[np.float32]
    c: int
    cache: Path
    held_out: bool = False

    def whole(self) -> TuningProblem:
        """Return the ground on which every example is learned from, and none judges."""
        return replace(
            self,
            learn=(*self.learn, *self.judge),
            judge=(),
            y_learn=np.concatenate([self.y_learn, self.y_judge]),
            y_judge=self.y_judge[:0],
            x=np.concatenate([self.x, self.x_judge]),
            x_judge=self.x_judge[:0],
        )

    def judged_by(self, positions: Sequence[int]) -> TuningProblem:
        """Return the ground on which the examples at `positions` judge, and all others are learned from."""
        whole, held = self.whole(), set(positions)
        where = np.array([at in held for at in whole.learn])
        return replace(
            whole,
            learn=tuple(at for at in whole.learn if at not in held),
            judge=tuple(at for at in whole.learn if at in held),
            y_learn=whole.y_learn[~where],
            y_judge=whole.y_learn[where],
            x=whole.x[~where],
            x_judge=whole.x[where],
        )

    @property
    def taps(self) -> tuple[Tap, ...]:
        """The taps of the layer, in the order of the head's rows."""
        known = {tap.name: tap for tap in self.source.all_taps}
        if self.layer == JOINED:
            return self.source.taps
        return tuple(known[name] for name in dict.fromkeys(self.layer.split("+")))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the source's input in pixels; zeros for what is no picture."""
        how = self.source.preprocessing
        return how.size if isinstance(how, Preprocessing) else (0, 0)

    @property
    def stages(self) -> tuple[str, ...]:
        """The modules that end the stages of the network, in no particular order."""
        return self.source.stages
