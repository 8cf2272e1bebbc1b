"""L-BFGS for several smooth convex functions at once: the folds of one cross-validation share every matrix product."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Losses = Callable[[NDArray[np.float64]], tuple[NDArray[np.float64], NDArray[np.float64]]]

MEMORY = 10
HALVINGS = 15
SUFFICIENT = 1e-4  # share of the promised descent that a step must bring (Armijo)


def minimise(
    losses: Losses, start: NDArray[np.float64], *, tolerance: float, steps: int, memory: int = MEMORY
) -> NDArray[np.float64]:
    """Return the point at which each function is least (Liu & Nocedal 1989).

    Args:
        losses: gives values (m,) and gradients (m, p) at points (m, p), one row per function.
        start: where to start, float64 of shape (m, p); variables should be scaled to a curvature of about 1.
        tolerance: stop when the descent that a step promises is below this share of the function's value.
        steps: the most steps to take.
        memory: steps whose curvature is remembered.

    Returns:
        Points, float64 of shape (m, p).
    """
    point = start
    value, gradient = losses(point)
    history: deque[tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]] = deque(maxlen=memory)
    going = np.ones(len(point), bool)
    for _ in range(steps):
        direction = -_newton(gradient, history)
        promise = _dot(direction, gradient)
        going &= -promise > tolerance * np.abs(value)
        if not going.any():
            break
        direction[~going] = 0
        length = np.ones(len(point))
        for _ in range(HALVINGS):
            reached = point + length[:, None] * direction
            found, slope = losses(reached)
            good = ~going | (found <= value + SUFFICIENT * length * promise)
            if good.all():
                break
            length[~good] *= 0.5
        else:
            # No step brings less: these functions are at the floor of their arithmetic.
            reached[~good], found[~good], slope[~good] = point[~good], value[~good], gradient[~good]
            going &= good
        move, change = reached - point, slope - gradient
        bend = _dot(move, change)
        history.append((move, change, np.divide(1, bend, out=np.zeros(len(point)), where=bend > np.finfo(float).tiny)))
        point, value, gradient = reached, found, slope
    return point


def _newton(
    gradient: NDArray[np.float64],
    history: deque[tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]],
) -> NDArray[np.float64]:
    """Return the gradients times the inverse curvature that `history` has seen (the two-loop recursion)."""
    result = gradient.copy()
    shares = []
    for move, change, inverse in reversed(history):
        share = inverse * _dot(move, result)
        result -= share[:, None] * change
        shares.append(share)
    if history:
        _, change, inverse = history[-1]
        size = inverse * _dot(change, change)
        result *= np.divide(1, size, out=np.ones(len(result)), where=size > 0)[:, None]
    for (move, change, inverse), share in zip(history, reversed(shares), strict=True):
        result += (share - inverse * _dot(change, result))[:, None] * move
    return result


def _dot(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    product: NDArray[np.float64] = np.einsum("mp,mp->m", a, b)
    return product
