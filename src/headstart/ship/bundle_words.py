"""The head on words of a bundle, checked before it is used."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from headstart.heads.tfidf import TfidfHead

WORDS_FLOATS = ("idf", "weight", "bias")


def checked_tfidf_head(
    arrays: dict[str, NDArray[np.generic]], classes: int, refuse: Callable[[str], Exception]
) -> TfidfHead:
    """Return the head that `TfidfHead.to_arrays` made arrays of; `refuse` makes the error for arrays that are none."""
    if arrays.keys() != {"names", *WORDS_FLOATS} or arrays["names"].dtype != np.uint8:
        raise refuse(f"the arrays {', '.join(sorted(arrays))}")
    for name in WORDS_FLOATS:
        if arrays[name].dtype != np.float32 or not np.isfinite(arrays[name]).all():
            raise refuse(f"{name} of {arrays[name].dtype}, or not finite")
    try:
        head = TfidfHead.from_arrays(arrays)
    except ValueError as error:
        raise refuse("words that are not UTF-8") from error
    terms = len(head.vocabulary.terms)
    for name, shape in {"idf": (terms,), "weight": (terms, classes), "bias": (classes,)}.items():
        if arrays[name].shape != shape:
            raise refuse(f"{name} of shape {arrays[name].shape} for {terms} words")
    return head
