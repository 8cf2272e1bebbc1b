"""The speaker encoder for OpenVINO: a tiny twin against the equations of an LSTM, at any loudness."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest
from lstm import embedding
from numpy.typing import NDArray

from headstart.data.audio.spectrogram import AudioPreprocessing, Spectrogram
from headstart.engines.base import Block, Network
from headstart.engines.openvino import OpenVinoEngine, convert
from headstart.sources.graphs.voice import VOLUME, voice_graph

BANDS = Spectrogram(8_000, 200, 80, 200, 6, 9, low=0.0, high=4_000.0, scale="slaney")
HOW = AudioPreprocessing(
    size=(6, 9), resize=None, mean=(1.0,), std=(10 / (80 * math.log(10)),), channels="grey", spectrogram=BANDS
)
WIDTH = 5


@pytest.fixture(scope="module")
def arrays() -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    shapes = {"linear.weight": (4, WIDTH), "linear.bias": (4,)}
    for layer, inputs in enumerate((6, WIDTH)):
        shapes |= {f"lstm.weight_ih_l{layer}": (4 * WIDTH, inputs), f"lstm.weight_hh_l{layer}": (4 * WIDTH, WIDTH)}
        shapes |= {f"lstm.bias_{part}_l{layer}": (4 * WIDTH,) for part in ("ih", "hh")}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def features(arrays: Mapping[str, NDArray[np.float32]], pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    network = Network("x", HOW.shape, (Block("pool", 4),), pytest.fail, graph=lambda: voice_graph(arrays, HOW))
    return OpenVinoEngine(convert(network), precision="f32").run(pictures)


def test_it_computes_what_an_lstm_is(arrays: dict[str, NDArray[np.float32]]) -> None:
    pictures = np.random.default_rng(1).integers(1, 256, (7, *HOW.shape), dtype=np.uint8)
    pictures[3, :, 4:] = 0  # a recording that ends early: silence is no part of its volume
    x = features(arrays, pictures)
    for row, picture in zip(x, pictures, strict=True):
        power = 10 ** (8 * (picture[:, :, 0] / 255 - 1.0)) - 1e-8
        np.testing.assert_allclose(row, embedding(arrays, power, BANDS, VOLUME), atol=2e-4)
    np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1, atol=1e-5)


def test_silence_has_features_too_and_neighbours_change_nothing(arrays: dict[str, NDArray[np.float32]]) -> None:
    pictures = np.zeros((2, *HOW.shape), np.uint8)
    pictures[1] = 200
    x = features(arrays, pictures)
    assert np.isfinite(x).all() and (x[0] == features(arrays, pictures[:1])[0]).all()
