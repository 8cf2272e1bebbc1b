"""Texts in a graph: the tokens of a source, and the words whose scores are added to its own. Imports OpenVINO."""

from __future__ import annotations

import json

import numpy as np
from numpy.typing import NDArray

from headstart.base.errors import UsageError
from headstart.engines.environment import without_telemetry
from headstart.heads.tfidf import TfidfHead
from headstart.ship.export.networks import NETWORK, blocks_of
from headstart.ship.export.numbers import Node, axis, number, product, total, whole
from headstart.sources.base import Source
from headstart.sources.text.source import TextSource

with without_telemetry():
    from openvino import opset13 as ops

IDS, MASK, TERMS, COUNTS = "ids", "mask", "terms", "counts"


def text_nodes(source: Source, terms: TfidfHead | None) -> tuple[dict[str, Node], list[Node], Node | None]:
    """Return the inputs of a model of texts, the blocks of its source, and the scores of its words, float32 (n, c).

    The inputs are `ids` and `mask`, int64 (n, length), where there is a source; and where words are scored `terms`,
    int64 (n, k), the places of the terms of a text in the vocabulary, and `counts`, float32 (n, k), how often each is
    in it, 0 for none.

    Raises:
        UsageError: the source is none of tokens, several, or takes the mean over pieces of a long text.
    """
    inputs: dict[str, Node] = {}
    scores = None
    if terms is not None:
        inputs = {
            name: ops.parameter([-1, -1], kind, name=name) for name, kind in ((TERMS, np.int64), (COUNTS, np.float32))
        }
        scores = _word_scores(terms, *inputs.values())
    if source.identity.uri.startswith("simple:"):
        return inputs, [ops.multiply(total(inputs[COUNTS], 1), number(0))], scores
    if not isinstance(source, TextSource) or source.preprocessing.long == "chunks":
        reads = "chunks of long texts" if isinstance(source, TextSource) else "one that reads whole words, or several"
        raise UsageError(
            f"{source.identity.uri} must be a source that reads a text as tokens at once",
            reads,
            "use headstart predict",
        )
    tokens = {name: ops.parameter([-1, -1], np.int64, name=name) for name in (IDS, MASK)}
    network = source.network()
    if network.lookup is None:
        blocks = blocks_of(network, source.identity.uri, *tokens.values())
    else:
        blocks = [_mean(_vectors(network.lookup()), *tokens.values())]
    return {**tokens, **inputs}, blocks, scores


def _vectors(lookup: object) -> NDArray[np.float32]:
    vectors = getattr(lookup, "vectors", None)
    if not isinstance(vectors, np.ndarray):
        raise UsageError("an exported table of vectors must be one of tokens", type(lookup).__name__, "use predict")
    return vectors


def _mean(vectors: NDArray[np.float32], ids: Node, mask: Node) -> Node:
    """Return the mean of the vectors of tokens, zeros where there is none: float32 (n, width)."""
    present, table = ops.convert(mask, "f32"), ops.constant(vectors, name=f"{NETWORK}vectors")
    summed = product(ops.unsqueeze(present, axis(1)), ops.gather(table, ids, axis(0)))
    return ops.divide(ops.squeeze(summed, whole(1)), ops.maximum(total(present, 1), number(1)))


def _word_scores(terms: TfidfHead, places: Node, counts: Node) -> Node:
    """Return the scores of texts by their words, float32 (n, c), as `TfidfHead.scores` does."""
    present = ops.convert(ops.greater(counts, number(0)), "f32")
    rarity = ops.gather(ops.constant(terms.vocabulary.idf), places, axis(0))
    values = ops.multiply(ops.multiply(ops.add(ops.log(ops.maximum(counts, number(1))), number(1)), rarity), present)
    length = ops.sqrt(total(ops.multiply(values, values), 1))
    shares = ops.divide(values, ops.select(ops.greater(length, number(0)), length, number(1)))
    weights = ops.gather(ops.constant(np.ascontiguousarray(terms.weight)), places, axis(0))
    return ops.add(ops.squeeze(product(ops.unsqueeze(shares, axis(1)), weights), whole(1)), ops.constant(terms.bias))


def text_files(source: Source, terms: TfidfHead | None) -> dict[str, str]:
    """Return the files that the script needs beside a model of texts, by name: its tokenizer, and its terms."""
    files = {"tokenizer.json": source.tokenizer().as_json} if isinstance(source, TextSource) else {}
    return files | ({} if terms is None else {"terms.json": json.dumps(terms.vocabulary.terms)})
