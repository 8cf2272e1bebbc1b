"""What differs between kinds of examples on their way through a network: the order, and the summary beside features.

A summary is what the baseline without a source, or the report, needs of every example; it lies beside the features in
the store, as bytes, so that a warm run decodes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self, cast

import numpy as np
from numpy.typing import NDArray

from headstart.data.audio.spectrogram import COEFFICIENTS, SUMMARY_FRAMES, Windows, cepstra, loudest_part, side_by_side
from headstart.data.images.alignment import SIDE
from headstart.data.images.preprocessing import grey_pixels, small_pixels
from headstart.data.modality import Kind
from headstart.data.text import Tokens
from headstart.engines.base import PreparedExample
from headstart.engines.select import PARITY_SAMPLE

_CEPSTRA = 2 * COEFFICIENTS * np.dtype(np.float32).itemsize  # bytes


@dataclass(frozen=True)
class ImageSummary:
    """Pictures averaged over 16 x 16 boxes, and in grey over 32 x 32."""

    baseline_inputs: NDArray[np.uint8]  # of shape (n, 768)
    small: NDArray[np.uint8]  # of shape (n, 32, 32): what `features.relatives` compares
    row_bytes: ClassVar[int] = 768 + SIDE * SIDE

    @staticmethod
    def pack(prepared: PreparedExample) -> NDArray[np.uint8]:
        """Return what is stored of one picture, uint8 of shape (1792,)."""
        pixels = cast(NDArray[np.uint8], prepared)
        return np.concatenate([small_pixels(pixels), grey_pixels(pixels, SIDE).ravel()])

    @classmethod
    def unpack(cls, stored: NDArray[np.uint8]) -> Self:
        """Return the summary of n pictures from their stored bytes, uint8 of shape (n, 1792)."""
        return cls(stored[:, :768], stored[:, 768:].reshape(-1, SIDE, SIDE))


@dataclass(frozen=True)
class SoundSummary:
    """Mean and spread over time of each recording's MFCC, and the loudest part of its spectrogram in 32 x 32 boxes."""

    baseline_inputs: NDArray[np.float32]  # of shape (n, 40)
    small: NDArray[np.uint8]  # of shape (n, 32, 32): what `features.relatives` compares
    row_bytes: ClassVar[int] = _CEPSTRA + SIDE * SIDE

    @staticmethod
    def pack(prepared: PreparedExample) -> NDArray[np.uint8]:
        """Return what is stored of one recording, uint8 of shape (1184,)."""
        if isinstance(prepared, Windows):
            prepared = side_by_side(prepared, SUMMARY_FRAMES)
        pixels = cast(NDArray[np.uint8], prepared)
        small = grey_pixels(loudest_part(pixels, SIDE), SIDE)
        return np.concatenate([cepstra(pixels).view(np.uint8), small.ravel()])

    @classmethod
    def unpack(cls, stored: NDArray[np.uint8]) -> Self:
        """Return the summary of n recordings from their stored bytes, uint8 of shape (n, 1184)."""
        means = np.ascontiguousarray(stored[:, :_CEPSTRA]).view(np.float32)
        return cls(means, stored[:, _CEPSTRA:].reshape(-1, SIDE, SIDE))


@dataclass(frozen=True)
class TextSummary:
    """How many tokens each text has, and how many of them the source used: int32 of shape (n,) each."""

    tokens_given: NDArray[np.int32]
    tokens_used: NDArray[np.int32]
    row_bytes: ClassVar[int] = 2 * np.dtype(np.int32).itemsize

    @staticmethod
    def pack(prepared: PreparedExample) -> NDArray[np.uint8]:
        """Return what is stored of one text, uint8 of shape (8,)."""
        tokens = cast(Tokens, prepared)
        return np.array([tokens.total, tokens.used], dtype=np.int32).view(np.uint8)

    @classmethod
    def unpack(cls, stored: NDArray[np.uint8]) -> Self:
        """Return the summary of n texts from their stored bytes, uint8 of shape (n, 8)."""
        counts = np.ascontiguousarray(stored).view(np.int32)
        return cls(counts[:, 0], counts[:, 1])


Summary = ImageSummary | SoundSummary | TextSummary


@dataclass(frozen=True)
class ExtractionProfile:
    """How examples of one kind go through a network."""

    summary: type[ImageSummary] | type[SoundSummary] | type[TextSummary]  # what is kept beside the features of each
    commit: int  # examples that are computed and committed together: what a kill can cost
    window: int  # how many are prepared ahead: some batches, and enough for a sound parity check
    chunk: int = 8  # that a thread examines in a row: a task costs as much as a small photo
    by_length: bool = False  # whether examples of one length do best together
    libraries: tuple[str, ...] = ()  # what prepares them, and whose version counts
    revision: int = 0  # counts up when the summary of the same example comes to be another


EXTRACTION_PROFILES: dict[Kind, ExtractionProfile] = {
    "image": ExtractionProfile(ImageSummary, commit=32, window=96, libraries=("Pillow", "simplejpeg")),
    "sound": ExtractionProfile(
        SoundSummary, commit=32, window=96, chunk=1, libraries=("scipy", "soundfile"), revision=1
    ),
    "text": ExtractionProfile(TextSummary, commit=256, window=1024, by_length=True),
}


def order_by_length(lengths: NDArray[np.int64]) -> list[int]:
    """Return the rows of texts: a sample of all lengths to judge engines on, then the rest; both longest first."""
    order = np.argsort(-lengths, kind="stable")
    sample = np.zeros(len(order), dtype=bool)
    sample[np.linspace(0, max(len(order) - 1, 0), min(PARITY_SAMPLE, len(order))).astype(int)] = True
    return [*order[sample].tolist(), *order[~sample].tolist()]
