"""A whole model as one graph: examples as people have them in, calibrated probabilities out.

What `predict` does to an example is done in the graph, in the same order and to the same rounding. Imports OpenVINO.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from headstart.data.audio.spectrogram import AudioPreprocessing
from headstart.data.images.preprocessing import Preprocessing
from headstart.engines.base import Block
from headstart.engines.environment import without_telemetry
from headstart.heads.linear import LinearHead
from headstart.heads.tfidf import TfidfHead
from headstart.judge.novelty import TINY, Novelty
from headstart.ship.export.networks import blocks_of
from headstart.ship.export.numbers import Node, number, product, total, whole
from headstart.ship.export.pictures import pixel_numbers, prepared
from headstart.ship.export.sounds import cepstra_of, heard, mean_of_windows
from headstart.ship.export.texts import text_nodes
from headstart.sources.base import Source
from headstart.sources.layers import FAINT, stages_of

with without_telemetry():
    import openvino as ov
    from openvino import opset13 as ops

PICTURES, STORED, SAMPLES = "pictures", "stored", "samples"
PROBABILITIES, NOVELTY = "probabilities", "novelty"


@dataclass(frozen=True)
class Parts:
    """What a model is made of."""

    source: Source
    layer: str
    blocks: tuple[Block, ...]  # the columns of the features that the head reads
    head: LinearHead
    classes: tuple[str, ...]
    terms: TfidfHead | None = None
    novelty: Novelty | None = None


def whole_graph(parts: Parts) -> ov.Model:
    """Return the graph of a model.

    Its inputs are, of photos, `pictures`, uint8 (n, h, w, 3), RGB, upright, of any h and w, and `stored`, see
    `prepared`; of texts see `text_nodes`; of recordings `samples`, float32 (n, t), see `heard`. Its outputs are
    `probabilities`, float32 (n, c), and where the model can tell `novelty`, float32 (n,), above 1 for an example that
    is unlike the training data.

    Raises:
        UsageError: a part of the model has no place in a graph; the message names it.
    """
    kind = parts.source.kind
    inputs, features, more = FEATURES[kind](parts)
    results = {PROBABILITIES: _calibrated(features, parts.head, more)}
    if parts.novelty is not None:
        results[NOVELTY] = _novelty(features, parts.novelty, [block.width for block in parts.blocks])
    for name, node in {**inputs, **results}.items():
        node.output(0).get_tensor().set_names({name})
    return ov.Model([ops.result(node, name=name) for name, node in results.items()], [*inputs.values()], "headstart")


def _of_pictures(parts: Parts) -> tuple[dict[str, Node], Node, Node | None]:
    """Return the inputs of a model of photos, its features, float32 (n, d), and no further scores."""
    inputs = {
        PICTURES: ops.parameter([-1, -1, -1, 3], np.uint8, name=PICTURES),
        STORED: ops.parameter([3], np.float32, name=STORED),
    }
    made: dict[Preprocessing, Node] = {}
    outputs: list[Node] = []
    for source in parts.source.members or (parts.source,):
        assert isinstance(source.preprocessing, Preprocessing)
        plain = replace(source.preprocessing, mean=(), std=())
        if plain not in made:
            made[plain] = prepared(inputs[PICTURES], inputs[STORED], plain)
        outputs += _blocks(source, made[plain], plain)
    return inputs, _chosen(parts, outputs), None


def _blocks(source: Source, ready: Node, preprocessing: Preprocessing) -> list[Node]:
    """Return the blocks of one source of photos, float32 (n, width) each."""
    network = source.network()
    if network.lookup is not None:
        return [pixel_numbers(ready, preprocessing)]
    return blocks_of(network, source.identity.uri, ready)


def _of_texts(parts: Parts) -> tuple[dict[str, Node], Node, Node | None]:
    """Return the inputs of a model of texts, its features, float32 (n, d), and the scores of its words."""
    inputs, outputs, words = text_nodes(parts.source, parts.terms)
    return inputs, _chosen(parts, outputs), words


def _chosen(parts: Parts, outputs: list[Node]) -> Node:
    names = [block.name for block in parts.source.network().blocks]
    return _layer(dict(zip(names, outputs, strict=True)), names, parts.layer)


def _of_recordings(parts: Parts) -> tuple[dict[str, Node], Node, Node | None]:
    """Return the input of a model of recordings, its features, float32 (n, d), and no further scores."""
    samples = ops.parameter([-1, -1], np.float32, name=SAMPLES)
    outputs: list[Node] = []
    for source in parts.source.members or (parts.source,):
        network, preprocessing = source.network(), source.preprocessing
        assert isinstance(preprocessing, AudioPreprocessing)
        sounds = heard(samples, preprocessing)
        if network.lookup is not None:
            outputs.append(cepstra_of(sounds, preprocessing))
        else:
            every = zip(blocks_of(network, source.identity.uri, sounds.pictures), network.blocks, strict=True)
            outputs += [mean_of_windows(output, block.width, sounds.windows) for output, block in every]
    return {SAMPLES: samples}, _chosen(parts, outputs), None


def _layer(place: dict[str, Node], standard: Sequence[str], layer: str) -> Node:
    """Return the features of a layer, as `sources.layers.select` takes them: float32 (n, d)."""
    if "," in layer:
        return ops.concat([_layer(place, standard, side) for side in layer.split(",")], 1)
    names = stages_of(layer, standard)
    if len(names) == 1:
        return place[names[0]]
    return ops.concat([_levelled(place[name]) for name in names], 1)


def _levelled(block: Node) -> Node:
    """Return a block by the square roots of its numbers, with their signs, at unit length; what is rounding is 0."""
    size = ops.absolute(block)
    faint = ops.multiply(_length(block), number(FAINT))
    signed = ops.multiply(ops.sqrt(size), ops.sign(block))
    part = ops.select(ops.greater(size, faint), signed, number(0))
    length = _length(part)
    return ops.divide(part, ops.select(ops.greater(length, number(0)), length, number(1)))


def _length(rows: Node) -> Node:
    return ops.sqrt(total(ops.multiply(rows, rows), 1))


def _calibrated(features: Node, head: LinearHead, more: Node | None) -> Node:
    """Return the probabilities by a head, and by further scores where there are some."""
    scores = ops.add(product(features, ops.constant(np.ascontiguousarray(head.weight))), ops.constant(head.bias))
    scores = scores if more is None else ops.add(scores, more)
    return ops.softmax(ops.multiply(scores, number(1 / head.temperature)), 1)


def _novelty(features: Node, novelty: Novelty, widths: Sequence[int]) -> Node:
    """Return what `Novelty.scores` does: the squared distance to the nearest class, in units of the threshold."""
    ends = np.cumsum([0, *widths])
    units = []
    for start, end in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True):
        block = ops.slice(features, whole(start), whole(end), whole(1), whole(1))
        units.append(ops.divide(block, ops.maximum(_length(block), number(TINY))))
    rows = ops.concat(units, 1)
    *along, rest = novelty.variances.astype(np.float64)
    mine, theirs = product(rows, ops.constant(novelty.axes), turned=True), novelty.means @ novelty.axes.T
    every = _distances(rows, novelty.means, np.full(novelty.means.shape[1], 1 / rest))
    both = ops.add(every, _distances(mine, theirs, 1 / np.array(along) - 1 / rest))
    nearest = ops.maximum(ops.reduce_min(both, whole(1), keep_dims=False), number(0))
    return ops.divide(nearest, number(novelty.threshold))


def _distances(rows: Node, means: NDArray[np.float32], weights: NDArray[np.float64]) -> Node:
    """Return the weighted squared distances (n, k) of rows (n, d) to means (k, d)."""
    own = product(ops.multiply(rows, rows), ops.constant(weights.astype(np.float32)[:, None]))
    crossed = ops.constant(np.ascontiguousarray((-2 * weights[:, None] * means.T).astype(np.float32)))
    constant = ((means * means) @ weights).astype(np.float32)[None]
    return ops.add(ops.add(own, product(rows, crossed)), ops.constant(constant))


FEATURES = {"image": _of_pictures, "text": _of_texts, "sound": _of_recordings}
"""What makes the inputs and features of models of each kind."""
