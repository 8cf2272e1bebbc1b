"""Nearest centroid: the class whose mean lies closest, the means drawn towards the mean of all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from headstart.heads.convex import FoldHeads
from headstart.heads.principal_axes import PrincipalRows

CENTROID_PENALTIES: tuple[float, ...] = (512.0, 128.0, 32.0, 8.0, 2.0)


def fit_centroids(
    principal: PrincipalRows,
    y: NDArray[np.int64],
    c: int,
    *,
    penalties: Sequence[float],
    weights: NDArray[np.float64],
) -> Iterator[FoldHeads]:
    """Yield, penalty by penalty, the heads whose score is minus half the squared distance to a class mean.

    The square of the example itself, common to all classes, is left out: that makes the score linear.

    Args:
        principal: the training rows.
        y: class ids, of shape (n,).
        c: number of classes.
        penalties: how many imaginary examples at the mean of all data each class mean is drawn by, > 0.
        weights: of shape (m, n); 0 keeps a row out of that set's training, any other counts once.
    """
    member = (y == np.arange(c)[:, None]) & (weights > 0)[:, None]
    sums = (member.reshape(-1, len(y)).astype(principal.rows.dtype) @ principal.rows).reshape(len(weights), c, -1)
    counts = member.sum(axis=2)[..., None]
    for penalty in penalties:
        means = sums.astype(np.float64) / (counts + penalty)
        yield FoldHeads(means, -np.square(means).sum(axis=2) / 2)
