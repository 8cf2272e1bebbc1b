"""An extraction: what is known of a data set once every example of it was read and run through a network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.data.audit import Scan
from headstart.engines.base import Block
from headstart.features.modality import Summary


@dataclass(frozen=True)
class Extraction:
    """The features of a data set, all blocks of them.

    Attributes:
        scan: the n examples that could be used, their hashes, and what all of them together show.
        positions: of these n in the data set that was read, ascending.
        x: float32 of shape (n, d), the blocks side by side.
        summary: what is kept of each example beside its features.
        blocks: names and widths of the columns.
        hits: how many of the n examples needed no run of the network: cached, or the same bytes as another.
        misses: how many examples were run.
        engine: name and precision of the engine.
        made_by: fingerprint of the network, the engine and the libraries behind both.
        notes: what was noticed on the way, one sentence each.
        unknown: of texts, the words that the source does not know and how often each comes, the commonest first.
    """

    scan: Scan
    positions: tuple[int, ...]
    x: NDArray[np.float32]
    summary: Summary
    blocks: tuple[Block, ...]
    hits: int
    misses: int
    engine: str
    made_by: str
    notes: tuple[str, ...]
    unknown: tuple[tuple[str, int], ...] = ()
