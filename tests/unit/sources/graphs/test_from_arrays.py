"""Networks built for OpenVINO from their arrays give the features that the torch modules give."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import openvino as ov
import pytest
import torch

from headstart.base.errors import SourceError
from headstart.data.images.preprocessing import Preprocessing
from headstart.engines.openvino import OpenVinoEngine, OpenVinoTexts, compile_model, convert
from headstart.engines.select import parity
from headstart.engines.torch import TorchEngine, TorchTexts
from headstart.sources.graphs.from_arrays import bert_graph, lite_graph, normalised
from headstart.sources.layers import Tap
from headstart.sources.networks.bert import build_bert, mean_of_tokens
from headstart.sources.networks.efficientnet_lite import EfficientNetLite
from headstart.sources.networks.tapped import Tapped
from headstart.sources.registry import open_source
from headstart.sources.sizes import BertSizes, lite_names

LEAST, MINILM = 0.99999, "packaged:minilm"
SENTENCE = "the cat sat on a mat while rain fell over old towns and nobody knew why Straße 東京 naïve 42 ?!"

TINY = BertSizes(words=11, width=6, inner=10, heads=3, layers=3, positions=7)


def run(model: ov.Model, *inputs: Any) -> list[np.ndarray]:
    compiled = compile_model(model)
    return list(compiled(list(inputs)).values())


def test_a_tiny_bert_agrees_with_torch_at_every_layer_and_length() -> None:
    torch.manual_seed(0)
    body = build_bert(TINY)
    for tensor in body.parameters():
        torch.nn.init.normal_(tensor, std=0.7)  # far from their start, where layers hardly differ
    arrays = {name: tensor.detach().numpy() for name, tensor in body.named_parameters()}
    graph = bert_graph(arrays, TINY, (0, 1))
    for length in (1, 5, 7):
        rng = np.random.default_rng(length)
        ids, mask = rng.integers(0, TINY.words, (4, length)), (np.arange(length) < [[length], [1], [3], [length]])
        outputs = run(graph, ids, mask.astype(np.int64))
        with torch.inference_mode():
            layers = body(torch.from_numpy(ids), torch.from_numpy(mask.astype(np.int64)))
            means = [mean_of_tokens(layers[at], torch.from_numpy(mask)) for at in (-1, 0, 1)]
        for output, mean in zip(outputs, means, strict=True):
            np.testing.assert_allclose(output, mean / mean.norm(dim=1, keepdim=True), rtol=1e-3, atol=1e-4)


def test_tokens_that_are_masked_count_for_nothing_and_none_at_all_is_finite() -> None:
    torch.manual_seed(1)
    arrays = {name: tensor.detach().numpy() for name, tensor in build_bert(TINY).named_parameters()}
    graph, mask = bert_graph(arrays, TINY, ()), np.array([[1, 1, 0], [1, 1, 0], [0, 0, 0]])
    (x,) = run(graph, np.array([[4, 2, 9], [4, 2, 1], [1, 2, 3]]), mask)
    np.testing.assert_allclose(x[0], x[1], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(x[:2], axis=1), 1, rtol=1e-5)
    assert np.isfinite(x).all()


def test_a_tiny_efficientnet_lite_agrees_with_torch_whatever_the_shape_and_the_reduction() -> None:
    torch.manual_seed(0)
    widths, repeats = (4, 4, 6, 8, 8, 10, 12), (1, 2, 1, 1, 2, 1, 1)
    body = EfficientNetLite(widths, repeats).eval()
    for part in body.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(part.running_mean, -0.3, 0.3)
            torch.nn.init.uniform_(part.running_var, 0.5, 1.5)
            torch.nn.init.uniform_(part.weight, 0.8, 1.6)
            torch.nn.init.uniform_(part.bias, -0.2, 0.4)
    arrays = {name: tensor.numpy() for name, tensor in body.state_dict().items()}
    assert list(arrays) == list(lite_names(repeats))
    how = Preprocessing(size=(32, 48), resize=None, mean=(0.5, 0.4, 0.3), std=(0.5, 0.3, 0.2))
    taps = (
        Tap("pool", 1280, "pool"),
        Tap("stage1.avg", 4, "avg", "blocks.1"),
        Tap("stage6.max", 12, "max", "blocks.6"),
        Tap("final.max", 1280, "max"),
        Tap("flatten", 10 * 1 * 2, "flatten", "blocks.5"),
    )
    pictures = np.random.default_rng(0).integers(0, 256, (3, *how.shape), dtype=np.uint8)
    outputs = run(lite_graph(arrays, widths, repeats, how, taps), pictures)
    with torch.inference_mode():
        blocks = Tapped(body, how, taps)(torch.from_numpy(pictures))
    for tap, output, block in zip(taps, outputs, blocks, strict=True):
        assert output.shape == (3, tap.width) and output.std() > 0, tap.name
        np.testing.assert_allclose(output, block.numpy(), rtol=1e-3, atol=1e-4, err_msg=tap.name)


def test_pictures_are_normalised_by_channel_and_their_channels_put_first() -> None:
    how = Preprocessing(size=(2, 3), resize=None, mean=(0.0, 0.5, 1.0), std=(1.0, 0.5, 0.25))
    entry = ov.opset13.parameter([-1, *how.shape], np.uint8)
    pictures = np.arange(36, dtype=np.uint8).reshape(2, 2, 3, 3) * 7
    (x,) = run(ov.Model([normalised(entry, how)], [entry], "normalised"), pictures)
    expected = (pictures / 255 - how.mean) / how.std
    np.testing.assert_allclose(x, expected.transpose(0, 3, 1, 2), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("uri", "layer", "count"),
    [
        pytest.param("packaged:efficientnet-lite0", "auto", 64, marks=pytest.mark.thorough),
        ("packaged:efficientnet-lite0", "flatten", 4),
        pytest.param("packaged:efficientnet-lite1", "stage0.max+stage3.avg", 4, marks=pytest.mark.slow),
        pytest.param("packaged:efficientnet-lite2", "auto", 4, marks=pytest.mark.slow),
    ],
)
def test_an_efficientnet_lite_agrees_with_torch(uri: str, layer: str, count: int) -> None:
    network = open_source(uri, layer=layer).network()
    pictures = np.random.default_rng(0).integers(0, 256, (count, *network.input_shape), dtype=np.uint8)
    pictures[: count // 2] //= 4  # dark ones, and flat ones
    pictures[0] = 200
    x = OpenVinoEngine(convert(network), precision="f32").run(pictures)
    assert parity(x, TorchEngine(network.module(), batch=4).run(pictures), network.blocks).worst >= LEAST


@pytest.mark.slow
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


@pytest.mark.thorough
def test_minilm_agrees_with_torch() -> None:
    source = open_source("packaged:minilm")
    network, rng = source.network(), np.random.default_rng(0)
    texts = [" ".join(rng.choice(SENTENCE.split(), size=length)) for length in rng.integers(1, 60, size=64)]
    tokens = source.prepare_all(texts)
    x = OpenVinoTexts(convert(network), precision="f32").run(tokens)
    width = sum(block.width for block in network.blocks)
    assert parity(x, TorchTexts(network.module(), width).run(tokens), network.blocks).worst >= LEAST
