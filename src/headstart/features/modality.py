"""What differs between kinds of examples on their way through a network: what is kept beside features, and order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from headstart.data.audio.spectrogram import COEFFICIENTS, cepstra
from headstart.data.dataset import BadExample
from headstart.data.images.preprocessing import small_pixels
from headstart.data.modality import Kind
from headstart.data.text import Tokens
from headstart.engines.base import PreparedExample
from headstart.engines.select import PHOTOS

PIXELS = 768
CEPSTRA = np.dtype(np.float32)
"""Of recordings, statistics of MFCC, kept as bytes beside their features."""
COUNTS = np.dtype(np.int32)
"""How many tokens a text has and how many were used, kept as bytes beside its features."""


@dataclass(frozen=True)
class ExtractionProfile:
    """How examples of one kind go through a network.

    Attributes:
        beside: bytes kept beside the features of each.
        keep: what they are, uint8 of shape (beside,), for one prepared example.
        commit: examples that are computed and committed together: what a kill can cost.
        window: how many are prepared ahead: some batches, and enough for a sound parity check.
        sorted: whether examples of one length do best together.
        libraries: what prepares them, and whose version counts.
    """

    beside: int
    keep: Callable[[PreparedExample], NDArray[np.uint8]]
    commit: int
    window: int
    sorted: bool = False
    libraries: tuple[str, ...] = ()


def _pixels(prepared: PreparedExample) -> NDArray[np.uint8]:
    return small_pixels(cast(NDArray[np.uint8], prepared))


def _cepstra(prepared: PreparedExample) -> NDArray[np.uint8]:
    return cepstra(cast(NDArray[np.uint8], prepared)).view(np.uint8)


def _counts(prepared: PreparedExample) -> NDArray[np.uint8]:
    tokens = cast(Tokens, prepared)
    return np.array([tokens.given, tokens.used], dtype=COUNTS).view(np.uint8)


EXTRACTION_PROFILES: dict[Kind, ExtractionProfile] = {
    "image": ExtractionProfile(PIXELS, _pixels, commit=32, window=96, libraries=("Pillow", "simplejpeg")),
    "sound": ExtractionProfile(
        2 * COEFFICIENTS * CEPSTRA.itemsize, _cepstra, commit=32, window=96, libraries=("scipy", "soundfile")
    ),
    "text": ExtractionProfile(2 * COUNTS.itemsize, _counts, commit=256, window=1024, sorted=True),
}


def by_length(rows: Sequence[int], read: Callable[[int], bytes]) -> Iterator[int]:
    """Yield rows of texts: first a sample of all lengths, on which engines are judged, then the rest, longest first.

    Args:
        rows: which.
        read: gives the bytes of one; raises Unusable.
    """
    lengths = np.array([_length(read, row) for row in rows])
    order = [rows[at] for at in np.argsort(-lengths, kind="stable")]
    first = (
        {order[at] for at in np.linspace(0, len(order) - 1, min(PHOTOS, len(order))).astype(int)} if order else set()
    )
    yield from (row for row in order if row in first)
    yield from (row for row in order if row not in first)


def _length(read: Callable[[int], bytes], row: int) -> int:
    try:
        return len(read(row))
    except BadExample:
        return 0  # whoever reads it next meets the reason
