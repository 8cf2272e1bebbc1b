"""Features seen along their principal axes, where every L2-penalised linear head is cheap to fit.

A rotation changes no L2 penalty, and a head never leaves the row space of its training rows: fitting on the
at most min(n, d) principal coordinates therefore gives the same head as fitting on all d columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.base.mapped import rows_array

MAX_FLOAT64_ROWS = 1024  # or columns, that are held in float64 at a time
MAX_FLOAT64_CELLS = 2**21  # of the principal rows; more are kept in float32
MIN_RELATIVE_DEVIATION = 1e-5  # a column whose deviation is below this share of its size is rounding noise
MIN_SHARE_OF_WIDEST = 1e-6  # so is one whose deviation is below this share of the widest column's
USUAL_ROWS = 10  # rows of the usual deviation that are added to those of each column
MIN_SHARE_OF_POWER = 1e-12  # an axis with less than this share of the largest eigenvalue is rounding noise


@dataclass(frozen=True)
class PrincipalRows:
    """Standardised, centred rows in the coordinates of their principal axes, strongest first."""

    rows: NDArray[np.floating]  # float64 (float32 where large) of shape (n, k), k at most min(n, d)
    eigenvalues: NDArray[np.float64]  # float64 of shape (k,), weighted sum of squares along each axis
    weights: NDArray[np.float64]  # float64 of shape (n,), how much each row counts; its mean over examples is 1
    x: NDArray[np.floating]  # the features of shape (n, d) that it was made from, by reference
    centre: NDArray[np.float64]  # float64 of shape (d,), the weighted mean of `x`
    scale: NDArray[np.float64]  # float64 of shape (d,), what each column is multiplied by; 0 drops it
    # (d, k) the axes, orthonormal; None where n <= d, and then they follow from rows and x
    axes: NDArray[np.floating] | None

    def unfold(
        self, coefficients: NDArray[np.float64], intercept: NDArray[np.float64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return weight (d, c) and bias (c,) for raw features from coefficients (k, c) on principal rows."""
        if self.axes is not None:
            weight = np.asarray(self.axes @ coefficients)
        else:
            dual = self.weights[:, None] * (self.rows @ (coefficients / self.eigenvalues[:, None]))
            weight = np.empty((self.x.shape[1], coefficients.shape[1]))
            for columns in block_slices(self.x.shape[1]):
                weight[columns] = standardised(self.x[:, columns], self.centre[columns], self.scale[columns]).T @ dual
        weight *= self.scale[:, None]
        bias = intercept - self.centre @ weight
        return np.asarray(weight, np.float32), np.asarray(bias, np.float32)


def column_scale(x: NDArray[np.floating], counts: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
    """Return the factor that gives each column of `x` (n, d) the deviation 1/sqrt(d) or less, float64 of shape (d,).

    Rows are then of unit length on average, which makes one grid of penalties fit every source. A column that is
    constant, up to rounding, gets 0: encoders of texts have such. Each row counts as often as `counts` (n,) says.

    To the n rows come `USUAL_ROWS` whose deviation is the median of the columns' (moderated variances, Smyth 2004): in
    few rows a column that is seldom active may look constant, and blown up to the size of the others it would swamp
    every row where it is active. Rows left out for a trial do not show that, for they were standardised too.
    """
    d = x.shape[1]
    mean, deviation = mean_and_deviation(x, counts)
    varies = (deviation > MIN_RELATIVE_DEVIATION * np.abs(mean)) & (
        deviation > MIN_SHARE_OF_WIDEST * deviation.max(initial=0)
    )
    if not varies.any():
        return np.zeros(d)
    n, usual = len(x) if counts is None else counts.sum(), np.median(deviation[varies])
    moderated = np.sqrt((n * deviation**2 + USUAL_ROWS * usual**2) / (n + USUAL_ROWS))
    factor = np.divide(1 / np.sqrt(d), moderated, out=np.zeros(d), where=varies)
    lengths = np.square(factor * deviation).sum() * d / varies.sum()
    return np.asarray(factor / np.sqrt(lengths))


def mean_and_deviation(
    x: NDArray[np.floating], counts: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation of each column of `x` (n, d), float64 of shape (d,).

    Each row counts as often as `counts` (n,) says; None for once.
    """
    counts = np.ones(len(x), np.int64) if counts is None else counts
    n, zero = counts.sum(), np.zeros(x.shape[1])
    mean = sum((counts[rows] @ x[rows] for rows in block_slices(len(x))), start=zero) / n
    spread = sum((counts[rows] @ np.square(x[rows] - mean) for rows in block_slices(len(x))), start=zero)
    return mean, np.sqrt(spread / n)


def principal_rows(x: NDArray[np.floating], weights: NDArray[np.float64], scale: NDArray[np.float64]) -> PrincipalRows:
    """Return the rows of `x` (n, d), times `scale` (d,), along the principal axes of their scatter, weighted (n,) > 0.

    The smaller of the two Gram matrices is decomposed, in float64 and built block by block, so that nothing larger than
    `x` itself is held beside it.
    """
    n, d = x.shape
    centre = sum((weights[part] @ x[part] for part in block_slices(n)), start=np.zeros(d)) / weights.sum()
    root = np.sqrt(weights)[:, None]
    by_rows = n > d
    gram = np.zeros((d, d) if by_rows else (n, n))
    for part in block_slices(n if by_rows else d):
        if by_rows:
            piece = standardised(x[part], centre, scale) * root[part]
            gram += piece.T @ piece
        else:
            piece = standardised(x[:, part], centre[part], scale[part]) * root
            gram += piece @ piece.T
    eigenvalues, axes = _decomposed(gram)
    del gram
    keep = np.flatnonzero(eigenvalues > MIN_SHARE_OF_POWER * max(eigenvalues[-1], np.finfo(float).tiny))[::-1]
    eigenvalues = eigenvalues[keep]
    dtype = np.float32 if n * len(keep) > MAX_FLOAT64_CELLS else np.float64
    if not by_rows:
        dual = _taken(axes, keep, dtype, np.sqrt(eigenvalues), root)
        return PrincipalRows(dual, eigenvalues, weights, x, centre, scale, None)
    kept = _taken(axes, keep, dtype)
    rows: NDArray[np.floating] = rows_array((n, len(keep)), dtype)
    for part in block_slices(n):
        rows[part] = np.asarray(standardised(x[part], centre, scale), kept.dtype) @ kept
    return PrincipalRows(rows, eigenvalues, weights, x, centre, scale, kept)


def _taken(
    matrix: NDArray[np.float64],
    columns: NDArray[np.int64],
    dtype: type[np.floating],
    factor: NDArray[np.float64] | float = 1.0,
    divisor: NDArray[np.float64] | None = None,
) -> NDArray[np.floating]:
    """Return columns of a matrix, times `factor` and over `divisor` (n, 1), block by block."""
    taken: NDArray[np.floating] = rows_array((len(matrix), len(columns)), dtype)
    for part in block_slices(len(matrix)):
        taken[part] = matrix[part][:, columns] * factor / (1.0 if divisor is None else divisor[part])
    return taken


def _decomposed(gram: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return eigenvalues, smallest first, and eigenvectors of a symmetric matrix, which is overwritten where large.

    The solver of numpy takes room for twice the matrix beside it, and that of scipy next to none; in the same time.
    """
    if len(gram) <= MAX_FLOAT64_ROWS:
        return np.linalg.eigh(gram)
    from scipy.linalg import eigh

    eigenvalues, axes = eigh(gram.T, overwrite_a=True, driver="evr", check_finite=False)
    return eigenvalues, axes


def standardised(
    x: NDArray[np.floating], centre: NDArray[np.float64], scale: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return `(x - centre) * scale` in float64."""
    piece: NDArray[np.float64] = x - centre
    piece *= scale
    return piece


def block_slices(count: int) -> Iterator[slice]:
    """Return slices of at most MAX_FLOAT64_ROWS that cover 0..count-1."""
    return (slice(start, min(start + MAX_FLOAT64_ROWS, count)) for start in range(0, count, MAX_FLOAT64_ROWS))
