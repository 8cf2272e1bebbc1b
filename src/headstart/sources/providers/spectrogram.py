"""`spectrogram:URI`: recordings as pictures of their sound, read by a network of photos."""

from __future__ import annotations

import copy
from dataclasses import replace

from headstart.base.errors import SourceError
from headstart.data.audio.spectrogram import AudioPreprocessing, audio_preprocessing
from headstart.data.images.preprocessing import Preprocessing
from headstart.sources.base import Source
from headstart.sources.registry import open_source
from headstart.sources.uri import Spec

RATE, WINDOW = 16_000, 2.0
"""Samples a second, and seconds that a picture spans."""
READS = {"text": "texts", "sound": "recordings", "image": "photos from both sides"}
WINDOWS = (0.2, 30.0)
"""The least and the most seconds of a picture."""


def open_named(spec: Spec, *, weights: str, seed: int, window: float | None = None) -> Source:
    """Return the source of photos that the name of `spec` is the URI of, as one that reads log-mel pictures.

    SourceError: there is none, it reads no pictures, or the window is too short or too long.
    """
    inner = open_source(spec.uri.partition(":")[2], weights=weights, seed=seed)
    plain, seconds = inner.preprocessing, WINDOW if window is None else window
    if not isinstance(plain, Preprocessing) or isinstance(plain, AudioPreprocessing) or inner.views > 1:
        reads = f"{inner.identity.uri}, which reads {READS[inner.kind]}"
        raise SourceError(f"{spec.uri} must name a network of pictures", reads, "name one, or leave spectrogram: out")
    if not WINDOWS[0] <= seconds <= WINDOWS[1]:
        ends = " to ".join(f"{end:g}" for end in WINDOWS)
        raise SourceError(
            f"{spec.uri} must be given windows of {ends} s", f"{seconds:g} s", "name a length between them"
        )
    heard = audio_preprocessing(plain, size=plain.size, seconds=seconds, rate=RATE)
    source = copy.copy(inner)
    source.preprocessing = replace(
        heard, mean=plain.mean, std=plain.std, spectrogram=replace(heard.spectrogram, centred=True)
    )
    source.identity = replace(
        inner.identity, uri=spec.uri, classes=0, trained_on=f"{inner.identity.trained_on}, and no recordings"
    )
    return source
