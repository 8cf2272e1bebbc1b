"""How unlike the training data an example is: the Mahalanobis distance of its unit-length features to a class mean.

Features are brought to unit length, block by block (Mahalanobis++, Mueller and Hein 2025, arXiv 2505.18032), so that
the distance does not follow their norm. All classes share one covariance: its leading axes are kept, all others have
one variance, and both are shrunk towards the mean variance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.mapped import blocks_of

FALSE_ALARMS = 0.01  # the share of examples like the training data that may lie beyond the threshold
AXES = 32  # of the covariance that are kept, at most
SHRINKAGE = 0.9
"""The share of the mean variance in the covariance: what is foreign seldom lies along the few directions in which a
small training set happens to vary little, and with less of it the sets of bench/novelty.py are told less well."""
MOST = 3_000  # training examples that the statistics are computed from
POWERS = 2  # steps of subspace iteration, which separate the leading axes from the others
THRESHOLD = 1.0  # of the scores: what lies beyond is unlike the training data
TINY = 1e-12

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Novelty:
    """What tells examples that are unlike the training data.

    Attributes:
        means: float32 of shape (k, d), of the unit-length features of each of k classes.
        axes: float32 of shape (r, d), the leading axes of the shared covariance, of length 1.
        variances: float32 of shape (r + 1,), above 0: those along the axes, and that of all other directions.
        threshold: the squared distance that 99 in 100 unseen training examples stay within, above 0.
    """

    means: Floats
    axes: Floats
    variances: Floats
    threshold: float

    def scores(self, x: Floats, widths: Sequence[int]) -> Floats:
        """Return the squared distance of each example to the nearest class, in units of the threshold.

        Args:
            x: features, float32 of shape (n, d).
            widths: of the blocks of columns; they sum to d.

        Returns:
            float32 of shape (n,), >= 0: above 1, an example is unlike the training data.
        """
        row_bytes = 2 * np.dtype(np.float64).itemsize * x.shape[1]  # of unit length, and the same in float64
        parts = [self._distances(unit_length(x[part], widths)) for part in blocks_of(len(x), row_bytes)]
        return np.asarray(np.concatenate(parts) / np.float32(self.threshold))

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return it as arrays, those that grow with the features in float16."""
        return {
            "means": self.means.astype(np.float16),
            "axes": self.axes.astype(np.float16),
            "variances": self.variances,
            "threshold": np.array([self.threshold], np.float32),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Novelty:
        """Return what `to_arrays` made arrays of."""
        means, axes = (arrays[name].astype(np.float32) for name in ("means", "axes"))
        return cls(means, axes, arrays["variances"], float(arrays["threshold"][0]))

    def _distances(self, z: Floats) -> Floats:
        *along, rest = self.variances.astype(np.float64)
        correction = 1 / np.array(along) - 1 / rest
        mine, theirs = ((rows @ self.axes.T).astype(np.float64) for rows in (z, self.means))
        every = _squared(z.astype(np.float64), self.means.astype(np.float64), np.ones(z.shape[1])) / rest
        return np.asarray((every + _squared(mine, theirs, correction)).min(axis=1).clip(0), dtype=np.float32)


def unit_length(x: Floats, widths: Sequence[int]) -> Floats:
    """Return features (n, d) with every block of `widths` brought to length 1; a block of zeros stays."""
    blocks = np.split(x.astype(np.float32), np.cumsum(widths)[:-1], axis=1)
    return np.hstack([block / np.maximum(np.linalg.norm(block, axis=1, keepdims=True), TINY) for block in blocks])


def _squared(a: NDArray[np.float64], b: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weighted squared distances (n, k) of the rows of `a` (n, d) and `b` (k, d)."""
    return (a * a) @ weights[:, None] - 2 * (a * weights) @ b.T + ((b * b) @ weights)[None]


def fit_novelty(
    x: Floats, y: NDArray[np.int64], widths: Sequence[int], *, folds: NDArray[np.int64], unseen: Floats | None = None
) -> Novelty | None:
    """Fit the statistics on training examples, and the threshold on examples that they had not seen.

    Args:
        x: features, float32 of shape (n, d).
        y: class ids, int64 of shape (n,).
        widths: of the blocks of columns; they sum to d.
        folds: int64 of shape (n,), the fold that leaves each example out to measure the threshold, or -1 for none.
        unseen: features of examples that neither the source nor the statistics have seen, float32 of shape (m, d),
            which give the threshold in place of the folds; None where the source has not learned from these examples.

    Returns:
        None where nothing can be told: the features are all alike, or no example is unseen.
    """
    z = unit_length(x, widths)
    fitted = _fit(z, y)
    if fitted is None:
        return None
    if unseen is not None:
        distances = [fitted._distances(unit_length(unseen, widths))]
    else:
        left_out = [folds == fold for fold in range(int(folds.max(initial=-1)) + 1)]
        without = [(_fit(z[~rows], y[~rows]), rows) for rows in left_out]
        distances = [statistics._distances(z[rows]) for statistics, rows in without if statistics is not None]
    threshold = quantile_of_unseen(np.concatenate(distances)) if distances else None
    return None if threshold is None else Novelty(fitted.means, fitted.axes, fitted.variances, threshold)


def quantile_of_unseen(distances: NDArray[np.floating]) -> float | None:
    """Return what a further example of the same kind exceeds in 1 of 100 cases; of fewer than 99, the largest.

    That is the conformal quantile (Vovk et al. 2005). None where there is no distance above 0.
    """
    n = len(distances)
    if not n or not distances.max() > 0:
        return None
    rank = min(math.ceil((n + 1) * (1 - FALSE_ALARMS)), n)
    return float(np.partition(distances, rank - 1)[rank - 1])


def _fit(z: Floats, y: NDArray[np.int64]) -> Novelty | None:
    """Return the statistics of unit-length features (n, d), without a threshold; None where they do not vary."""
    present, row_of = np.unique(y, return_inverse=True)
    n, d = z.shape
    freedom = n - len(present)
    if freedom < 1:
        return None
    means = np.zeros((len(present), d), np.float32)
    np.add.at(means, row_of, z)
    means /= np.bincount(row_of)[:, None].astype(np.float32)
    within = z - means[row_of]
    total = float(np.einsum("ij,ij->", within, within, dtype=np.float64)) / freedom
    if total <= TINY:
        return None
    values, axes = _leading(within, min(AXES, freedom, d))
    variances = values / freedom
    others = max(total - float(variances.sum()), 0.0)
    rest = others / (d - len(axes)) if d > len(axes) else float(variances[-1])
    shrunk = (1 - SHRINKAGE) * np.append(variances, rest) + SHRINKAGE * total / d
    return Novelty(means, axes, np.maximum(shrunk, TINY).astype(np.float32), 1.0)


def _leading(within: Floats, count: int) -> tuple[NDArray[np.float64], Floats]:
    """Return the `count` largest squared singular values of `within` (n, d), and their axes (count, d)."""
    start = np.random.default_rng(0).standard_normal((min(count + 8, *within.shape), len(within)), np.float32)
    basis = np.linalg.qr((start @ within).T)[0]
    for _ in range(POWERS):
        basis = np.linalg.qr(within.T @ (within @ basis))[0]
    _, singular, turned = np.linalg.svd(within @ basis, full_matrices=False)
    return singular[:count].astype(np.float64) ** 2, np.ascontiguousarray((turned[:count] @ basis.T).astype(np.float32))
