"""The pictures of a recording in a graph are those of `predict`, but for a level of one in some thousands."""

from __future__ import annotations

import io
import wave
from typing import Any

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops

from headstart.data.audio.spectrogram import AudioPreprocessing, Spectrogram, Windows
from headstart.engines.openvino import compile_model
from headstart.ship.export.sounds import cepstra_of, heard
from headstart.sources.providers.simple import mfcc_numbers

pytest.importorskip("soundfile")
RATE = 16_000
BANDS = Spectrogram(RATE, 400, 160, 512, 32, 96)
CENTRED = Spectrogram(RATE, 400, 143, 1024, 64, 64, scale="slaney", centred=True)


def wav(samples: np.ndarray) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as written:
        written.setparams((1, 2, RATE, len(samples), "NONE", ""))
        written.writeframes(samples.astype("<i2").tobytes())
    return file.getvalue()


def noise(seconds: float) -> np.ndarray:
    t = np.arange(round(seconds * RATE)) / RATE
    loud = np.exp(-3 * (t % 0.7)) * (t % 1.4 < 1)
    return np.random.default_rng(0).normal(0, 4000, len(t)) * loud


@pytest.mark.parametrize("settings", [BANDS, CENTRED], ids=["bands", "centred"])
@pytest.mark.parametrize("hop", [0.0, 0.5])
def test_a_recording_of_any_length_becomes_the_same_pictures(settings: Spectrogram, hop: float) -> None:
    preprocessing = AudioPreprocessing(
        size=(settings.mels, settings.frames), resize=None, channels="grey", spectrogram=settings, hop=hop
    )
    samples = ops.parameter([-1, -1], np.float32)
    sounds = heard(samples, preprocessing)
    outputs = [ops.result(each) for each in (sounds.pictures, cepstra_of(sounds, preprocessing))]
    graph: Any = compile_model(ov.Model(outputs, [samples], "x"))
    for recording in (noise(0.1), noise(0.9), noise(1.5), noise(1.96), noise(7.3), np.zeros(8000), np.zeros(40_000)):
        data = wav(recording)
        expected = preprocessing.hear(data)
        whole = expected.pictures_of(0, len(expected)) if isinstance(expected, Windows) else expected[None]
        pictures, cepstra = graph([(recording.astype("<i2") / 32768).astype(np.float32)[None]]).values()
        assert pictures.shape == whole.shape
        apart = np.abs(pictures.astype(int) - whole)
        assert apart.max() <= 1 and apart.mean() < 1e-3
        assert np.abs(cepstra - mfcc_numbers([expected])).max() < 1e-3
