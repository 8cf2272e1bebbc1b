"""The test examples that a page shows: the most confident mistakes, and the least confident predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.audio.preview import preview
from headstart.data.dataset import BadExample, Dataset
from headstart.data.images.preprocessing import thumbnail
from headstart.data.text import text_of
from headstart.judge.report.fit_page import ShownExample

EXAMPLES_SHOWN = 12  # of mistakes, and of unsure examples
THUMBNAIL = 144  # pixels of the longer side
TEXT_SHOWN = 280  # characters


PickedExamples = tuple[tuple[ShownExample, ...], tuple[ShownExample, ...]]
"""Test examples to look at: the mistakes made with most confidence, and the predictions with the least."""


def pick_examples(
    dataset: Dataset,
    positions: Sequence[int],
    y: NDArray[np.int64],
    probabilities: NDArray[np.float32],
    classes: Sequence[str],
) -> PickedExamples:
    """Return the examples to look at, with a preview of each.

    Args:
        positions: of the n test examples in `dataset`.
        y: the class of each by its label, int64 of shape (n,).
        probabilities: float32 of shape (n, c), for the c classes.
    """
    best, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(best != y)

    def shown(rows: NDArray[np.intp]) -> tuple[ShownExample, ...]:
        return tuple(
            ShownExample(
                id=dataset.examples[positions[row]].id,
                truth=classes[y[row]],
                predicted=classes[best[row]],
                probability=float(confidence[row]),
                **_preview(dataset, positions[row]),
            )
            for row in rows[:EXAMPLES_SHOWN]
        )

    surest = wrong[np.argsort(-confidence[wrong], kind="stable")]
    return shown(surest), shown(np.argsort(confidence, kind="stable"))


def _preview(dataset: Dataset, position: int) -> dict[str, Any]:
    """Return a small picture, a recording to hear, or how a text begins; nothing where the file has gone since."""
    try:
        data = dataset.read(position)
        if dataset.kind == "text":
            text = " ".join(text_of(data).split())
            return {"text": text if len(text) <= TEXT_SHOWN else f"{text[: TEXT_SHOWN - 1]}…"}
        if dataset.kind == "sound":
            return {"sound": preview(data)}
        return {"thumbnail": thumbnail(data, THUMBNAIL)}
    except BadExample:
        return {}
