"""Networks built for OpenVINO from their arrays give the features that the torch modules give."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from headstart.base.errors import SourceError
from headstart.engines.openvino import OpenVinoEngine, OpenVinoTexts, convert
from headstart.engines.select import parity
from headstart.engines.torch import TorchEngine, TorchTexts
from headstart.sources.registry import open_source

LEAST, MINILM = 0.99999, "packaged:minilm"
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


def test_tuned_networks_agree_with_torch() -> None:
    rng, images, texts = np.random.default_rng(0), open_source("packaged:efficientnet-lite0"), open_source(MINILM)
    norm, counter = "blocks.5.1.bn2.running_var", "blocks.5.1.bn2.num_batches_tracked"
    changed = {"blocks.5.1.conv_pw.weight": rng.normal(size=(1152, 192, 1, 1)), norm: rng.uniform(1, 2, 1152)}
    smaller = replace(images.preprocessing, size=(96, 96))  # type: ignore[type-var]
    first = images.with_weights({"conv_stem.weight": rng.normal(size=(32, 3, 3, 3))}, smaller)  # type: ignore[arg-type]
    network = first.with_weights({**changed, counter: np.array(7.0)}).network()
    pictures = rng.integers(0, 256, (4, *network.input_shape), dtype=np.uint8)
    x = OpenVinoEngine(convert(network), precision="f32").run(pictures)
    reference = TorchEngine(network.module(), batch=4).run(pictures)
    assert parity(x, reference, network.blocks).worst >= LEAST
    tuned = texts.with_weights({"body.encoder.layer.5.output.dense.bias": rng.normal(size=384)})
    network, tokens = tuned.network(), tuned.prepare_all([SENTENCE, "a cat"])
    x = OpenVinoTexts(convert(network), precision="f32").run(tokens)
    plain = OpenVinoTexts(convert(texts.network()), precision="f32").run(tokens)
    reference = TorchTexts(network.module(), x.shape[1]).run(tokens)
    assert parity(x, reference, network.blocks).worst >= LEAST > parity(plain, reference, network.blocks).mean


@pytest.mark.parametrize("name", ["conv_stem.bias", "conv_stem.weight"])
def test_changes_of_another_network_are_refused(name: str) -> None:
    source = open_source("packaged:efficientnet-lite0").with_weights({name: np.zeros((1, 2))})
    graph = source.network().graph
    assert graph is not None
    with pytest.raises(SourceError, match=rf"weight {name} must be one of .*, of its shape; found shape \(1, 2\)"):
        graph()


def test_minilm_agrees_with_torch() -> None:
    source = open_source("packaged:minilm")
    network, rng = source.network(), np.random.default_rng(0)
    texts = [" ".join(rng.choice(SENTENCE.split(), size=length)) for length in rng.integers(1, 60, size=64)]
    tokens = source.prepare_all(texts)
    x = OpenVinoTexts(convert(network), precision="f32").run(tokens)
    width = sum(block.width for block in network.blocks)
    assert parity(x, TorchTexts(network.module(), width).run(tokens), network.blocks).worst >= LEAST
