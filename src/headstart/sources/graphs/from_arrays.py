"""Networks for OpenVINO straight from their released arrays, without torch: EfficientNet-Lite and BERT.

They compute what headstart.sources.networks.efficientnet_lite and .bert compute, whose docstrings name the papers; the
tests hold the features of both to a cosine of 0.99999. Imports OpenVINO.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.images.preprocessing import Preprocessing
from headstart.engines.environment import without_telemetry
from headstart.sources.layers import Tap
from headstart.sources.sizes import BERT_EPSILON, LITE_EPSILON, LITE_NORM, LITE_STAGES, BertSizes, lite_layers

with without_telemetry():
    import openvino as ov
    from openvino import opset13 as ops

Node = Any
Array = NDArray[np.generic]


def lite_graph(
    arrays: Mapping[str, Array],
    widths: Sequence[int],
    repeats: Sequence[int],
    preprocessing: Preprocessing,
    taps: Sequence[Tap],
) -> ov.Model:
    """Return an EfficientNet-Lite that takes uint8 of shape (n, h, w, 3), one output of shape (n, width) per tap.

    Args:
        arrays: its weights and statistics, named as in the torch module.
        widths: channels of its seven stages.
        repeats: blocks of each.
    """
    network = _Lite(arrays)
    pictures = ops.parameter([-1, *preprocessing.shape], np.uint8)
    values = network.layer("conv_stem", "bn1", normalised(pictures, preprocessing), stride=2)
    maps: dict[str, Node] = {}
    for stage, ((_, stride, expansion), width, count) in enumerate(zip(LITE_STAGES, widths, repeats, strict=True)):
        for block in range(count):
            name, parts = f"blocks.{stage}.{block}.", lite_layers(expansion)
            values = network.block(name, parts, values, width, stride=stride if not block else 1)
        maps[f"blocks.{stage}"] = values
    maps[""] = network.layer("conv_head", "bn2", values)
    return ov.Model([_reduced(maps[tap.module], tap.reduce) for tap in taps], [pictures], "efficientnet-lite")


def normalised(pictures: Node, preprocessing: Preprocessing) -> Node:
    """Return pictures, uint8 of shape (n, h, w, c), as the numbers that a network reads, (n, c, h, w)."""
    std, mean = (np.array(values, dtype=np.float64) for values in (preprocessing.std, preprocessing.mean))
    scale, shift = ((values).astype(np.float32).reshape(1, 1, 1, -1) for values in (1 / (255 * std), -mean / std))
    values = ops.add(ops.multiply(ops.convert(pictures, "f32"), scale), shift)
    return ops.transpose(values, np.array([0, 3, 1, 2]))


def _reduced(values: Node, reduction: str) -> Node:
    """Return a map of shape (n, c, h, w) as (n, c), or all its numbers; `pool` is the mean of the last map."""
    if reduction == "flatten":
        return ops.reshape(values, np.array([0, -1]), special_zero=True)
    positions = np.array([2, 3])
    return ops.reduce_max(values, positions) if reduction == "max" else ops.reduce_mean(values, positions)


class _Lite:
    """The layers of an EfficientNet-Lite, whose arrays are found by name."""

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        self._arrays = arrays

    def layer(self, conv: str, norm: str, values: Node, *, stride: int = 1, active: bool = True) -> Node:
        """Return a convolution with the normalisation after it, as one; padded as TensorFlow pads."""
        names = (f"{conv}.weight", *(f"{norm}.{part}" for part in LITE_NORM[:4]))
        kernels, scale, shift, mean, variance = (self._arrays[name].astype(np.float64) for name in names)
        factor = scale / np.sqrt(variance + LITE_EPSILON)
        weights = (kernels * factor.reshape(-1, 1, 1, 1)).astype(np.float32)
        bias = (shift - mean * factor).astype(np.float32).reshape(1, -1, 1, 1)
        grouped = weights.shape[1] == 1 and weights.shape[0] > 1
        convolve = ops.group_convolution if grouped else ops.convolution
        if grouped:
            weights = weights[:, None]
        strides, none, dilations = [stride, stride], [0, 0], [1, 1]
        output = ops.add(convolve(values, weights, strides, none, none, dilations, "same_upper"), bias)
        return ops.clamp(output, 0.0, 6.0) if active else output

    def block(self, name: str, parts: Sequence[str], values: Node, width: int, *, stride: int) -> Node:
        """Return the output of a block of so many convolutions, added to its input where both have one shape."""
        output = values
        for number, part in enumerate(parts, start=1):
            active, step = number < len(parts), stride if part == "conv_dw" else 1
            output = self.layer(f"{name}{part}", f"{name}bn{number}", output, stride=step, active=active)
        adds = stride == 1 and values.get_output_partial_shape(0)[1].get_length() == width
        return ops.add(output, values) if adds else output


def bert_graph(arrays: Mapping[str, Array], sizes: BertSizes, more: Sequence[int]) -> ov.Model:
    """Return a BERT that takes ids and mask, int64 of shape (n, length), and gives blocks of shape (n, width).

    A block is the mean over tokens, of unit length: of the last layer, and of those in `more`. `arrays` are named as
    released.
    """
    network = _Bert({name: np.asarray(array, dtype=np.float32) for name, array in arrays.items()}, sizes)
    ids, mask = (ops.parameter([-1, -1], np.int64) for _ in range(2))
    weights = ops.convert(mask, "f32")
    hidden = ops.multiply(ops.subtract(weights, np.float32(1)), np.float32(-np.finfo(np.float32).min))
    hidden = ops.unsqueeze(hidden, np.array([1, 2]))
    values = network.embedded(ids)
    layers = []
    for layer in range(sizes.layers):
        values = network.layer(f"encoder.layer.{layer}", values, hidden)
        layers.append(values)
    blocks = [_mean_of_tokens(layers[at], weights) for at in (-1, *more)]
    return ov.Model(blocks, [ids, mask], "bert")


def _mean_of_tokens(values: Node, weights: Node) -> Node:
    """Return the mean of `values` (n, length, width) where `weights` (n, length) are 1, scaled to unit length."""
    sums = ops.reduce_sum(ops.multiply(values, ops.unsqueeze(weights, np.array(2))), np.array([1]))
    counts = ops.maximum(ops.reduce_sum(weights, np.array([1]), keep_dims=True), np.float32(1))
    means = ops.divide(sums, counts)
    lengths = ops.sqrt(ops.reduce_sum(ops.multiply(means, means), np.array([1]), keep_dims=True))
    return ops.divide(means, ops.maximum(lengths, np.float32(1e-12)))


class _Bert:
    """The parts of a BERT, whose arrays are found by name."""

    def __init__(self, arrays: Mapping[str, NDArray[np.float32]], sizes: BertSizes) -> None:
        self._arrays, self._sizes = arrays, sizes

    def embedded(self, ids: Node) -> Node:
        """Return the vectors of tokens, of shape (n, length, width)."""
        words = ops.gather(self._arrays["embeddings.word_embeddings.weight"], ids, np.int64(0))
        kinds = self._arrays["embeddings.token_type_embeddings.weight"][0]
        positions = self._arrays["embeddings.position_embeddings.weight"] + kinds
        length = ops.gather(ops.shape_of(ids), np.array([1]), np.int64(0))
        placed = ops.slice(positions, np.array([0]), length, np.array([1]), np.array([0]))
        return self._normalised("embeddings.LayerNorm", ops.add(words, placed))

    def layer(self, name: str, values: Node, hidden: Node) -> Node:
        """Return a layer's output, of the shape of its input; `hidden` is added to the scores of attention."""
        attention = f"{name}.attention"
        query, key, value = (
            self._split(self._linear(f"{attention}.self.{part}", values)) for part in ("query", "key", "value")
        )
        gathered = ops.scaled_dot_product_attention(query, key, value, hidden)
        merged = ops.reshape(ops.transpose(gathered, np.array([0, 2, 1, 3])), np.array([0, 0, -1]), special_zero=True)
        values = self._output(f"{attention}.output", merged, values)
        inner = ops.gelu(self._linear(f"{name}.intermediate.dense", values), "erf")
        return self._output(f"{name}.output", inner, values)

    def _split(self, values: Node) -> Node:
        """Return vectors by head: (n, heads, length, width of each)."""
        heads = ops.reshape(values, np.array([0, 0, self._sizes.heads, -1]), special_zero=True)
        return ops.transpose(heads, np.array([0, 2, 1, 3]))

    def _output(self, name: str, values: Node, carried: Node) -> Node:
        return self._normalised(f"{name}.LayerNorm", ops.add(self._linear(f"{name}.dense", values), carried))

    def _linear(self, name: str, values: Node) -> Node:
        product = ops.matmul(values, self._arrays[f"{name}.weight"], transpose_a=False, transpose_b=True)
        return ops.add(product, self._arrays[f"{name}.bias"])

    def _normalised(self, name: str, values: Node) -> Node:
        plain = ops.mvn(values, np.array([-1]), normalize_variance=True, eps=BERT_EPSILON, eps_mode="inside_sqrt")
        return ops.add(ops.multiply(plain, self._arrays[f"{name}.weight"]), self._arrays[f"{name}.bias"])
