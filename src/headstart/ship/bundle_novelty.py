"""The novelty statistics of a bundle, checked before they are used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.judge.novelty import Novelty

TYPES = {"means": np.float16, "axes": np.float16, "variances": np.float32, "threshold": np.float32}


def checked_novelty(
    arrays: dict[str, NDArray[Any]], shape: tuple[int, ...], refuse: Callable[[str], Exception]
) -> Novelty:
    """Return the statistics that `Novelty.to_arrays` made arrays of; `refuse` makes the error for arrays that are none.

    `shape` is that of the weights of the head, features by classes.
    """
    features, classes = shape
    if arrays.keys() != TYPES.keys():
        raise refuse(f"the arrays {', '.join(sorted(arrays))}")
    for name, kind in TYPES.items():
        if arrays[name].dtype != kind or not np.isfinite(arrays[name]).all():
            raise refuse(f"{name} of {arrays[name].dtype}, or not finite")
    k, r = (arrays[name].shape[0] if arrays[name].ndim else 0 for name in ("means", "axes"))
    shapes = {"means": (k, features), "axes": (r, features), "variances": (r + 1,), "threshold": (1,)}
    for name, expected in shapes.items():
        if arrays[name].shape != expected or not 1 <= k <= classes:
            raise refuse(f"{name} of shape {arrays[name].shape} for {features} features and {classes} classes")
    if not (arrays["variances"] > 0).all() or not (arrays["threshold"] > 0).all():
        raise refuse("a variance or a threshold that is not above 0")
    return Novelty.from_arrays(arrays)
