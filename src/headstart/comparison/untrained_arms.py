"""The arms of a comparison: what each answers on the test examples of one split, with so many labels."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from headstart.fitting.findings import frozen_predictor, stacked_predictor
from headstart.fitting.selection import fit_baseline, select_layer_and_head
from headstart.heads.select import fit_ridge
from headstart.judge.baselines import majority_baseline
from headstart.judge.benefit.gains import FROZEN, MAJORITY, SIMPLE, START
from headstart.judge.benefit.results import Outcome
from headstart.judge.metrics import log_losses
from headstart.run.prepared import PreparedData
from headstart.sources.base import Source
from headstart.sources.layers import AUTO, POOL


def outcome(probabilities: NDArray[np.floating], y: NDArray[np.int64], seconds: float, note: str = "") -> Outcome:
    """Return what an arm without epochs answered.

    Args:
        probabilities: of shape (n, c).
        y: class ids of the test examples, of shape (n,).
        seconds: that it took.
        note: how it was run.
    """
    right = probabilities.argmax(axis=1) == y
    losses = log_losses(probabilities, y).astype(np.float32)
    return Outcome(np.zeros(1, np.int64), right[None], losses[None], np.array([seconds]), note=note)


def without_training(prepared: PreparedData, layer: str, *, seed: int, extraction: float) -> dict[str, Outcome]:
    """Return what both baselines, the frozen source and its closed-form head answer.

    Args:
        prepared: the data, its features, and the split.
        layer: where the closed-form head takes its features.
        seed: of the folds.
        extraction: seconds that the features of an example took; those of the training part count as the arm's.
    """
    train, test = prepared.parts.train, prepared.parts.test
    y, y_test = prepared.labels(train), prepared.labels(test)
    features = extraction * len(train)
    clock = time.perf_counter()
    found = {MAJORITY: outcome(majority_baseline(y, len(prepared.scan.dataset.classes), len(test)), y_test, 0.0)}
    simple = fit_baseline(prepared, seed=seed)
    found[SIMPLE] = outcome(simple.probabilities, y_test, _since(clock))
    clock = time.perf_counter()
    head = fit_ridge(prepared.features(layer, train))
    answer = head.predict_proba(prepared.features(layer, test).x)
    found[START] = outcome(answer, y_test, features + _since(clock), f"ridge on {layer}")
    clock = time.perf_counter()
    layers, choice = select_layer_and_head(prepared, seed=seed)
    frozen = frozen_predictor(prepared, layers, choice)
    if simple.text_baseline is not None:
        frozen = stacked_predictor(prepared, frozen, choice, simple.text_baseline)
    words = "" if frozen.terms is None else " + words"
    note = f"{choice.head.kind}{words} on {layers.chosen}"
    found[FROZEN] = outcome(frozen.probabilities, y_test, features + _since(clock), note)
    return found


def _since(start: float) -> float:
    return time.perf_counter() - start


def trained_layer(source: Source) -> str:
    """Return the layer whose features a network that learns is judged by: `pool`, unless another one was asked for."""
    return POOL if source.layer == AUTO else source.layer
