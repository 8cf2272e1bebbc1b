"""The training examples that are nearest to an example: by the cosine of the features that the head reads."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headstart.base.mapped import blocks_of
from headstart.judge.novelty import unit_length

TYPES = {"features": np.float16, "labels": np.int32, "names": np.uint8}


class Neighbour(NamedTuple):
    """A training example near another example."""

    name: str
    label: str  # its class
    similarity: float  # the cosine of the features, the mean over their blocks: -1..1, and 1 for a copy

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values, ready for JSON."""
        return {"path": self.name, "label": self.label, "similarity": round(self.similarity, 4)}


@dataclass(frozen=True)
class Neighbours:
    """Training examples that can be near an example.

    Attributes:
        features: float16 of shape (n, d), each block of columns of length 1.
        labels: int32 of shape (n,), class ids.
        names: of the n examples.
    """

    features: NDArray[np.float16]
    labels: NDArray[np.int32]
    names: tuple[str, ...]

    @classmethod
    def of(
        cls, x: NDArray[np.float32], y: NDArray[np.int64], widths: Sequence[int], names: Sequence[str]
    ) -> Neighbours:
        """Return the neighbours of features (n, d), whose blocks of columns have the `widths`."""
        return cls(unit_length(x, widths).astype(np.float16), y.astype(np.int32), tuple(names))

    def nearest(
        self, x: NDArray[np.float32], widths: Sequence[int], classes: Sequence[str], *, count: int
    ) -> tuple[tuple[Neighbour, ...], ...]:
        """Return for each row of features, float32 of shape (m, d), the `count` nearest examples, the nearest first."""
        theirs = self.features.astype(np.float32).T / np.float32(len(widths))
        near = []
        for part in blocks_of(len(x), 4 * (x.shape[1] + len(self.names))):
            similarities = unit_length(x[part], widths) @ theirs
            order = np.argsort(-similarities, axis=1, kind="stable")[:, :count]
            for row, places in enumerate(order):
                each = [
                    Neighbour(self.names[place], classes[self.labels[place]], float(similarities[row, place]))
                    for place in places
                ]
                near.append(tuple(each))
        return tuple(near)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return it as arrays, the names as the bytes of a JSON list."""
        names = np.frombuffer(json.dumps(self.names).encode(), np.uint8)
        return {"features": self.features, "labels": self.labels, "names": names}


def checked_neighbours(
    arrays: dict[str, NDArray[Any]], shape: tuple[int, ...], refuse: Callable[[str], Exception]
) -> Neighbours:
    """Return what `to_arrays` made arrays of; `refuse` makes the error for arrays that are none.

    `shape` is that of the weights of the head, features by classes.
    """
    if {name: array.dtype for name, array in arrays.items()} != TYPES:
        raise refuse(f"the arrays {', '.join(sorted(arrays))}")
    features, labels = arrays["features"], arrays["labels"]
    try:
        names = json.loads(arrays["names"].tobytes())
    except ValueError:
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise refuse("names that are no list of texts")
    if features.shape != (len(names), shape[0]) or labels.shape != (len(names),) or not np.isfinite(features).all():
        raise refuse(f"features of shape {features.shape} for {len(names)} examples, or not finite")
    if len(labels) and not 0 <= labels.min() <= labels.max() < shape[1]:
        raise refuse("a class that the model has not")
    return Neighbours(features, labels, tuple(names))
