"""Ridge regression on +-1 targets: closed form, with the exact scores of each example left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from headstart.heads.principal_axes import Rotated, blocks

PENALTIES: tuple[float, ...] = tuple(float(10.0**half) for half in np.arange(-4, 3.01, 0.5))


def targets(y: NDArray[np.int64], c: int) -> NDArray[np.float64]:
    """Return +1 for the class of each row and -1 for the others, float64 of shape (n, c)."""
    return np.where(y[:, None] == np.arange(c), 1.0, -1.0)


def solve(
    rotated: Rotated, y: NDArray[np.int64], c: int, penalty: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the ridge head on rotated rows: coefficients (k, c) and intercept (c,)."""
    weights = rotated.weights
    goal = targets(y, c)
    mean = weights @ goal / weights.sum()
    pull = rotated.rows.T @ (weights[:, None] * (goal - mean)).astype(rotated.rows.dtype)
    return pull / (rotated.powers[:, None] + penalty), mean


def left_out(
    rotated: Rotated,
    y: NDArray[np.int64],
    c: int,
    *,
    penalties: Sequence[float] = PENALTIES,
    groups: NDArray[np.int64] | None = None,
) -> Iterator[NDArray[np.float64]]:
    """Yield, penalty by penalty, the scores of each example by the head fitted without it.

    Exact, the intercept and the centring included, from the one decomposition in `rotated`: the residual of an
    example left out is its residual divided by one minus its leverage (Allen 1974, the PRESS statistic); a group
    left out is its residuals times the inverse of one minus its block of the hat matrix.

    Args:
        rotated: the training rows.
        y: class ids of shape (n,), in 0..c-1.
        c: number of classes.
        penalties: L2 strengths > 0.
        groups: group ids of shape (n,); examples of one group are left out together.

    Yields:
        Scores of shape (n, c); targets are +1 and -1.
    """
    rows, weights = rotated.rows, rotated.weights
    goal = targets(y, c)
    shared = _shared(groups)
    for penalty in penalties:
        coefficients, mean = solve(rotated, y, c, penalty)
        shrink = 1 / (rotated.powers + penalty)
        leverage = weights * _quadratic(rows, shrink) + weights / weights.sum()
        residual = goal - mean - rows @ coefficients.astype(rows.dtype)
        scores = goal - residual / (1 - leverage)[:, None]
        for group in shared:
            root = np.sqrt(weights[group])[:, None]
            parts = np.column_stack([rows[group] * np.sqrt(shrink), np.full(len(group), weights.sum() ** -0.5)]) * root
            scores[group] = goal[group] - _unhatted(parts, root * residual[group]) / root
        yield scores


def _unhatted(parts: NDArray[np.float64], residual: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return `(1 - P P^T)^-1 r` for `parts` P (n, k) and `residual` r (n, c), by the smaller system (Woodbury)."""
    n, k = parts.shape
    if n <= k:
        return np.asarray(np.linalg.solve(np.eye(n) - parts @ parts.T, residual))
    return np.asarray(residual + parts @ np.linalg.solve(np.eye(k) - parts.T @ parts, parts.T @ residual))


def _quadratic(rows: NDArray[np.floating], shrink: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sum of squares of each row, weighted by `shrink`, float64 of shape (n,)."""
    sums = np.empty(len(rows))
    for part in blocks(len(rows)):
        sums[part] = np.square(rows[part], dtype=np.float64) @ shrink
    return sums


def _shared(groups: NDArray[np.int64] | None) -> list[NDArray[np.intp]]:
    """Return the row numbers of each group that has more than one member."""
    if groups is None:
        return []
    order = np.argsort(groups, kind="stable")
    cuts = np.flatnonzero(np.diff(groups[order])) + 1
    return [members for members in np.split(order, cuts) if len(members) > 1]
