"""Whether an exported model answers as `predict` does, measured on real examples by its own script."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.errors import UsageError, counted
from headstart.data.audio.decoding import MOST_HEARD, samples
from headstart.data.audio.spectrogram import AudioPreprocessing
from headstart.data.text import text_of
from headstart.judge.intervals import Interval, wilson
from headstart.ship.export.scripts import opened
from headstart.sources.base import Source

MOST = 200  # examples
ALLOWED = 1e-3
"""The largest difference of a probability with which a model is written."""
ALLOWED_INT8 = 0.1
"""The same of one whose weights are rounded to 8 bits."""


@dataclass(frozen=True)
class Expected:
    """What `predict` says of the examples, in float32, and what it takes."""

    probabilities: NDArray[np.float32]  # of shape (n, c)
    novelty: NDArray[np.float32] | None  # of shape (n,)
    milliseconds: float  # an example, from the bytes of its file, nothing cached


@dataclass(frozen=True)
class Parity:
    """How an exported model agrees with `predict`."""

    examples: int
    largest_difference: float  # of any probability
    same_class: int  # of how many examples the most probable class is the same
    novelty_difference: float | None  # the largest; None where the model cannot tell
    milliseconds: dict[str, float]  # of an example: predict, exported
    changed: Interval  # the share of examples whose class is another: it bounds what the accuracy can lose
    rounded: bool = False  # whether the weights are of 8 bits

    def __str__(self) -> str:
        times, (share, low, high) = self.milliseconds, self.changed
        cost = f" Weights of 8 bits change {share:.1%} of the answers [{low:.1%}, {high:.1%}]." if self.rounded else ""
        return (
            f"On {counted(self.examples, 'example', 'examples')} the largest difference from predict is "
            f"{self.largest_difference:.1e}, the class is the same for {self.same_class}, and an example takes "
            f"{times['exported']:.0f} ms where predict takes {times['predict']:.0f} ms.{cost}"
        )


def measured(
    folder: Path, runtime: str, source: Source, examples: Sequence[bytes], expected: Expected, *, rounded: bool = False
) -> Parity:
    """Return how the model in `folder` agrees with what is expected of files with these bytes, which a source reads.

    UsageError: it does not, and must not be used.
    """
    answer, entry_of = opened(folder, runtime), _entries(source)
    answer(entry_of(examples[0]))
    start = perf_counter()
    rows = [answer(entry_of(data)) for data in examples]
    milliseconds = 1000 * (perf_counter() - start) / len(examples)
    probabilities, *novelty = (np.concatenate(column) for column in zip(*rows, strict=True))
    difference = float(np.abs(probabilities - expected.probabilities).max())
    allowed = ALLOWED_INT8 if rounded else ALLOWED
    if not difference <= allowed:
        raise UsageError(
            f"an exported model must answer as predict does, to {allowed:g} in each probability",
            f"a difference of {difference:.2g} over {len(examples)} examples",
            "leave out --int8" if rounded else "export it to another format",
        )
    same = probabilities.argmax(axis=1) == expected.probabilities.argmax(axis=1)
    far = float(np.abs(novelty[0] - expected.novelty).max()) if novelty and expected.novelty is not None else None
    times = {"predict": expected.milliseconds, "exported": milliseconds}
    changed = wilson(int((~same).sum()), len(same))
    return Parity(len(examples), difference, int(same.sum()), far, times, changed, rounded)


def _entries(source: Source) -> Callable[[bytes], Any]:
    """Return what makes of the bytes of an example what the script reads: of a recording, its samples as they are."""
    preprocessing = source.preprocessing
    if not isinstance(preprocessing, AudioPreprocessing):
        return text_of if source.kind == "text" else io.BytesIO
    rate, seconds = preprocessing.spectrogram.rate, seconds_heard(preprocessing)
    return lambda data: {"samples": samples(data, rate=rate, seconds=seconds)[None]}


def seconds_heard(preprocessing: AudioPreprocessing) -> float:
    """Return how many seconds from the beginning of a recording are heard."""
    return MOST_HEARD if preprocessing.hop else preprocessing.spectrogram.seconds
