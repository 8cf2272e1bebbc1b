"""The head on words as a member of a bundle: one safetensors file, checked when it is read."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from headstart.heads.tfidf import Terms, TfidfHead

FLOATS = ("idf", "weight", "bias")


def words_arrays(head: TfidfHead) -> dict[str, NDArray[np.generic]]:
    """Return the head as arrays: its terms as UTF-8 with a line break between two, and three of float32."""
    names = np.frombuffer("\n".join(head.terms.names).encode(), dtype=np.uint8)
    return {"names": names, "idf": head.terms.idf, "weight": head.weight, "bias": head.bias}


def words_from(arrays: dict[str, NDArray[np.generic]], classes: int, refuse: Callable[[str], Exception]) -> TfidfHead:
    """Return the head that `words_arrays` made arrays of.

    Args:
        arrays: what the file holds.
        classes: how many the bundle has.
        refuse: makes the error for arrays that are none of such a head.
    """
    if arrays.keys() != {"names", *FLOATS} or arrays["names"].dtype != np.uint8:
        raise refuse(f"the arrays {', '.join(sorted(arrays))}")
    try:
        names = tuple(arrays["names"].tobytes().decode().split("\n"))
    except UnicodeDecodeError as error:
        raise refuse("words that are not UTF-8") from error
    shapes = {"idf": (len(names),), "weight": (len(names), classes), "bias": (classes,)}
    for name, shape in shapes.items():
        array = arrays[name]
        if array.dtype != np.float32 or array.shape != shape or not np.isfinite(array).all():
            raise refuse(f"{name} of {array.dtype} and shape {array.shape} for {len(names)} words")
    idf, weight, bias = (np.asarray(arrays[name], dtype=np.float32) for name in FLOATS)
    return TfidfHead(Terms(names, idf), weight, bias)
