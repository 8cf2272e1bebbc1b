"""From features to a predictor: the layer, the head and the baseline that are chosen, and what names the classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.cache import Arrays
from headstart.engines.base import Block
from headstart.fitting.words import stack_text_baseline
from headstart.heads.layer_choice import choose_layer_and_head
from headstart.heads.linear import LinearHead, softmax
from headstart.heads.select import HeadChoice
from headstart.heads.stacking import Stacking
from headstart.heads.tfidf import TfidfHead
from headstart.run.baseline import BaselineResult, TextBaseline, groups_entry, remembered_choice
from headstart.run.prepare import DistinctExamples, PreparedData
from headstart.sources.base import Source
from headstart.sources.layers import AUTO


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
        **groups_entry(prepared, train),
    }

    def choose() -> tuple[dict[str, Any], Arrays]:
        return _choose(prepared, train, names, seed).to_parts()

    return HeadChoice.from_parts(*remembered_choice("choice", numbers, inputs, choose))


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
