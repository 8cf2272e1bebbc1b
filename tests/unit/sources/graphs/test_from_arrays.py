"""Networks built for OpenVINO from their arrays give the features that the torch modules give."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.engines.openvino import OpenVinoEngine, OpenVinoTexts, convert
from headstart.engines.select import parity
from headstart.engines.torch import TorchEngine, TorchTexts
from headstart.sources.registry import open_source

LEAST = 0.99999
SENTENCE = "the cat sat on a mat while rain fell over old towns and nobody knew why Straße 東京 naïve 42 ?!"


@pytest.mark.parametrize(
    ("uri", "layer", "count"),
    [
        ("packaged:efficientnet-lite0", "auto", 64),
        ("packaged:efficientnet-lite0", "flatten", 4),
        ("packaged:efficientnet-lite1", "stage0.max+stage3.avg", 4),
        ("packaged:efficientnet-lite2", "auto", 4),
    ],
)
def test_an_efficientnet_lite_agrees_with_torch(uri: str, layer: str, count: int) -> None:
    network = open_source(uri, layer=layer).network()
    pictures = np.random.default_rng(0).integers(0, 256, (count, *network.input_shape), dtype=np.uint8)
    pictures[: count // 2] //= 4  # dark ones, and flat ones
    pictures[0] = 200
    x = OpenVinoEngine(convert(network), precision="f32").run(pictures)
    assert parity(x, TorchEngine(network.module(), batch=4).run(pictures), network.blocks).worst >= LEAST


def test_minilm_agrees_with_torch() -> None:
    source = open_source("packaged:minilm")
    network, rng = source.network(), np.random.default_rng(0)
    texts = [" ".join(rng.choice(SENTENCE.split(), size=length)) for length in rng.integers(1, 60, size=64)]
    tokens = source.prepare_all(texts)
    x = OpenVinoTexts(convert(network), precision="f32").run(tokens)
    width = sum(block.width for block in network.blocks)
    assert parity(x, TorchTexts(network.module(), width).run(tokens), network.blocks).worst >= LEAST
