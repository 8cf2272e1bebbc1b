"""Tuning as a step of `fit`: from the frozen predictor to the tuned one, where that is better beyond its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
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
from headstart.fitting.predictor import Fitted, FittedPredictor
from headstart.fitting.words import TunedStackedHead, rows_of_held_out, stack_after_tuning
from headstart.heads.linear import LinearHead, softmax
from headstart.heads.select import fit_ridge
from headstart.heads.stacking import unseen_losses
from headstart.judge.intervals import paired_difference
from headstart.judge.metrics import METRICS, evaluate
from headstart.run.prepare import PreparedData, as_network
from headstart.sources.base import Source
from headstart.sources.layers import JOINED, POOL, select
from headstart.tune.settings import Settings
from headstart.tune.training.trackers import Tracker, open_trackers

if TYPE_CHECKING:
    from headstart.tune.inputs.base import DecodedCache
    from headstart.tune.problem import TuningProblem
    from headstart.tune.result import Tuning
    from headstart.tune.training.task import EpochCallback

HELD_OUT = 0.2  # share of the train part that judges tuning, where the data has no validation part of its own


def tuned_predictor(
    fitted: Fitted,
    settings: Settings,
    *,
    seed: int,
    checkpoints: Path | None,
    progress: Progress,
    trackers: Sequence[Tracker] = (),
    on_epoch: EpochCallback | None = None,
    decoded_cache: DecodedCache | None = None,
) -> FittedPredictor:
    """Return the tuned predictor where it is kept, else the frozen one; either says what came of tuning.

    Without trackers there are those of the settings; `on_epoch` gets the scores of the test part while the final model
    learns from all training examples. It is only there where the data has no validation part.

    SourceError: the source has no torch network that could learn. UsageError: it has no such stages, a checkpoint is of
    another run, or a batch does not fit in memory.
    """
    prepared, choice, frozen = fitted.prepared, fitted.choice, fitted.predictor
    network = as_network(prepared, "--tune")
    set_passive_omp_wait()
    from headstart.tune.search import tune

    trackers = trackers or open_trackers(tensorboard=settings.tensorboard, track=settings.track, progress=progress)
    problem_of = partial(_problem, prepared, network, training_and_validation(prepared, seed))
    layer, head = choice.start
    if "," in layer:  # asked for by name; a network that learns reads one of them
        layer = layer.partition(",")[0]
        head = _ridge_on(prepared, layer)
    problem = problem_of(layer, head)
    pooled = None
    if layer == JOINED and POOL in {candidate.layer for candidate in choice.candidates}:  # where nobody asked for it
        pooled = problem_of(POOL, _ridge_on(prepared, POOL))
    tuning = tune(
        problem,
        settings,
        pooled_problem=pooled,
        seed=seed,
        folder=checkpoints,
        identity={
            "data": prepared.scan.fingerprint,
            "source": prepared.source.info.sha256,
            "layer": layer,
            "examples": [len(problem.train_positions), len(problem.validation_positions), len(prepared.parts.test)],
        },
        trackers=trackers,
        followed=None if on_epoch is None else (prepared.parts.test, prepared.labels(prepared.parts.test), on_epoch),
        decoded_cache=decoded_cache,
        progress=progress,
    )
    text_baseline, stacked = fitted.baseline.text_baseline, None
    probabilities = tuning.validation_probabilities
    if text_baseline and frozen.text_head and frozen.stacking and tuning.head is not None and probabilities is not None:
        stacked = stack_after_tuning(prepared, problem, text_baseline, frozen.stacking, (tuning.head, probabilities))
    if (reason := mean_is_better(fitted, problem, probabilities)) is not None:
        tuning = replace(tuning, source=None, head=None, notes=(*tuning.notes, reason))
    return _kept_predictor(fitted, tuning, stacked, seed=seed, progress=progress)


def mean_is_better(fitted: Fitted, problem: TuningProblem, tuned: NDArray[np.float32] | None) -> str | None:
    """Return why the frozen source stands where the mean of two heads on it, of which tuning began with one, is better.

    `tuned` are the tuned probabilities (m, c) of the examples that evaluated tuning; None where tuning is not kept.
    """
    if fitted.choice.first is None or tuned is None:
        return None
    prepared, choice, y = fitted.prepared, fitted.choice, problem.y_validation
    if problem.held_out:
        frozen = choice.out_of_fold[rows_of_held_out(prepared, problem.validation_positions)]
    else:
        frozen = choice.head.predict_proba(prepared.features(choice.layer, problem.validation_positions).x)
    before, after = (float(unseen_losses([each], [1.0], y).mean()) for each in (frozen, tuned))
    if after < before:
        return None
    return (
        f"Tuning was not kept: its log loss is {after:.3f} where that of the mean of two heads on the frozen source is "
        f"{before:.3f}; the model is the frozen one."
    )


def training_and_validation(prepared: PreparedData, seed: int) -> tuple[tuple[int, ...], tuple[int, ...], bool]:
    """Return positions of the training and the validation examples, and whether the latter were held out."""
    train, validation = prepared.parts.train, prepared.parts.validation
    if validation:
        return train, validation, False
    return (*hold_out(prepared.scan.dataset, prepared.scan.hashes, train, share=HELD_OUT, seed=seed), True)


def _ridge_on(prepared: PreparedData, layer: str) -> LinearHead:
    train = prepared.distinct(prepared.parts.train)
    features, groups = prepared.features(layer, train.positions), prepared.groups(train.positions)
    return fit_ridge(features, groups=groups, counts=train.counts)


def _problem(
    prepared: PreparedData,
    network: Source,
    division: tuple[tuple[int, ...], tuple[int, ...], bool],
    layer: str,
    head: LinearHead,
) -> TuningProblem:
    """Return what is tuned: the network from `head` on, with its features at `layer`."""
    from headstart.tune.problem import TuningProblem

    train, validation, held_out = division
    x, _ = select(prepared.extraction.x, prepared.extraction.blocks, layer)
    return TuningProblem(
        dataset=prepared.scan.dataset,
        keys=prepared.scan.hashes,
        train_positions=train,
        validation_positions=validation,
        y_train=prepared.labels(train),
        y_validation=prepared.labels(validation),
        source=network,
        layer=layer,
        head=head,
        x=x,
        row_of=prepared.extraction.row_of,
        c=len(prepared.scan.dataset.classes),
        cache=cache_dir(),
        held_out=held_out,
    )


def _kept_predictor(
    fitted: Fitted, tuning: Tuning, stacked: TunedStackedHead | None, *, seed: int, progress: Progress
) -> FittedPredictor:
    """Return the tuned predictor, or the frozen one where tuning is not kept, with what came of tuning."""
    prepared, frozen = fitted.prepared, fitted.predictor
    summary = {**tuning.as_dict(), "test": {"frozen": _test_metrics(prepared, frozen.probabilities, seed)}}
    if tuning.source is None or tuning.head is None:
        return replace(frozen, tuning=summary, notes=tuning.notes)
    head, text_head = tuning.head, None
    if stacked is not None:
        summary["words"] = stacked.as_dict()
        if not stacked.improves:
            return replace(frozen, tuning={**summary, "kept": False}, notes=(*tuning.notes, stacked.note))
        head, text_head = stacked.head, stacked.text_head
    dataset, test = prepared.scan.dataset, prepared.parts.test
    extraction = extract_again(
        prepared.scan, test, tuning.source, cache=cache_dir(), engine=prepared.engine, progress=progress
    )
    x, blocks = select(extraction.x, extraction.blocks, tuning.layer)
    scores = head.scores(x)[extraction.row_of]
    if text_head is not None:
        tested = prepared.distinct(test)
        scores = scores + text_head.scores(texts_at(dataset, tested.positions))[tested.row_of]
    probabilities, y = softmax(scores / np.float32(head.temperature)), prepared.labels(test)
    correct, frozen_correct = (each.argmax(axis=1) == y for each in (probabilities, frozen.probabilities))
    summary["test"] |= {
        "tuned": _test_metrics(prepared, probabilities, seed),
        "difference": paired_difference(correct, frozen_correct, seed=seed, clusters=prepared.clusters(test)).as_dict(),
    }
    return FittedPredictor(
        source=tuning.source,
        head=head,
        layer=tuning.layer,
        blocks=blocks,
        engine=extraction.engine,
        probabilities=probabilities,
        tuning=summary,
        notes=tuning.notes,
        text_head=text_head,
        stacking=frozen.stacking,
    )


def _test_metrics(prepared: PreparedData, probabilities: NDArray[np.float32], seed: int) -> dict[str, Any]:
    """Return the metrics of probabilities (n, c) of the test part."""
    test, classes = prepared.parts.test, prepared.scan.dataset.classes
    metrics = evaluate(probabilities, prepared.labels(test), classes, seed=seed, clusters=prepared.clusters(test))
    return {name: metrics[name] for name in METRICS}
