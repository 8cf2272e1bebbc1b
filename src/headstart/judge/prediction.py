"""What a model says of examples; of one, as a plain object: the same from the command line and from a server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.errors import UsageError
from headstart.data.dataset import Skipped, TableRows
from headstart.judge.neighbours import Neighbour
from headstart.judge.novelty import THRESHOLD


@dataclass(frozen=True)
class Predictions:
    """What a model says about a data set."""

    ids: tuple[str, ...]
    probabilities: NDArray[np.float32]  # float32 of shape (n, c), rows summing to 1
    skipped: tuple[Skipped, ...]
    ignored: int = 0  # files of other formats, which were passed over
    # the table that listed the examples, and for several inputs the rows and files of all
    rows: TableRows = field(default_factory=lambda: TableRows({}))
    # how unlike the training data each is, float32 of shape (n,), beyond it above 1; None where the model cannot tell
    novelty: NDArray[np.float32] | None = None
    # the training examples that are nearest to each, the nearest first; None where nobody asked for them
    nearest: tuple[tuple[Neighbour, ...], ...] | None = None
    texts: tuple[str, ...] | None = None  # of texts, where they are to be shown

    def plain(self, classes: Sequence[str], *, every_class: bool) -> Iterator[dict[str, Any]]:
        """Yield what `plain_prediction` returns of each example."""
        novelty = [None] * len(self.ids) if self.novelty is None else self.novelty.tolist()
        for shares, how_unlike in zip(self.probabilities, novelty, strict=True):
            yield plain_prediction(classes, shares, how_unlike, every_class=every_class)


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


def unreadable(skipped: tuple[Skipped, ...]) -> UsageError:
    """Return the error that names the first of the items that cannot be read."""
    more = f" (and {len(skipped) - 1} more)" if skipped[1:] else ""
    return UsageError(
        f"every item must be readable, {skipped[0].id} is not{more}",
        skipped[0].reason,
        "leave it out, or use `headstart predict`, which skips and counts broken files",
    )
