"""From features to a predictor: the layer, the head and the baseline that are chosen, and what names the classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.cache import Arrays, ResultCache
from headstart.base.config import cache_dir
from headstart.base.hashing import sha256
from headstart.data.text import texts_at
from headstart.engines.base import Block
from headstart.fitting.words import TextBaseline, fit_text_baseline, stack_text_baseline
from headstart.heads.layer_choice import choose_layer_and_head
from headstart.heads.linear import LinearHead, softmax
from headstart.heads.select import CHOICE_VERSION, HeadChoice
from headstart.heads.stacking import Stacking
from headstart.heads.tfidf import TfidfChoice, TfidfHead
from headstart.judge.baselines import simple_baseline
from headstart.run.prepare import DistinctExamples, PreparedData
from headstart.sources.base import Source
from headstart.sources.layers import AUTO


@dataclass(frozen=True)
class BaselineResult:
    """What needs no source: raw pixels or TF-IDF with logistic regression."""

    probabilities: NDArray[np.float32]  # float32 of shape (n, c), of the test examples
    text_baseline: TextBaseline | None = None


@dataclass(frozen=True)
class FittedPredictor:
    """What names the classes of the test examples: a source, frozen or tuned, and a head on its features."""

    source: Source
    head: LinearHead
    layer: str
    blocks: tuple[Block, ...]
    engine: str  # name and precision of the engine that made them
    probabilities: NDArray[np.float32]  # float32 of shape (n, c), of the test examples
    tuning: dict[str, Any] | None = None  # what came of tuning, in plain values; None where nothing was tuned
    notes: tuple[str, ...] = ()
    # the head on words whose scores are added to those of `head`; None where there is none
    text_head: TfidfHead | None = None
    stacking: Stacking | None = None  # what stacking the two was worth; None where it was not tried


@dataclass(frozen=True)
class Fitted:
    """Everything that a fit chose and fitted."""

    prepared: PreparedData
    choice: HeadChoice
    baseline: BaselineResult
    predictor: FittedPredictor


def remembered_choice(
    what: str,
    arrays: Sequence[NDArray[Any]],
    inputs: Mapping[str, Any],
    choose: Callable[[], tuple[dict[str, Any], Arrays]],
) -> tuple[dict[str, Any], Arrays]:
    """Return what `choose` returned before for the same numbers, inputs and code that chooses, or what it returns now.

    That is plain values and arrays.
    """
    made_by = {"version": CHOICE_VERSION, "numpy": version("numpy"), "scipy": version("scipy")}
    numbers = [[str(array.dtype), list(array.shape), sha256(np.ascontiguousarray(array).data)] for array in arrays]
    key = {"what": what, "numbers": numbers, **inputs, **made_by}
    cache = ResultCache(cache_dir() / "choices")
    parts = cache.get(key)
    if parts is None:
        parts = choose()
        cache.put(key, *parts)
    return parts


def select_layer_and_head(prepared: PreparedData, *, seed: int) -> HeadChoice:
    """Choose the head, and with it the layer where that is left open, by the log loss of unseen examples.

    What was chosen before for the same features, labels and seed is remembered, and not chosen again.
    """
    train = prepared.distinct(prepared.parts.train)
    layer, layers = prepared.source.layer, prepared.source.info.layers
    names = [name for name in prepared.source.auto_layers if name in layers] if layer == AUTO else [layer]
    rows = prepared.extraction.row_of[np.array(train.positions)]
    numbers = [prepared.extraction.x[rows], prepared.labels(train.positions), train.counts]
    inputs = {
        "classes": list(prepared.scan.dataset.classes),
        "blocks": [[block.name, block.width] for block in prepared.extraction.blocks],
        "layer": layer,
        "tried": names,
        "seed": seed,
        **_groups_entry(prepared, train),
    }

    def choose() -> tuple[dict[str, Any], Arrays]:
        return _choose(prepared, train, names, seed).to_parts()

    return HeadChoice.from_parts(*remembered_choice("choice", numbers, inputs, choose))


def _groups_entry(prepared: PreparedData, learned: DistinctExamples) -> dict[str, Any]:
    """Return what a key of remembered choices says of groups: nothing where there are none."""
    groups = prepared.groups(learned.positions)
    return {} if groups is None else {"groups": groups}


def _choose(prepared: PreparedData, distinct: DistinctExamples, names: Sequence[str], seed: int) -> HeadChoice:
    train = distinct.positions
    return choose_layer_and_head(
        ((name, prepared.features(name, train).x) for name in names),
        prepared.labels(train),
        prepared.scan.dataset.classes,
        seed=seed,
        groups=prepared.groups(train),
        counts=distinct.counts,
    )


def fit_baseline(prepared: PreparedData, *, seed: int) -> BaselineResult:
    """Return what the simple baseline of this kind of examples says of the test part; it too is remembered."""
    if prepared.scan.dataset.kind == "text":
        text_baseline = _fit_text_baseline(prepared, seed)
        rows = prepared.distinct(prepared.parts.test).row_of
        return BaselineResult(text_baseline.probabilities[rows], text_baseline)
    learned, tested = prepared.distinct(prepared.parts.train), prepared.distinct(prepared.parts.test)
    c, kind, y = len(prepared.scan.dataset.classes), prepared.scan.dataset.kind, prepared.labels(learned.positions)
    train, test = prepared.baseline_inputs(learned.positions), prepared.baseline_inputs(tested.positions)

    def choose() -> tuple[dict[str, Any], Arrays]:
        groups = prepared.groups(learned.positions)
        probabilities = simple_baseline(train, y, test, c=c, seed=seed, groups=groups, counts=learned.counts)
        return {}, {"probabilities": probabilities}

    numbers = [train, y, test, learned.counts]
    inputs = {"classes": c, "seed": seed, **_groups_entry(prepared, learned)}
    _, arrays = remembered_choice(f"simple {kind}", numbers, inputs, choose)
    return BaselineResult(arrays["probabilities"][tested.row_of])


def _fit_text_baseline(prepared: PreparedData, seed: int) -> TextBaseline:
    dataset, hashes = prepared.scan.dataset, prepared.scan.hashes
    learned, tested = prepared.distinct(prepared.parts.train), prepared.distinct(prepared.parts.test)
    train, test = texts_at(dataset, learned.positions), texts_at(dataset, tested.positions)
    y, c = prepared.labels(learned.positions), len(dataset.classes)
    positions = {"train": learned.positions, "test": tested.positions}
    inputs: dict[str, Any] = {name: [hashes[position] for position in part] for name, part in positions.items()}

    def choose() -> tuple[dict[str, Any], Arrays]:
        groups = prepared.groups(learned.positions)
        text_baseline = fit_text_baseline(train, test, y, c, seed=seed, groups=groups, copies=learned.counts)
        plain, arrays = text_baseline.choice.to_parts()
        return plain, {**arrays, "probabilities": text_baseline.probabilities}

    inputs = {**inputs, "classes": c, "seed": seed, **_groups_entry(prepared, learned)}
    plain, arrays = remembered_choice("words", [y, learned.counts], inputs, choose)
    return TextBaseline(TfidfChoice.from_parts(plain, arrays), train, test, arrays["probabilities"])


def frozen_predictor(prepared: PreparedData, choice: HeadChoice) -> FittedPredictor:
    """Return the predictor of the source as it was, with the chosen head."""
    probabilities = prepared.predict_proba(choice.head, choice.layer, prepared.parts.test)
    blocks = prepared.features(choice.layer, ()).blocks
    return FittedPredictor(
        prepared.source, choice.head, choice.layer, blocks, prepared.extraction.engine, probabilities
    )


def stacked_predictor(
    prepared: PreparedData, frozen: FittedPredictor, choice: HeadChoice, text_baseline: TextBaseline
) -> FittedPredictor:
    """Return the frozen predictor with the text baseline stacked on it where that helps; it says what that is worth."""
    stacked = stack_text_baseline(
        choice, text_baseline, prepared.labels(prepared.distinct(prepared.parts.train).positions)
    )
    if stacked.text_head is None:
        return replace(frozen, stacking=stacked.stacking)
    tested = prepared.distinct(prepared.parts.test)
    x = prepared.features(frozen.layer, tested.positions).x
    probabilities = softmax(stacked.head.scores(x) + stacked.text_head.scores(text_baseline.test))[tested.row_of]
    return replace(
        frozen, head=stacked.head, text_head=stacked.text_head, stacking=stacked.stacking, probabilities=probabilities
    )
