"""Heads without a closed form: a convex loss plus an L2 penalty, fitted on several sets of rows at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.heads.minimise import minimise
from headstart.heads.rotate import Rotated

Outcome = tuple[NDArray[np.float64], NDArray[np.floating]]
Loss = Callable[[NDArray[np.floating], NDArray[np.int64], NDArray[np.floating]], Outcome]
"""From scores (m, c, n), class ids (n,) and weights (m, n): values (m,) and slopes by score (m, c, n).

It may use the memory of the scores for the slopes."""


@dataclass(frozen=True)
class Fitted:
    """Heads on rotated rows, one for each of m sets of weights.

    Attributes:
        coefficients: float64 of shape (m, c, k).
        intercept: float64 of shape (m, c).
    """

    coefficients: NDArray[np.float64]
    intercept: NDArray[np.float64]

    def scores(self, rows: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return the scores (m, c, n) of rotated rows (n, k)."""
        m, c, k = self.coefficients.shape
        flat: NDArray[np.floating] = self.coefficients.reshape(m * c, k).astype(rows.dtype) @ rows.T
        flat += self.intercept.reshape(m * c, 1)
        return flat.reshape(m, c, len(rows))


@dataclass(frozen=True)
class Kind:
    """A kind of head.

    Attributes:
        loss: of scores; the larger the worse.
        curvature: about how large the second derivative of the loss by a score is, by the number of classes.
        penalties: L2 strengths worth trying, strongest first.
    """

    loss: Loss
    curvature: Callable[[int], float]
    penalties: tuple[float, ...]


def fit_path(
    kind: Kind,
    rotated: Rotated,
    y: NDArray[np.int64],
    c: int,
    *,
    penalties: Sequence[float],
    weights: NDArray[np.float64],
    tolerance: float = 1e-5,
    steps: int = 300,
) -> Iterator[Fitted]:
    """Yield the heads that minimise `loss + penalty/2 |coefficients|^2`, each started from the one before.

    Args:
        kind: what to fit; its intercept is not penalised.
        rotated: the training rows.
        y: class ids, of shape (n,).
        c: number of classes, each with examples.
        penalties: L2 strengths > 0, strongest first.
        weights: of shape (m, n); 0 keeps a row out of that set's training.
        tolerance: relative to the value of the loss.
        steps: the most steps of L-BFGS for each penalty.
    """
    m, k = len(weights), len(rotated.powers)
    rows = rotated.rows
    raw = np.zeros((m, c, k + 1))
    used = weights.astype(rows.dtype)
    for penalty in penalties:
        # Along the principal axes the curvature is nearly diagonal: these units make it nearly one.
        bend = kind.curvature(c)
        units = 1 / np.sqrt(np.append(bend * rotated.powers + penalty, bend * rotated.weights.sum()))

        def losses(
            point: NDArray[np.float64], units: NDArray[np.float64] = units, penalty: float = penalty
        ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
            inner = point.reshape(m, c, k + 1) * units
            heads = Fitted(inner[..., :k], inner[..., k])
            value, slopes = kind.loss(heads.scores(rows), y, used)
            gradient = np.empty((m, c, k + 1))
            gradient[..., :k] = (slopes.reshape(m * c, -1) @ rows).reshape(m, c, k) + penalty * heads.coefficients
            gradient[..., k] = slopes.sum(axis=2, dtype=np.float64)
            gradient *= units
            return value + penalty / 2 * np.square(heads.coefficients).sum(axis=(1, 2)), gradient.reshape(m, -1)

        raw = minimise(losses, (raw / units).reshape(m, -1), tolerance=tolerance, steps=steps).reshape(m, c, -1) * units
        yield Fitted(raw[..., :k], raw[..., k])
