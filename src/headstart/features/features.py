"""Features: what a source says about each example, with labels, ids and fingerprints of what made them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from headstart.engines.base import Block


@dataclass(frozen=True)
class Features:
    """An (n, d) array and what its rows and columns are.

    Attributes:
        x: float32 of shape (n, d), the blocks side by side.
        y: int64 of shape (n,), class ids in 0..c-1.
        ids: the n example ids.
        classes: the c class names.
        blocks: names and widths of the column blocks; widths sum to d.
        made_by: fingerprint of source, layer, preprocessing and engine precision.
    """

    x: NDArray[np.float32]
    y: NDArray[np.int64]
    ids: tuple[str, ...]
    classes: tuple[str, ...]
    blocks: tuple[Block, ...]
    made_by: str

    def __len__(self) -> int:
        return len(self.x)

    def rows(self, positions: NDArray[np.intp] | Sequence[int]) -> Features:
        """Return the rows at `positions`, in that order."""
        indices = np.asarray(positions, dtype=np.intp)
        return replace(self, x=self.x[indices], y=self.y[indices], ids=tuple(self.ids[i] for i in indices))
