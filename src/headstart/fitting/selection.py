"""The choice of layer and head and the simple baseline as steps of `fit`, each remembered: they are not made twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.cache import Arrays, ResultCache
from headstart.base.config import cache_dir
from headstart.base.hashing import sha256
from headstart.data.text import texts_at
from headstart.fitting.findings import BaselineResult
from headstart.fitting.words import TextBaseline, fit_text_baseline
from headstart.heads.select import HeadChoice, affordable_kinds, choose_head, choose_layer
from headstart.heads.serialization import (
    CHOICE_VERSION,
    head_choice_from_parts,
    head_choice_to_parts,
    tfidf_choice_from_parts,
    tfidf_choice_to_parts,
)
from headstart.judge.baselines import SIMPLE_BASELINES
from headstart.run.prepared import LayerSelection, PreparedData
from headstart.sources.layers import AUTO


def select_layer_and_head(prepared: PreparedData, *, seed: int) -> tuple[LayerSelection, HeadChoice]:
    """Choose the layer by leave-one-out error where it is left open, then the head by cross-validation.

    What was chosen before for the same features, labels and seed is remembered, and not chosen again.
    """
    train = prepared.parts.train
    names = [name for name in prepared.source.auto_layers if name in prepared.source.info.layers]
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

    def choose() -> tuple[dict[str, Any], Arrays]:
        layers, choice = _choose(prepared, names, seed)
        plain, arrays = head_choice_to_parts(choice)
        errors = {name: float(error) for name, error in layers.errors.items()}
        return {"layer": layers.chosen, "errors": errors, "choice": plain}, arrays

    plain, arrays = _remembered(key, choose)
    return LayerSelection(plain["layer"], plain["errors"]), head_choice_from_parts(plain["choice"], arrays)


def _choose(prepared: PreparedData, names: Sequence[str], seed: int) -> tuple[LayerSelection, HeadChoice]:
    dataset, train = prepared.scan.dataset, prepared.parts.train
    labels = prepared.labels(train)
    layer = prepared.source.layer
    if layer != AUTO or len(names) == 1:
        layer = names[0] if layer == AUTO else layer
        layers, principal = LayerSelection(layer, {}), None
    else:
        candidates = ((name, prepared.features(name, train).x) for name in names)
        layer_choice = choose_layer(candidates, labels, len(dataset.classes))
        layers, principal = LayerSelection(layer_choice.layer, dict(layer_choice.errors)), layer_choice.principal
    x = prepared.features(layers.chosen, train).x
    choice = choose_head(x, labels, dataset.classes, seed=seed, principal=principal)
    if principal is None or layers.chosen == names[0]:
        return layers, choice
    narrow = prepared.features(names[0], train).x
    present = len(np.unique(labels))
    kinds, narrow_kinds = (affordable_kinds(len(labels), min(rows.shape), present)[0] for rows in (x, narrow))
    if len(narrow_kinds) > len(kinds):
        # The wider layer leaves time for fewer kinds of head: the narrower one may end up better.
        narrow_choice = choose_head(narrow, labels, dataset.classes, seed=seed)
        if narrow_choice.log_loss < choice.log_loss:
            return LayerSelection(names[0], layers.errors), narrow_choice
    return layers, choice


def fit_baseline(prepared: PreparedData, *, seed: int) -> BaselineResult:
    """Return what the simple baseline of this kind of examples says of the test part; it too is remembered."""
    if prepared.scan.dataset.kind == "text":
        text_baseline = _fit_text_baseline(prepared, seed)
        return BaselineResult(text_baseline.probabilities, text_baseline)
    parts, c = prepared.parts, len(prepared.scan.dataset.classes)
    train, test = (prepared.baseline_inputs(part) for part in (parts.train, parts.test))
    y = prepared.labels(parts.train)
    key = _key(f"simple {prepared.scan.dataset.kind}", [train, y, test], {"classes": c, "seed": seed})
    baseline = SIMPLE_BASELINES[prepared.scan.dataset.kind]
    _, arrays = _remembered(key, lambda: ({}, {"probabilities": baseline(train, y, test, c=c, seed=seed)}))
    return BaselineResult(arrays["probabilities"])


def _fit_text_baseline(prepared: PreparedData, seed: int) -> TextBaseline:
    parts, dataset, hashes = prepared.parts, prepared.scan.dataset, prepared.scan.hashes
    train, test = texts_at(dataset, parts.train), texts_at(dataset, parts.test)
    y, c = prepared.labels(parts.train), len(dataset.classes)
    positions = {"train": parts.train, "test": parts.test}
    inputs = {name: [hashes[position] for position in part] for name, part in positions.items()}

    def choose() -> tuple[dict[str, Any], Arrays]:
        text_baseline = fit_text_baseline(train, test, y, c, seed=seed)
        plain, arrays = tfidf_choice_to_parts(text_baseline.choice)
        return plain, {**arrays, "probabilities": text_baseline.probabilities}

    plain, arrays = _remembered(_key("words", [y], {**inputs, "classes": c, "seed": seed}), choose)
    return TextBaseline(tfidf_choice_from_parts(plain, arrays), train, test, arrays["probabilities"])


def _remembered(
    key: Mapping[str, Any], choose: Callable[[], tuple[dict[str, Any], Arrays]]
) -> tuple[dict[str, Any], Arrays]:
    """Return what `choose` returned for this key before, as plain values and arrays, or what it returns now."""
    cache = ResultCache(cache_dir() / "choices")
    parts = cache.get(key)
    if parts is None:
        parts = choose()
        cache.put(key, *parts)
    return parts


def _key(what: str, arrays: Sequence[NDArray[Any]], inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a choice depends on: the numbers, the other inputs, and the code that chooses."""
    made_by = {"version": CHOICE_VERSION, "numpy": version("numpy"), "scipy": version("scipy")}
    numbers = [[str(array.dtype), list(array.shape), sha256(np.ascontiguousarray(array).data)] for array in arrays]
    return {"what": what, "numbers": numbers, **inputs, **made_by}
