"""Heads in closed form: nearest centroid, and ridge regression with the exact scores of each example left out.

For ridge no library gives what is needed here: scikit-learn's RidgeCV leaves out single rows only, without weights of
classes in its error, and decomposes the rows anew for each call.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from headstart.base.mapped import blocks_of
from headstart.heads.convex import FoldHeads
from headstart.heads.principal_axes import PrincipalRows, block_slices

CENTROID_PENALTIES: tuple[float, ...] = (512.0, 128.0, 32.0, 8.0, 2.0)
RIDGE_PENALTIES: tuple[float, ...] = tuple(float(10.0**half) for half in np.arange(-4, 3.01, 0.5))


def plus_minus_one(y: NDArray[np.int64], c: int) -> NDArray[np.float64]:
    """Return the targets: +1 for the class of each row and -1 for the others, float64 of shape (n, c)."""
    return np.where(y[:, None] == np.arange(c), 1.0, -1.0)


def solve_ridge(
    principal: PrincipalRows, y: NDArray[np.int64], c: int, penalty: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the ridge head on principal rows: coefficients (k, c) and intercept (c,)."""
    weights = principal.weights
    targets = plus_minus_one(y, c)
    mean = weights @ targets / weights.sum()
    covariance = principal.rows.T @ (weights[:, None] * (targets - mean)).astype(principal.rows.dtype)
    return covariance / (principal.eigenvalues[:, None] + penalty), mean


def leave_out_scores(
    principal: PrincipalRows,
    y: NDArray[np.int64],
    c: int,
    *,
    penalties: Sequence[float] = RIDGE_PENALTIES,
    groups: NDArray[np.int64] | None = None,
) -> Iterator[NDArray[np.float64]]:
    """Yield, penalty by penalty, the scores (n, c) of each example by the head fitted without it; targets are +-1.

    Exact, the intercept and the centring included, from the one decomposition in `principal`: the residual of an
    example left out is its residual divided by one minus its leverage (Allen 1974, the PRESS statistic); a group left
    out, by the group ids (n,) in `groups`, is its residuals times the inverse of one minus its block of the hat matrix.
    """
    rows, weights = principal.rows, principal.weights
    targets = plus_minus_one(y, c)
    members_of_groups = _members_of_groups(groups)
    for penalty in penalties:
        coefficients, mean = solve_ridge(principal, y, c, penalty)
        inverse = 1 / (principal.eigenvalues + penalty)
        leverage = weights * _quadratic_form(rows, inverse) + weights / weights.sum()
        residual = targets - mean - rows @ coefficients.astype(rows.dtype)
        scores = targets - residual / (1 - leverage)[:, None]
        for members in members_of_groups:
            root = np.sqrt(weights[members])[:, None]
            intercept = np.full(len(members), weights.sum() ** -0.5)
            factor = np.column_stack([rows[members] * np.sqrt(inverse), intercept]) * root
            scores[members] = targets[members] - _solve_without_hat(factor, root * residual[members]) / root
        yield scores


def _solve_without_hat(factor: NDArray[np.float64], residual: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return `(1 - P P^T)^-1 r` for `factor` P (n, k) and `residual` r (n, c), by the smaller system (Woodbury)."""
    n, k = factor.shape
    if n <= k:
        return np.asarray(np.linalg.solve(np.eye(n) - factor @ factor.T, residual))
    return np.asarray(residual + factor @ np.linalg.solve(np.eye(k) - factor.T @ factor, factor.T @ residual))


def _quadratic_form(rows: NDArray[np.floating], diagonal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sum of squares of each row, weighted by `diagonal`, float64 of shape (n,)."""
    sums = np.empty(len(rows))
    for part in block_slices(len(rows)):
        sums[part] = np.square(rows[part], dtype=np.float64) @ diagonal
    return sums


def _members_of_groups(groups: NDArray[np.int64] | None) -> list[NDArray[np.intp]]:
    """Return the row numbers of each group that has more than one member."""
    if groups is None:
        return []
    order = np.argsort(groups, kind="stable")
    cuts = np.flatnonzero(np.diff(groups[order])) + 1
    starts, ends = np.append(0, cuts), np.append(cuts, len(order))
    several = np.flatnonzero(ends - starts > 1)
    return [order[start:end] for start, end in zip(starts[several], ends[several], strict=True)]


def fit_centroids(
    principal: PrincipalRows, y: NDArray[np.int64], c: int, *, penalties: Sequence[float], counts: NDArray[np.int64]
) -> Iterator[FoldHeads]:
    """Yield, penalty by penalty, the heads whose score is minus half the squared distance to a class mean.

    The square of the example itself, common to all classes, is left out: that makes the score linear. A penalty > 0 is
    how many imaginary examples at the mean of all data draw each class mean. `counts` (m, n) says how many examples
    each row stands for in each set; 0 keeps it out of that set's training.
    """
    rows, m = principal.rows, len(counts)
    sums, sizes = np.zeros((m * c, rows.shape[1]), rows.dtype), np.zeros((m, c, 1))
    for part in blocks_of(len(y), 8 * m * c):
        member = np.where(y[part] == np.arange(c)[:, None], counts[:, None, part], 0).astype(rows.dtype)
        sums += member.reshape(m * c, -1) @ rows[part]
        sizes += member.sum(axis=2, dtype=np.float64)[..., None]
    sums = sums.reshape(m, c, -1)
    for penalty in penalties:
        means = sums.astype(np.float64) / (sizes + penalty)
        yield FoldHeads(means, -np.square(means).sum(axis=2) / 2)
