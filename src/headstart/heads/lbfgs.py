"""L-BFGS for several smooth convex functions at once: the folds of one cross-validation share every matrix product."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Losses = Callable[[NDArray[np.float64]], tuple[NDArray[np.float64], NDArray[np.float64]]]
History = deque[tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]]

MAX_HALVINGS = 15  # of one step
ARMIJO = 1e-4  # share of the predicted descent that a step must bring


def minimise(
    losses: Losses, start: NDArray[np.float64], *, tolerance: float, steps: int, memory: int = 10
) -> NDArray[np.float64]:
    """Return the point at which each function is least (Liu & Nocedal 1989).

    Args:
        losses: gives values (m,) and gradients (m, p) at points (m, p), one row per function.
        start: where to start, float64 of shape (m, p); variables should be scaled to a curvature of about 1.
        tolerance: a function stops when the descent that a step predicts is below this share of its value.
        steps: the most steps to take.
        memory: how many steps the estimate of the curvature remembers.

    Returns:
        Points, float64 of shape (m, p).
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
