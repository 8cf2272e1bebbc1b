"""What `fit` chose before from the same numbers: it is remembered, and not chosen again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.cache import Arrays, ResultCache
from headstart.base.config import cache_dir
from headstart.base.hashing import sha256
from headstart.heads.select import CHOICE_VERSION


def remembered_choice(
    key: Mapping[str, Any], choose: Callable[[], tuple[dict[str, Any], Arrays]]
) -> tuple[dict[str, Any], Arrays]:
    """Return what `choose` returned for this key before, as plain values and arrays, or what it returns now."""
    cache = ResultCache(cache_dir() / "choices")
    parts = cache.get(key)
    if parts is None:
        parts = choose()
        cache.put(key, *parts)
    return parts


def choice_key(what: str, arrays: Sequence[NDArray[Any]], inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a choice depends on: the numbers, the other inputs, and the code that chooses."""
    made_by = {"version": CHOICE_VERSION, "numpy": version("numpy"), "scipy": version("scipy")}
    numbers = [[str(array.dtype), list(array.shape), sha256(np.ascontiguousarray(array).data)] for array in arrays]
    return {"what": what, "numbers": numbers, **inputs, **made_by}
