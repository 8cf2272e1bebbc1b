"""What names the classes of the test examples: the source as it is, or with the text baseline stacked on it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.engines.base import Block
from headstart.fitting.choices import BaselineResult, LayerSelection
from headstart.fitting.words import TextBaseline, stack_text_baseline
from headstart.heads.linear import LinearHead, softmax
from headstart.heads.select import HeadChoice
from headstart.heads.stacking import Stacking
from headstart.heads.tfidf import TfidfHead
from headstart.run.prepare import PreparedData
from headstart.sources.base import Source


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
    layers: LayerSelection
    choice: HeadChoice
    baseline: BaselineResult
    predictor: FittedPredictor


def frozen_predictor(prepared: PreparedData, layers: LayerSelection, choice: HeadChoice) -> FittedPredictor:
    """Return the predictor of the source as it was, with the chosen head."""
    test = prepared.features(layers.chosen, prepared.parts.test)
    probabilities = choice.head.predict_proba(test.x)
    return FittedPredictor(
        prepared.source, choice.head, layers.chosen, test.blocks, prepared.extraction.engine, probabilities
    )


def stacked_predictor(
    prepared: PreparedData, frozen: FittedPredictor, choice: HeadChoice, text_baseline: TextBaseline
) -> FittedPredictor:
    """Return the frozen predictor with the text baseline stacked on it where that helps; it says what that is worth."""
    stacked = stack_text_baseline(choice, text_baseline, prepared.labels(prepared.parts.train))
    if stacked.text_head is None:
        return replace(frozen, stacking=stacked.stacking)
    test = prepared.features(frozen.layer, prepared.parts.test)
    probabilities = softmax(stacked.head.scores(test.x) + stacked.text_head.scores(text_baseline.test))
    return replace(
        frozen, head=stacked.head, text_head=stacked.text_head, stacking=stacked.stacking, probabilities=probabilities
    )
