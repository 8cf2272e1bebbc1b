"""The arms of a comparison without training of a network: baselines, closed-form head, frozen source."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from headstart.fitting.choices import fit_baseline, select_layer_and_head
from headstart.fitting.predictor import frozen_predictor, stacked_predictor
from headstart.heads.select import fit_ridge
from headstart.judge.baselines import majority_baseline
from headstart.judge.benefit.gains import FROZEN, MAJORITY, SIMPLE, START
from headstart.judge.benefit.results import Outcome
from headstart.judge.metrics import log_losses
from headstart.run.prepare import PreparedData
from headstart.sources.base import Source
from headstart.sources.layers import AUTO, POOL


def run_untrained_arms(prepared: PreparedData, layer: str, *, seed: int, extraction: float) -> dict[str, Outcome]:
    """Return the outcomes of both baselines, of the frozen source and of its closed-form head.

    `extraction` is the seconds that the features of one example took; those of the training part count as the arm's.
    """
    train, test = prepared.parts.train, prepared.parts.test
    y, y_test = prepared.labels(train), prepared.labels(test)
    features = extraction * len(train)
    outcomes = {MAJORITY: _outcome(majority_baseline(y, len(prepared.scan.dataset.classes), len(test)), y_test, 0.0)}
    start = time.perf_counter()
    baseline = fit_baseline(prepared, seed=seed)
    outcomes[SIMPLE] = _outcome(baseline.probabilities, y_test, time.perf_counter() - start)
    start = time.perf_counter()
    head = fit_ridge(prepared.features(layer, train))
    probabilities = head.predict_proba(prepared.features(layer, test).x)
    seconds = features + time.perf_counter() - start
    outcomes[START] = _outcome(probabilities, y_test, seconds, f"ridge on {layer}")
    start = time.perf_counter()
    layers, choice = select_layer_and_head(prepared, seed=seed)
    frozen = frozen_predictor(prepared, layers, choice)
    if baseline.text_baseline is not None:
        frozen = stacked_predictor(prepared, frozen, choice, baseline.text_baseline)
    note = f"{choice.head.kind}{'' if frozen.text_head is None else ' + words'} on {layers.chosen}"
    outcomes[FROZEN] = _outcome(frozen.probabilities, y_test, features + time.perf_counter() - start, note)
    return outcomes


def _outcome(probabilities: NDArray[np.floating], y: NDArray[np.int64], seconds: float, note: str = "") -> Outcome:
    """Return the outcome of an arm without epochs, from probabilities of shape (n, c)."""
    right = probabilities.argmax(axis=1) == y
    losses = log_losses(probabilities, y).astype(np.float32)
    return Outcome(np.zeros(1, np.int64), right[None], losses[None], np.array([seconds]), note=note)


def trained_layer(source: Source) -> str:
    """Return the layer whose features the head of a network that learns gets: `pool`, unless another is named."""
    return POOL if source.layer == AUTO else source.layer
