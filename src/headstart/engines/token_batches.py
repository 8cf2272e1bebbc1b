"""Texts in batches: sorted by length, padded to the longest of each batch, as many as a budget of tokens holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from headstart.data.text import Tokens
from headstart.engines.base import Batch, Lookup, as_tokens

BUDGET = 1024
"""Tokens of a batch, padding included: enough to fill the matrix products, few enough to stay in a core's cache."""
STEP = 8
"""Batches are padded to a multiple of so many tokens, so that a network meets few shapes."""
LOOKUP = "numpy-f32"

Padded = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Ids, 0 where there is none, and the mask, 1 where there is one; int64 of shape (n, length)."""


def packs(lengths: NDArray[np.int64], budget: int = BUDGET) -> Iterator[NDArray[np.intp]]:
    """Yield the positions of each batch: longest first, of nearly equal lengths, together within the budget.

    Args:
        lengths: of the pieces, int64 of shape (n,).
        budget: tokens of a batch, padding included; a piece that is longer stands alone.
    """
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        longest = padded_length(int(lengths[order[start]]))
        count = max(1, budget // longest)
        yield order[start : start + count]
        start += count


def padded_length(length: int) -> int:
    """Return `length` rounded up to a multiple of STEP, at least one of them."""
    return max(STEP, -(-length // STEP) * STEP)


def padded(pieces: Sequence[NDArray[np.int32]]) -> Padded:
    """Return pieces side by side, each filled up to the longest."""
    lengths = np.array([len(piece) for piece in pieces])
    width = padded_length(int(lengths.max(initial=1)))
    ids = np.zeros((len(pieces), width), dtype=np.int64)
    mask = (np.arange(width) < lengths[:, None]).astype(np.int64)
    ids[mask.astype(bool)] = np.concatenate(pieces) if len(pieces) else []
    return ids, mask


def over_pieces(
    run: Callable[[list[Padded]], list[NDArray[np.float32]]], texts: Sequence[Tokens], width: int
) -> NDArray[np.float32]:
    """Return the features of each text, the mean over its pieces, float32 of shape (n, width).

    Args:
        run: takes batches, and returns rows of features for each.
        texts: what to run.
        width: of the features.
    """
    pieces = [piece for text in texts for piece in text.pieces]
    vectors = np.empty((len(pieces), width), dtype=np.float32)
    groups = list(packs(np.array([len(piece) for piece in pieces], dtype=np.int64)))
    for group, rows in zip(groups, run([padded([pieces[at] for at in group]) for group in groups]), strict=True):
        vectors[group] = rows
    counts = np.array([len(text.pieces) for text in texts])
    if (counts == 1).all():
        return vectors
    starts = np.cumsum([0, *counts[:-1]])
    sums = np.add.reduceat(vectors, starts, axis=0)
    return np.asarray(sums / counts[:, None], dtype=np.float32)


class LookupEngine:
    """Looks vectors up and averages them: all there is to run of a table of vectors."""

    def __init__(self, lookup: Lookup) -> None:
        self.name, self.batch = LOOKUP, 256
        self._lookup = lookup

    def run(self, batch: Batch) -> NDArray[np.float32]:
        """Return the features, float32 of shape (n, width)."""
        return self._lookup(as_tokens(batch))
