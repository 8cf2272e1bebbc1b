"""The choice of layer and head and the simple baseline as steps of `fit`, each remembered: they are not made twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.cache import ResultCache
from headstart.base.config import cache_dir
from headstart.base.hashing import sha256
from headstart.fitting.findings import BaselineResult
from headstart.fitting.words import TextBaseline, fit_text_baseline
from headstart.heads.select import Choice, affordable, choose_head, choose_layer
from headstart.heads.serialization import VERSION, choice_from, choice_parts, terms_from, terms_parts
from headstart.judge.baselines import SIMPLE_BASELINES
from headstart.run.prepared import LayerSelection, PreparedData
from headstart.sources.layers import AUTO


def select_layer_and_head(prepared: PreparedData, *, seed: int) -> tuple[LayerSelection, Choice]:
    """Choose the layer by leave-one-out error where it is left open, then the head by cross-validation.

    What was chosen before for the same features, labels and seed is remembered, and not chosen again.
    """
    train = prepared.parts.train
    names = [name for name in prepared.source.tried if name in prepared.source.info.layers]
    blocks = [[block.name, block.width] for block in prepared.extraction.blocks]
    key = _key(
        "choice",
        [prepared.extraction.x[np.asarray(train, dtype=np.intp)], prepared.labels(train)],
        {
            "classes": list(prepared.scan.dataset.classes),
            "blocks": blocks,
            "layer": prepared.source.layer,
            "tried": names,
            "seed": seed,
        },
    )
    memo = _memo()
    held = memo.get(key)
    if held is not None:
        plain, arrays = held
        return LayerSelection(plain["layer"], plain["errors"]), choice_from(plain["choice"], arrays)
    layers, choice = _chosen(prepared, names, seed)
    plain, arrays = choice_parts(choice)
    errors = {name: float(error) for name, error in layers.errors.items()}
    memo.put(key, {"layer": layers.chosen, "errors": errors, "choice": plain}, arrays)
    return layers, choice


def _chosen(prepared: PreparedData, names: Sequence[str], seed: int) -> tuple[LayerSelection, Choice]:
    dataset, train = prepared.scan.dataset, prepared.parts.train
    labels = prepared.labels(train)
    layer = prepared.source.layer
    if layer != AUTO or len(names) == 1:
        layer = names[0] if layer == AUTO else layer
        layers, rotated = LayerSelection(layer, {}), None
    else:
        candidates = ((name, prepared.features(name, train).x) for name in names)
        found = choose_layer(candidates, labels, len(dataset.classes))
        layers, rotated = LayerSelection(found.layer, dict(found.errors)), found.rotated
    x = prepared.features(layers.chosen, train).x
    choice = choose_head(x, labels, dataset.classes, seed=seed, rotated=rotated)
    if rotated is None or layers.chosen == names[0]:
        return layers, choice
    narrow = prepared.features(names[0], train).x
    present = len(np.unique(labels))
    kinds = [affordable(len(labels), min(one.shape), present)[0] for one in (x, narrow)]
    if len(kinds[1]) > len(kinds[0]):
        # The wider layer leaves time for fewer kinds of head: the narrower one may end up better.
        other = choose_head(narrow, labels, dataset.classes, seed=seed)
        if _loss(other) < _loss(choice):
            return LayerSelection(names[0], layers.errors), other
    return layers, choice


def _loss(choice: Choice) -> float:
    """Return the log loss of the head that was chosen, on unseen examples."""
    return next(tried.log_loss for tried in choice.candidates if tried.kind == choice.head.kind)


def fit_baseline(prepared: PreparedData, *, seed: int) -> BaselineResult:
    """Return what the simple baseline of this kind of examples says of the test part; it too is remembered."""
    if prepared.scan.dataset.kind == "text":
        words = _words(prepared, seed)
        return BaselineResult(words.probabilities, words)
    parts, c = prepared.parts, len(prepared.scan.dataset.classes)
    y, train, test = (
        prepared.labels(parts.train),
        prepared.baseline_inputs(parts.train),
        prepared.baseline_inputs(parts.test),
    )
    memo, key = _memo(), _key(f"simple {prepared.scan.dataset.kind}", [train, y, test], {"classes": c, "seed": seed})
    held = memo.get(key)
    if held is not None:
        return BaselineResult(held[1]["probabilities"])
    probabilities = SIMPLE_BASELINES[prepared.scan.dataset.kind](train, y, test, c=c, seed=seed)
    memo.put(key, {}, {"probabilities": probabilities})
    return BaselineResult(probabilities)


def _words(prepared: PreparedData, seed: int) -> TextBaseline:
    parts, dataset, hashes = prepared.parts, prepared.scan.dataset, prepared.scan.hashes
    y = prepared.labels(parts.train)
    given = {name: [hashes[at] for at in part] for name, part in (("train", parts.train), ("test", parts.test))}
    memo, key = _memo(), _key("words", [y], {**given, "classes": len(dataset.classes), "seed": seed})
    held = memo.get(key)
    if held is not None:
        plain, arrays = held
        return TextBaseline.of(dataset, parts.train, parts.test, terms_from(plain, arrays), arrays["probabilities"])
    words = fit_text_baseline(dataset, parts.train, parts.test, y, seed=seed)
    plain, arrays = terms_parts(words.trial)
    memo.put(key, plain, {**arrays, "probabilities": words.probabilities})
    return words


def _memo() -> ResultCache:
    return ResultCache(cache_dir() / "choices")


def _key(what: str, arrays: Sequence[NDArray[Any]], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a choice depends on: the numbers, what is asked, and the code that answers."""
    made_by = {"version": VERSION, "numpy": version("numpy"), "scipy": version("scipy")}
    numbers = [[str(array.dtype), list(array.shape), sha256(np.ascontiguousarray(array).data)] for array in arrays]
    return {"what": what, "numbers": numbers, **given, **made_by}
