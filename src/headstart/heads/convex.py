"""Heads without a closed form: a convex loss plus an L2 penalty, fitted on several sets of rows at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.config import cores
from headstart.base.threads import ONE_THREAD_A_PRODUCT
from headstart.heads.lbfgs import minimise
from headstart.heads.principal_axes import Rotated

Outcome = tuple[NDArray[np.float64], NDArray[np.floating]]
Loss = Callable[[NDArray[np.floating], NDArray[np.int64], NDArray[np.floating]], Outcome]
"""From scores (m, c, n), class ids (n,) and weights (m, n): values (m,) and slopes by score (m, c, n).

It may use the memory of the scores for the slopes."""

BLOCK = (
    512  # rows whose scores stay in the processor's cache from the product that makes them to the one that uses them
)
MANY = 64  # heads at once, from which leaving out those that a block does not teach pays for a copy of the rows
LARGE = 1e7  # multiplications a look at all rows, from which threads pay


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
    blocks = _blocks(rotated.rows, y, weights.astype(rotated.rows.dtype), c)
    raw = np.zeros((m, c, k + 1))
    for penalty in penalties:
        # Along the principal axes the curvature is nearly diagonal: these units make it nearly one.
        bend = kind.curvature(c)
        units = 1 / np.sqrt(np.append(bend * rotated.powers + penalty, bend * rotated.weights.sum()))
        with _workers(m * c * rotated.rows.size) as run:

            def losses(
                point: NDArray[np.float64], units: NDArray[np.float64] = units, penalty: float = penalty, run: Run = run
            ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
                inner = point.reshape(m, c, k + 1) * units
                heads = Fitted(inner[..., :k], inner[..., k])
                value, gradient = _summed(kind.loss, heads, blocks, run)
                gradient[..., :k] += penalty * heads.coefficients
                gradient *= units
                value += penalty / 2 * np.square(heads.coefficients).sum(axis=(1, 2))
                return value, gradient.reshape(m, -1)

            start = (raw / units).reshape(m, -1)
            raw = minimise(losses, start, tolerance=tolerance, steps=steps).reshape(m, c, -1) * units
        yield Fitted(raw[..., :k], raw[..., k])


@dataclass(frozen=True)
class _Block:
    """Some of the rows.

    Attributes:
        rows: of shape (b, k).
        y: class ids, of shape (b,).
        sets: which sets of weights any of the rows counts in.
        weights: of those sets, of shape (len(sets), b).
    """

    rows: NDArray[np.floating]
    y: NDArray[np.int64]
    sets: NDArray[np.intp]
    weights: NDArray[np.floating]


def _blocks(
    rows: NDArray[np.floating], y: NDArray[np.int64], weights: NDArray[np.floating], c: int
) -> tuple[_Block, ...]:
    """Return the rows in blocks; with many heads those of one fold together, which its own head does not learn from."""
    if len(weights) > 1 and len(weights) * c >= MANY:
        order = np.lexsort((weights > 0).astype(np.int8))
        rows, y, weights = rows[order], y[order], weights[:, order]
    found = []
    for start in range(0, len(rows), BLOCK):
        part = slice(start, start + BLOCK)
        sets = np.flatnonzero(weights[:, part].any(axis=1))
        found.append(_Block(rows[part], y[part], sets, np.ascontiguousarray(weights[sets, part])))
    return tuple(found)


def _summed(
    loss: Loss, heads: Fitted, blocks: Sequence[_Block], run: Run
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the losses (m,) over all blocks, and their gradient by coefficients and intercept, (m, c, k + 1)."""
    m, c, k = heads.coefficients.shape
    dtype = blocks[0].rows.dtype
    coefficients, intercept = heads.coefficients.astype(dtype), heads.intercept.astype(dtype)

    def part(block: _Block) -> tuple[NDArray[np.float64], NDArray[np.floating], NDArray[np.float64]]:
        own = Fitted(coefficients[block.sets], intercept[block.sets])
        value, slopes = loss(own.scores(block.rows), block.y, block.weights)
        return value, slopes.reshape(-1, len(block.rows)) @ block.rows, slopes.sum(axis=2, dtype=np.float64)

    values, gradient = np.zeros(m), np.zeros((m, c, k + 1))
    for block, (value, by_row, by_one) in zip(blocks, run(part, blocks), strict=True):
        values[block.sets] += value
        gradient[block.sets, :, :k] += by_row.reshape(len(block.sets), c, k)  # k may be 0
        gradient[block.sets, :, k] += by_one
    return values, gradient


Run = Callable[..., Iterable[Any]]
"""Applies a function to each block and gives what comes of it, in the order of the blocks."""


@contextmanager
def _workers(work: int) -> Iterator[Run]:
    """Give what runs blocks side by side where the work of one evaluation is worth threads."""
    if work < LARGE or cores() == 1:
        yield map
        return
    with ONE_THREAD_A_PRODUCT, ThreadPoolExecutor(cores()) as pool:
        yield pool.map
