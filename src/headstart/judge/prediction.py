"""What a model says of one example, as a plain object: the same from the command line and from a server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.judge.novelty import THRESHOLD


def plain_prediction(
    classes: Sequence[str], probabilities: NDArray[np.float32], novelty: float | None, *, every_class: bool
) -> dict[str, Any]:
    """Return the likeliest class and its probability, and the others where asked for.

    Args:
        classes: the c class names.
        probabilities: float32 of shape (c,), summing to 1.
        novelty: how unlike the training data the example is, above `THRESHOLD` unlike; None where nothing tells.
        every_class: whether the probability of every class is given.
    """
    best = int(probabilities.argmax())
    shown: dict[str, Any] = {"label": classes[best], "probability": round(float(probabilities[best]), 6)}
    if novelty is not None:
        shown |= {"novelty": round(novelty, 4), "unlike": novelty > THRESHOLD}
    if every_class:
        each = zip(classes, probabilities, strict=True)
        shown["probabilities"] = {label: round(float(share), 6) for label, share in each}
    return shown
