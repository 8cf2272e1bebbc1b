"""Tuning as a step of `fit`: from the frozen answer to the tuned one, where that is better beyond its interval."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.config import cache_dir
from headstart.base.progress import Progress
from headstart.data.split import hold_out
from headstart.data.text import texts_at
from headstart.engines.environment import set_passive_omp_wait
from headstart.features.extract import extract_again
from headstart.fitting.findings import FittedPredictor
from headstart.fitting.words import TextBaseline
from headstart.fitting.words_after_tuning import TunedStackedHead, stack_after_tuning
from headstart.heads.linear import LinearHead, softmax
from headstart.heads.select import HeadChoice, fit_ridge
from headstart.judge.intervals import paired_difference
from headstart.judge.metrics import METRICS, evaluate
from headstart.run.prepared import LayerSelection, PreparedData
from headstart.run.trainable import as_network
from headstart.sources.layers import JOINED, POOL, select
from headstart.tune.settings import Settings
from headstart.tune.training.trackers import open_trackers

if TYPE_CHECKING:
    from headstart.tune.result import Tuning

HELD_OUT = 0.2
"""Share of the train part that judges tuning, where the data has no validation part of its own."""


def tuned_predictor(
    prepared: PreparedData,
    layers: LayerSelection,
    choice: HeadChoice,
    frozen: FittedPredictor,
    settings: Settings,
    *,
    text_baseline: TextBaseline | None,
    seed: int,
    checkpoints: Path | None,
    progress: Progress,
) -> FittedPredictor:
    """Return the tuned answer where it is kept, else the frozen one; either says what came of tuning.

    Args:
        prepared: the data and its features.
        layers: the layer that was chosen.
        choice: the head that was chosen.
        frozen: what the source as it is answers.
        settings: how to tune.
        text_baseline: of texts, where there is one.
        seed: of everything that is drawn.
        checkpoints: folder for what a run that is stopped goes on from; None keeps nothing.
        progress: where to show progress.

    Raises:
        SourceError: the source has no torch network that could learn.
        UsageError: it has no such stages, a checkpoint is of another run, or a batch does not fit in memory.
    """
    source, dataset, hashes = prepared.source, prepared.scan.dataset, prepared.scan.hashes
    network = as_network(prepared, "--tune")
    set_passive_omp_wait()
    from headstart.tune.problem import TuningProblem
    from headstart.tune.search import tune

    watchers = open_trackers(tensorboard=settings.tensorboard, track=settings.track, progress=progress)
    learn, judge = prepared.parts.train, prepared.parts.validation
    held_out = not judge
    if held_out:
        learn, judge = hold_out(dataset, hashes, learn, share=HELD_OUT, seed=seed)

    def ground(layer: str, head: LinearHead) -> TuningProblem:
        return TuningProblem(
            dataset=dataset,
            keys=hashes,
            train_positions=learn,
            validation_positions=judge,
            y_train=prepared.labels(learn),
            y_validation=prepared.labels(judge),
            source=network,
            layer=layer,
            head=head,
            x_train=prepared.features(layer, learn).x,
            x_validation=prepared.features(layer, judge).x,
            c=len(dataset.classes),
            cache=cache_dir(),
            held_out=held_out,
        )

    pooled = None
    if layers.chosen == JOINED and POOL in layers.errors:  # where nobody asked for it
        pooled = ground(POOL, fit_ridge(prepared.features(POOL, prepared.parts.train)))
    identity = {
        "data": prepared.scan.fingerprint,
        "source": source.info.sha256,
        "layer": layers.chosen,
        "examples": [len(learn), len(judge), len(prepared.parts.test)],
    }
    stands_on = ground(layers.chosen, choice.head)
    tuning = tune(
        stands_on,
        settings,
        pooled_problem=pooled,
        seed=seed,
        folder=checkpoints,
        identity=identity,
        trackers=watchers,
        progress=progress,
    )
    stacked = None
    if (
        text_baseline
        and frozen.terms
        and frozen.joined
        and tuning.head is not None
        and tuning.validation_probabilities is not None
    ):
        tuned = (tuning.head, tuning.validation_probabilities)
        stacked = stack_after_tuning(prepared, stands_on, text_baseline, frozen.joined, tuned)
    return _answer(prepared, frozen, tuning, stacked, seed=seed, progress=progress)


def _answer(
    prepared: PreparedData,
    frozen: FittedPredictor,
    tuning: Tuning,
    stacked: TunedStackedHead | None,
    *,
    seed: int,
    progress: Progress,
) -> FittedPredictor:
    said = {**tuning.as_dict(), "test": {"frozen": _measured(prepared, frozen.probabilities, seed)}}
    if tuning.source is None or tuning.head is None:
        return replace(frozen, tuning=said, notes=tuning.notes)
    head, terms = tuning.head, None
    if stacked is not None:
        said["words"] = stacked.as_dict()
        if not stacked.improves:
            return replace(frozen, tuning={**said, "kept": False}, notes=(*tuning.notes, stacked.note))
        head, terms = stacked.head, stacked.text_head
    dataset, test = prepared.scan.dataset, prepared.parts.test
    extraction = extract_again(
        prepared.scan, test, tuning.source, cache=cache_dir(), engine=prepared.engine, progress=progress
    )
    x, blocks = select(extraction.x, extraction.blocks, tuning.layer)
    scores = head.scores(x)
    if terms is not None:
        scores = scores + terms.scores(texts_at(dataset, test))
    probabilities = softmax(scores / np.float32(head.temperature))
    said["test"]["tuned"] = _measured(prepared, probabilities, seed)
    y = prepared.labels(test)
    right, before = (found.argmax(axis=1) == y for found in (probabilities, frozen.probabilities))
    said["test"]["difference"] = paired_difference(right, before, seed=seed).as_dict()
    return FittedPredictor(
        tuning.source,
        head,
        tuning.layer,
        blocks,
        extraction.engine,
        probabilities,
        said,
        tuning.notes,
        terms,
        frozen.joined,
    )


def _measured(prepared: PreparedData, probabilities: NDArray[np.float32], seed: int) -> dict[str, Any]:
    """Return the metrics of one answer on the test part."""
    y = prepared.labels(prepared.parts.test)
    measured = evaluate(probabilities, y, prepared.scan.dataset.classes, seed=seed)
    return {name: measured[name] for name in METRICS}
