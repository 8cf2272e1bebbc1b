"""Features of examples: those of a whole data set as they were extracted, and rows of one layer with their labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from headstart.base.mapped import taken
from headstart.data.audit import Scan
from headstart.engines.base import Block
from headstart.features.modality import Summary


@dataclass(frozen=True)
class Features:
    """An (n, d) array and what its rows and columns are."""

    x: NDArray[np.float32]  # float32 of shape (n, d), the blocks side by side
    y: NDArray[np.int64]  # int64 of shape (n,), class ids in 0..c-1
    ids: tuple[str, ...]  # the n example ids
    classes: tuple[str, ...]  # the c class names
    blocks: tuple[Block, ...]  # names and widths of the column blocks; widths sum to d
    made_by: str  # fingerprint of source, layer, preprocessing and engine precision

    def __len__(self) -> int:
        return len(self.x)

    def rows(self, positions: NDArray[np.intp] | Sequence[int]) -> Features:
        """Return the rows at `positions`, in that order."""
        indices = np.asarray(positions, dtype=np.intp)
        return replace(self, x=self.x[indices], y=self.y[indices], ids=tuple(self.ids[i] for i in indices))


@dataclass(frozen=True)
class Extraction:
    """The features of a data set, all blocks of them."""

    scan: Scan  # the n examples that could be used, their hashes, and what all of them together show
    positions: tuple[int, ...]  # of these n in the data set that was read, ascending
    x: NDArray[np.float32]  # float32 of shape (m, d), the blocks side by side: one row for each distinct content
    row_of: NDArray[np.intp]  # of shape (n,), the row of each example; rows stand in the order of first examples
    summary: Summary  # what is kept of each distinct content beside its features
    blocks: tuple[Block, ...]  # names and widths of the columns
    hits: int  # how many of the n examples needed no run of the network: cached, or the same bytes as another
    misses: int  # how many examples were run
    engine: str  # name and precision of the engine
    made_by: str  # fingerprint of the network, the engine and the libraries behind both
    notes: tuple[str, ...]  # what was noticed on the way, one sentence each
    # of texts, the words that the source does not know and how often each comes, the commonest first
    unknown: tuple[tuple[str, int], ...] = ()

    @property
    def x_of_all(self) -> NDArray[np.float32]:
        """The features of every example, float32 of shape (n, d); a copy where contents come twice."""
        return self.x if len(self.x) == len(self.row_of) else taken(self.x, self.row_of)
