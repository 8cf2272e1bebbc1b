"""Heads without a closed form: a convex loss plus an L2 penalty, fitted on several sets of rows at once.

The losses are multinomial logistic, and the squared hinge of a support vector machine. L-BFGS minimises them for all
folds of a cross-validation together, which so share every matrix product.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.config import cores
from headstart.base.threads import ONE_THREAD_A_PRODUCT
from headstart.heads.principal_axes import PrincipalRows

ROWS_PER_BLOCK = 512  # their scores stay in the processor's cache
MIN_HEADS_TO_SORT = 64  # at once; with fewer, leaving out those that a block does not teach costs more than it saves
MIN_WORK_FOR_THREADS = 1e7  # multiplications in one look at all rows
MAX_STEPS = 300  # of L-BFGS for each penalty
MAX_HALVINGS = 15  # of one step
ARMIJO = 1e-4  # share of the predicted descent that a step must bring

ValuesAndSlopes = tuple[NDArray[np.float64], NDArray[np.floating]]
Losses = Callable[[NDArray[np.float64]], tuple[NDArray[np.float64], NDArray[np.float64]]]
History = deque[tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]]


@dataclass(frozen=True)
class ConvexLoss:
    """A loss that a linear head can be fitted with."""

    # takes scores (m, c, n), class ids (n,) and weights (m, n) of m heads, and returns their weighted losses (m,) and
    # the slopes by score (m, c, n). It may reuse the memory of the scores for the slopes
    evaluate: Callable[[NDArray[np.floating], NDArray[np.int64], NDArray[np.floating]], ValuesAndSlopes]
    # about how large the second derivative of the loss by a score is, by the number of classes
    curvature: Callable[[int], float]
    penalties: tuple[float, ...]  # L2 strengths worth trying, strongest first


def cross_entropy(scores: NDArray[np.floating], y: NDArray[np.int64], weights: NDArray[np.floating]) -> ValuesAndSlopes:
    """Return the weighted cross entropy in nats, and its slopes; shapes are those of `ConvexLoss.evaluate`."""
    rows = np.arange(len(y))
    scores -= scores.max(axis=1, keepdims=True)
    true_scores = scores[:, y, rows]
    np.exp(scores, out=scores)
    total = scores.sum(axis=1)
    values = np.einsum("mn,mn->m", weights, np.log(total) - true_scores, dtype=np.float64)
    scores *= (weights / total)[:, None]
    scores[:, y, rows] -= weights
    return values, scores


def squared_hinge(scores: NDArray[np.floating], y: NDArray[np.int64], weights: NDArray[np.floating]) -> ValuesAndSlopes:
    """Return the weighted sum of squared hinges, one class against the rest, and its slopes; shapes as above."""
    rows = np.arange(len(y))
    true_shortfall = 1 - scores[:, y, rows]
    shortfall = scores
    shortfall += 1
    shortfall[:, y, rows] = true_shortfall
    np.maximum(shortfall, 0, out=shortfall)
    values = np.einsum("mcn,mcn,mn->m", shortfall, shortfall, weights, dtype=np.float64)
    shortfall *= 2 * weights[:, None]
    shortfall[:, y, rows] *= -1
    return values, shortfall


def _half_powers_of_ten(first: float, last: float) -> tuple[float, ...]:
    return tuple(float(10.0**half) for half in np.arange(first, last - 0.01, -0.5))


LOGISTIC = ConvexLoss(
    cross_entropy,
    lambda c: min(0.25, 1 / c),  # p (1 - p), for probabilities that are near 1/c where there are many classes
    penalties=_half_powers_of_ten(1.5, -4),
)
SVM = ConvexLoss(squared_hinge, lambda c: 2.0, penalties=_half_powers_of_ten(3, -3))
CONVEX_LOSSES = {"logistic": LOGISTIC, "svm": SVM}


@dataclass(frozen=True)
class FoldHeads:
    """Heads on principal rows, one for each of m sets of weights, such as the folds of a cross-validation."""

    coefficients: NDArray[np.float64]  # float64 of shape (m, c, k)
    intercept: NDArray[np.float64]  # float64 of shape (m, c)

    def scores(self, rows: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return the scores (m, c, n) of principal rows (n, k)."""
        m, c, k = self.coefficients.shape
        flat: NDArray[np.floating] = self.coefficients.reshape(m * c, k).astype(rows.dtype) @ rows.T
        flat += self.intercept.reshape(m * c, 1)
        return flat.reshape(m, c, len(rows))


def fit_convex(
    loss: ConvexLoss,
    principal: PrincipalRows,
    y: NDArray[np.int64],
    c: int,
    *,
    penalties: Sequence[float],
    weights: NDArray[np.float64],
    tolerance: float = 1e-5,
    threads: int | None = None,
) -> Iterator[FoldHeads]:
    """Yield the heads that minimise `loss + penalty/2 |coefficients|^2`, each started from the one before.

    The minimiser is ours (`bench/heads.py`, 2026-11-27): `scipy.optimize.minimize` (L-BFGS-B) on the sum of all folds
    took 1.0 to 1.8 times our CPU time on features, 1.2 to 3.4 times fold by fold, and 2.0 to 6.3 times on words.

    Args:
        c: number of classes, each with examples.
        penalties: L2 strengths > 0, strongest first; the intercept is not penalised.
        weights: of shape (m, n); 0 keeps a row out of that set's training.
        tolerance: relative to the value of the loss.
        threads: how many blocks of rows are looked at side by side; None decides by the amount of work.
    """
    m, k = len(weights), len(principal.eigenvalues)
    blocks = _row_blocks(principal.rows, y, weights.astype(principal.rows.dtype), c)
    if threads is None:
        threads = cores() if m * c * principal.rows.size >= MIN_WORK_FOR_THREADS else 1
    curvature = loss.curvature(c)
    raw = np.zeros((m, c, k + 1))
    for penalty in penalties:
        # Along the principal axes the curvature is nearly diagonal: these units make it nearly one.
        diagonal = np.append(curvature * principal.eigenvalues + penalty, curvature * principal.weights.sum())
        units = 1 / np.sqrt(diagonal)
        with _block_map(threads) as run:
            losses = _penalised_losses(loss, blocks, penalty, units, run)
            start = (raw / units).reshape(m, -1)
            raw = minimise(losses, start, tolerance=tolerance, steps=MAX_STEPS).reshape(m, c, -1) * units
        yield FoldHeads(raw[..., :k], raw[..., k])


@dataclass(frozen=True)
class _RowBlock:
    """Some of the rows."""

    rows: NDArray[np.floating]  # of shape (b, k)
    y: NDArray[np.int64]  # class ids, of shape (b,)
    sets: NDArray[np.intp]  # which sets of weights any of the rows counts in
    weights: NDArray[np.floating]  # of those sets, of shape (len(sets), b)


def _row_blocks(
    rows: NDArray[np.floating], y: NDArray[np.int64], weights: NDArray[np.floating], c: int
) -> tuple[_RowBlock, ...]:
    """Return the rows in blocks; with many heads those of one fold together, which its own head does not learn from."""
    if len(weights) > 1 and len(weights) * c >= MIN_HEADS_TO_SORT:
        order = np.lexsort((weights > 0).astype(np.int8))
        rows, y, weights = rows[order], y[order], weights[:, order]
    blocks = []
    for start in range(0, len(rows), ROWS_PER_BLOCK):
        part = slice(start, start + ROWS_PER_BLOCK)
        sets = np.flatnonzero(weights[:, part].any(axis=1))
        blocks.append(_RowBlock(rows[part], y[part], sets, np.ascontiguousarray(weights[sets, part])))
    return tuple(blocks)


BlockMap = Callable[..., Iterable[Any]]
"""Applies a function to each block and gives the results in the order of the blocks."""


def _penalised_losses(
    loss: ConvexLoss, blocks: Sequence[_RowBlock], penalty: float, units: NDArray[np.float64], run: BlockMap
) -> Losses:
    """Return the function that L-BFGS minimises: of coefficients and intercept, in units of shape (k + 1,)."""
    dtype = blocks[0].rows.dtype

    def losses(point: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        inner = point.reshape(len(point), -1, len(units)) * units
        m, c, k = inner[..., :-1].shape
        coefficients, intercept = inner[..., :-1].astype(dtype), inner[..., -1].astype(dtype)

        def evaluate(block: _RowBlock) -> tuple[NDArray[np.float64], NDArray[np.floating], NDArray[np.float64]]:
            scores = FoldHeads(coefficients[block.sets], intercept[block.sets]).scores(block.rows)
            value, slopes = loss.evaluate(scores, block.y, block.weights)
            return value, slopes.reshape(-1, len(block.rows)) @ block.rows, slopes.sum(axis=2, dtype=np.float64)

        values, gradient = np.zeros(m), np.zeros((m, c, k + 1))
        for block, (value, by_coefficient, by_intercept) in zip(blocks, run(evaluate, blocks), strict=True):
            values[block.sets] += value
            gradient[block.sets, :, :k] += by_coefficient.reshape(len(block.sets), c, k)  # k may be 0
            gradient[block.sets, :, k] += by_intercept
        gradient[..., :-1] += penalty * inner[..., :-1]
        gradient *= units
        values += penalty / 2 * np.square(inner[..., :-1]).sum(axis=(1, 2))
        return values, gradient.reshape(m, -1)

    return losses


@contextmanager
def _block_map(threads: int) -> Iterator[BlockMap]:
    """Give what runs blocks one after the other, or side by side on so many threads."""
    if threads == 1:
        yield map
        return
    with ONE_THREAD_A_PRODUCT, ThreadPoolExecutor(threads) as pool:
        yield pool.map


def minimise(
    losses: Losses, start: NDArray[np.float64], *, tolerance: float, steps: int, memory: int = 10
) -> NDArray[np.float64]:
    """Return the points (m, p) at which each function is least (Liu & Nocedal 1989).

    Args:
        losses: gives values (m,) and gradients (m, p) at points (m, p), one row per function.
        start: float64 of shape (m, p); variables should be scaled to a curvature of about 1.
        tolerance: a function stops when the descent that a step predicts is below this share of its value.
        memory: how many steps the estimate of the curvature remembers.
    """
    point = start
    value, gradient = losses(point)
    history: History = deque(maxlen=memory)
    active = np.ones(len(point), bool)
    for _ in range(steps):
        direction = -_newton_direction(gradient, history)
        descent = _row_dot(direction, gradient)
        active &= -descent > tolerance * np.abs(value)
        if not active.any():
            break
        direction[~active] = 0
        step_size = np.ones(len(point))
        for _ in range(MAX_HALVINGS):
            new_point = point + step_size[:, None] * direction
            new_value, new_gradient = losses(new_point)
            accepted = ~active | (new_value <= value + ARMIJO * step_size * descent)
            if accepted.all():
                break
            step_size[~accepted] *= 0.5
        else:
            # No step brings less: these functions are at the floor of their arithmetic.
            stuck = ~accepted
            new_point[stuck], new_value[stuck], new_gradient[stuck] = point[stuck], value[stuck], gradient[stuck]
            active &= accepted
        step, change = new_point - point, new_gradient - gradient
        curvature = _row_dot(step, change)
        inverse = np.divide(1, curvature, out=np.zeros(len(point)), where=curvature > np.finfo(float).tiny)
        history.append((step, change, inverse))
        point, value, gradient = new_point, new_value, new_gradient
    return point


def _newton_direction(gradient: NDArray[np.float64], history: History) -> NDArray[np.float64]:
    """Return the gradients times the inverse curvature that `history` has seen (the two-loop recursion)."""
    result = gradient.copy()
    coefficients = []
    for step, change, inverse in reversed(history):
        coefficient = inverse * _row_dot(step, result)
        result -= coefficient[:, None] * change
        coefficients.append(coefficient)
    if history:
        _, change, inverse = history[-1]
        size = inverse * _row_dot(change, change)
        result *= np.divide(1, size, out=np.ones(len(result)), where=size > 0)[:, None]
    for (step, change, inverse), coefficient in zip(history, reversed(coefficients), strict=True):
        result += (coefficient - inverse * _row_dot(change, result))[:, None] * step
    return result


def _row_dot(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    product: NDArray[np.float64] = np.einsum("mp,mp->m", a, b)
    return product
