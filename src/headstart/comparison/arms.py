"""The arms of a comparison: baselines, frozen source, and, trained, the network from random weights and tuned."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.config import cache_dir
from headstart.base.errors import SourceError
from headstart.base.progress import Progress
from headstart.comparison.curve import TestCurve, TestTracker, outcome_of
from headstart.data.audio.spectrogram import AudioPreprocessing
from headstart.data.images.preprocessing import Preprocessing
from headstart.data.split import hold_out
from headstart.engines.base import Block
from headstart.engines.environment import set_passive_omp_wait
from headstart.features.extract import extract_again
from headstart.features.features import Features
from headstart.fitting.predictor import Fitted, select_layer_and_head, source_predictor
from headstart.heads.select import fit_ridge
from headstart.judge.baselines import majority_baseline
from headstart.judge.benefit.gains import FROZEN, MAJORITY, SCRATCH, SIMPLE, START, TUNED
from headstart.judge.benefit.results import Outcome, measured_epochs
from headstart.run.baseline import BaselineResult, fit_baseline
from headstart.run.prepare import PreparedData, as_network
from headstart.sources.base import Source
from headstart.sources.layers import AUTO, POOL, select
from headstart.sources.registry import open_source
from headstart.tune.training.trackers import Tracker

if TYPE_CHECKING:
    from headstart.tune.inputs.base import DecodedCache
    from headstart.tune.problem import TrialConfig, TuningProblem
    from headstart.tune.training.task import TrainResult
    from headstart.tune.trial import TuningTrial

RATE_DIVISOR, MAX_ATTEMPTS = 3.0, 3
"""A run whose loss explodes starts again at a rate so many times lower; so many runs at most."""
FLIP_SHARE = 0.25  # the share of the labels on which it is decided whether a mirrored picture keeps its label
LEARNING_SHARE = 0.6  # of the seconds of a run, what learning has at least, however long measuring takes
TIMED = 16  # the examples that an arm learns from, and is measured on, for its costs
STATISTICS_BATCH, STATISTICS_PICTURES = 32, 512
"""The pictures of a batch over which BatchNorm's first statistics are taken, and at most so many in all."""


def run_untrained_arms(
    prepared: PreparedData, layer: str, *, seed: int, extraction: float, now: Callable[[], float] = time.perf_counter
) -> dict[str, Outcome]:
    """Return the outcomes of both baselines, of the frozen source and of its closed-form head.

    `extraction` is the seconds that the features of one example took; those of the training part count as the arm's.
    """
    train, test = prepared.parts.train, prepared.parts.test
    y, y_test = prepared.labels(train), prepared.labels(test)
    features = extraction * len(train)
    outcomes = {MAJORITY: outcome_of(majority_baseline(y, len(prepared.scan.dataset.classes), len(test)), y_test, 0.0)}
    start = now()
    baseline = fit_baseline(prepared, seed=seed)
    outcomes[SIMPLE] = outcome_of(baseline.probabilities, y_test, now() - start)
    start, learned = now(), prepared.distinct(train)
    groups = prepared.groups(learned.positions)
    head = fit_ridge(prepared.features(layer, learned.positions), groups=groups, counts=learned.counts)
    probabilities = prepared.predict_proba(head, layer, test)
    outcomes[START] = outcome_of(probabilities, y_test, features + now() - start, f"ridge on {layer}")
    start = now()
    frozen = fit_frozen(prepared, seed=seed, baseline=baseline)
    head_kind = f"{frozen.choice.head.kind}{'' if frozen.predictor.text_head is None else ' + words'}"
    outcomes[FROZEN] = outcome_of(
        frozen.predictor.probabilities, y_test, features + now() - start, f"{head_kind} on {frozen.choice.layer}"
    )
    return outcomes


def fit_frozen(prepared: PreparedData, *, seed: int, baseline: BaselineResult | None = None) -> Fitted:
    """Return the frozen source as `fit` fits it, from which it tunes; what was chosen before is remembered."""
    baseline = baseline or fit_baseline(prepared, seed=seed)
    choice = select_layer_and_head(prepared, seed=seed)
    return Fitted(prepared, choice, baseline, source_predictor(prepared, choice, baseline))


def trained_layer(source: Source) -> str:
    """Return the layer whose features the head of a network that learns gets: `pool`, unless another is named.

    Of layers side by side it is the first.
    """
    return POOL if source.layer == AUTO else source.layer.partition(",")[0]


@dataclass(frozen=True)
class Costs:
    """Measured seconds of an arm at one size: of beginning a run, and of an example learned from and measured."""

    begin: float
    learn: float
    measure: float


@dataclass(frozen=True)
class ArmConfig:
    """How an arm learns."""

    arm: str  # `scratch` or `tuned`
    mode: str  # which weights learn: `all`, or a mode of tuning
    size: int
    horizontal_flip: bool
    pace: float  # each epoch after which it is measured is so many times the one before
    epochs: int
    batch_size: int = TIMED
    seconds: float | None = None  # for the whole run; None for as many as its epochs need
    measuring: float = 0.0  # of them, those that measuring is planned to take
    name: str = ""


def train_arm(
    prepared: PreparedData,
    source: Source,
    config: ArmConfig,
    *,
    seed: int,
    decoded_cache: DecodedCache,
    trackers: Sequence[Tracker] = (),
    progress: Progress,
    shown: Progress | None = None,
    now: Callable[[], float] = time.perf_counter,
) -> tuple[TestCurve, Outcome]:
    """Train an arm from a head in closed form on, and return its predictions on the test examples after some epochs.

    It learns from every label: none is held out, for no choice is made. What counts is where the curve ends.

    Args:
        trackers: get the numbers of each epoch, and of those that were measured the accuracy on the test part.
        shown: where its steps are shown; by default in `progress`, which gets what a person must know.

    Raises:
        SourceError: the source has no such stages.
        UsageError: a batch does not fit in memory.
    """
    set_passive_omp_wait()
    start = now()
    shown = shown or progress
    sized = _at_size(source, config.size)
    if config.arm == SCRATCH:
        sized = with_batchnorm_statistics(sized, prepared)
    problem = tuning_problem(prepared, sized)
    decode_all(decoded_cache, problem, shown)
    trial_config, name = _trial_config(config, sized, seed), config.name or config.arm
    for attempt in range(1, MAX_ATTEMPTS + 1):
        trial, began = _open_trial(problem, trial_config, decoded_cache, shown), now()
        curve = TestCurve(problem.y_validation, measured_epochs(config.epochs, config.pace), now)
        learning = None
        if config.seconds is not None:
            left = max(0.0, config.seconds - (began - start))
            learning = max(left - config.measuring, LEARNING_SHARE * left)
            curve.allowance = left - learning
        run = trial.run(
            budget=learning,
            folder=None,
            identity={"arm": config.arm},
            trackers=[TestTracker(tracker, curve) for tracker in trackers],
            on_epoch=curve.record,
            name=name,
        )
        seconds = now() - began
        if run.stop_reason != "exploded" or attempt == MAX_ATTEMPTS or (learning and left < 3 * seconds):
            break
        rate = trial_config.recipe.learning_rate / RATE_DIVISOR
        trial_config = replace(trial_config, recipe=replace(trial_config.recipe, learning_rate=rate))
        progress.say(f"{name}: the loss exploded; the run starts again at a learning rate of {rate:.1e}")
    curve.seconds = {epoch: seconds + began - start for epoch, seconds in curve.seconds.items()}
    note = _note(config, sized, run, rate=trial_config.recipe.learning_rate if attempt > 1 else None)
    return curve, curve.outcome(cut=len(run.history) - 1 < config.epochs, note=note)


def measured_costs(
    prepared: PreparedData,
    source: Source,
    mode: str,
    size: int,
    *,
    epochs: int = 3,
    now: Callable[[], float] = time.perf_counter,
) -> Costs:
    """Return what an arm costs at a size, measured in a few steps of it on a few examples."""
    parts = prepared.parts
    train, test = (part[:: max(1, len(part) // TIMED)][:TIMED] for part in (parts.train, parts.test))
    few = replace(prepared, parts=replace(parts, train=train, test=test))
    arm = SCRATCH if mode == SCRATCH else TUNED
    config = ArmConfig(arm, "all" if mode == SCRATCH else mode, size, horizontal_flip=False, pace=1.0, epochs=epochs)
    curve, _ = train_arm(few, source, config, seed=0, decoded_cache={}, progress=Progress(), now=now)
    points = list(curve.seconds.values())
    learn = min((after - before for before, after in pairwise(points[1:])), default=points[-1] - points[0])
    return Costs(points[0], learn / len(train), min(curve.durations) / len(test))


def _open_trial(
    problem: TuningProblem, config: TrialConfig, decoded_cache: DecodedCache, progress: Progress
) -> TuningTrial:
    from headstart.tune.training.task import default_device
    from headstart.tune.trial import TuningTrial

    return TuningTrial(problem, config, decoded_cache=decoded_cache, device=default_device(), progress=progress)


def _note(config: ArmConfig, source: Source, run: TrainResult, *, rate: float | None) -> str:
    """Return how the arm was run; `rate` is the learning rate, where it was lowered."""
    preprocessing = source.preprocessing
    unit = "bands and frames" if isinstance(preprocessing, AudioPreprocessing) else "px"
    size = ""
    if isinstance(preprocessing, Preprocessing):
        size = f", {preprocessing.size[0]} x {preprocessing.size[1]} {unit}"
    weights = "every weight" if config.mode == "all" else f"--tune {config.mode}"
    done = len(run.history) - 1
    planned = f" of the {config.epochs} it was meant to have" if done < config.epochs else ""
    end = ", after which its loss exploded" if run.stop_reason == "exploded" else ""
    lowered = f", at a rate of {rate:.1e}, for at a higher one its loss exploded" if rate is not None else ""
    return f"{weights}{size}, {done} epoch{'' if done == 1 else 's'}{planned}{end}{lowered}"


def _at_size(source: Source, size: int) -> Source:
    """Return the source for pictures of another size."""
    preprocessing = source.preprocessing
    if not isinstance(preprocessing, Preprocessing) or not size or preprocessing.size == (size, size):
        return source
    return source.with_weights({}, preprocessing.at_side(size))


def _trial_config(config: ArmConfig, source: Source, seed: int) -> TrialConfig:
    from headstart.tune.inputs.by_modality import learning_rate_of
    from headstart.tune.problem import TrialConfig
    from headstart.tune.training.task import Recipe

    scratch = config.arm == SCRATCH
    recipe = Recipe(
        epochs=config.epochs,
        learning_rate=learning_rate_of(source, SCRATCH if scratch else config.mode),
        batch_size=config.batch_size,
        patience=config.epochs,
        keep_last=True,
        seed=seed,
    )
    return TrialConfig(
        mode=config.mode,
        horizontal_flip=config.horizontal_flip,
        train_batchnorm=scratch,
        layer_decay=1.0 if scratch else TrialConfig.layer_decay,
        recipe=recipe,
    )


def tuning_problem(prepared: PreparedData, source: Source) -> TuningProblem:
    """Return the problem of an arm: all labels to learn from, the test part beside, a ridge head on its features."""
    from headstart.tune.problem import TuningProblem

    parts, dataset = prepared.parts, prepared.scan.dataset
    layer, learned = trained_layer(source), prepared.distinct(parts.train)
    x, blocks, row_of = _features(prepared, source, layer)
    y = prepared.labels(learned.positions)
    ids = tuple(dataset.examples[position].id for position in learned.positions)
    features = Features(x[row_of[list(learned.positions)]], y, ids, dataset.classes, blocks, "")
    return TuningProblem(
        dataset=dataset,
        keys=prepared.scan.hashes,
        train_positions=parts.train,
        validation_positions=parts.test,
        y_train=prepared.labels(parts.train),
        y_validation=prepared.labels(parts.test),
        source=source,
        layer=layer,
        head=fit_ridge(features, groups=prepared.groups(learned.positions), counts=learned.counts),
        x=x,
        row_of=row_of,
        c=len(dataset.classes),
        cache=cache_dir(),
    )


def _features(
    prepared: PreparedData, source: Source, layer: str
) -> tuple[NDArray[np.float32], tuple[Block, ...], NDArray[np.intp]]:
    """Return features (k, d) at a layer, their blocks, and the row of each example of the data set.

    They are those at hand for the source as it is, else those of the labelled examples, computed and not kept; the row
    of any other example is then -1.
    """
    if source is prepared.source:
        extraction = prepared.extraction
        return *select(extraction.x, extraction.blocks, layer), extraction.row_of
    train = prepared.parts.train
    extraction = extract_again(prepared.scan, train, source.at(layer), cache=cache_dir(), engine="torch", keep=False)
    row_of = np.full(len(prepared.scan.dataset), -1, np.intp)
    row_of[list(train)] = extraction.row_of
    return *select(extraction.x, extraction.blocks, layer), row_of


def decode_all(decoded_cache: DecodedCache, problem: TuningProblem, progress: Progress) -> None:
    """Put every picture of the data into the cache, decoded once at each size; texts are cut into tokens again."""
    from headstart.tune.inputs.images import decoded_pictures

    dataset, preprocessing = problem.dataset, problem.source.preprocessing
    if isinstance(preprocessing, Preprocessing):
        decoded_pictures(decoded_cache, problem, range(len(dataset)), preprocessing, progress=progress)


def horizontal_flip_keeps_labels(prepared: PreparedData, source: Source) -> bool:
    """Return whether the source still knows the examples when they are mirrored, judged on a part of the labels."""
    import torch

    from headstart.tune.frozen_checks import flip_keeps_labels

    parts, scanned = prepared.parts, prepared.scan
    train, validation = hold_out(scanned.dataset, scanned.hashes, parts.train, share=FLIP_SHARE, seed=0)
    if not validation:
        return False
    problem = tuning_problem(replace(prepared, parts=replace(parts, train=train, test=validation)), source)
    x, _ = select(prepared.extraction.x, prepared.extraction.blocks, problem.layer)
    return flip_keeps_labels(replace(problem, x=x, row_of=prepared.extraction.row_of), torch.device("cpu"))


def random_network(prepared: PreparedData, *, seed: int) -> Source:
    """Return the network of the data's source with random weights.

    Raises:
        SourceError: it is no network that could learn, or its architecture is not known.
    """
    source = prepared.source
    own = source.anew(seed)
    if own is not None:
        return as_network(prepared, "training", own)
    if source.opened is None:
        raise SourceError(
            "scratch needs a source that was opened by its URI", source.info.uri, "give the URI, or leave scratch out"
        )
    return as_network(prepared, "scratch", open_source(**{**source.opened, "weights": "none", "seed": seed}))


def with_batchnorm_statistics(source: Source, prepared: PreparedData) -> Source:
    """Return a network whose BatchNorm has the statistics of the labelled pictures; no weight has learned.

    Random weights have no statistics: in training mode the network gives other features than those that a head was
    fitted on in inference mode.
    """
    import torch

    from headstart.sources.networks.tapped import Tapped
    from headstart.tune.network.param_groups import has_statistics, statistics_of

    preprocessing = source.preprocessing
    if not isinstance(preprocessing, Preprocessing):
        return source
    body = copy.deepcopy(source.module())
    norms: Any = {name: module for name, module in body.named_modules() if has_statistics(module)}
    if not norms:
        return source
    for module in norms.values():
        module.reset_running_stats()
        module.momentum = None  # the mean over all batches
        module.training = True
    network = Tapped(body, preprocessing, source.taps[:1])
    dataset, train = prepared.scan.dataset, prepared.parts.train
    positions = train[:: -(-len(train) // STATISTICS_PICTURES)]
    with torch.inference_mode():
        for start in range(0, len(positions), STATISTICS_BATCH):
            batch = [dataset.read(position) for position in positions[start : start + STATISTICS_BATCH]]
            network(torch.from_numpy(np.asarray(source.prepare_all(batch))))
    statistics = statistics_of(body, list(norms))
    return source.with_weights({name.removeprefix("body."): tensor.numpy() for name, tensor in statistics.items()})
