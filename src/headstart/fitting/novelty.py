"""The step of `fit` that learns what the training data looks like: what is unlike it, and what of it is near."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.cache import Arrays
from headstart.base.config import cache_dir
from headstart.base.mapped import beside
from headstart.base.progress import Progress
from headstart.features.extract import extract_again
from headstart.fitting.predictor import Fitted
from headstart.heads.folds import label_folds
from headstart.judge.baselines import plain_numbers
from headstart.judge.neighbours import Neighbours
from headstart.judge.novelty import MOST, THRESHOLD, Novelty, fit_novelty
from headstart.run.baseline import remembered_choice
from headstart.sources.layers import select

FOLDS = 5


def measured_novelty(
    fitted: Fitted, *, seed: int, progress: Progress
) -> tuple[Novelty | None, Neighbours | None, dict[str, Any]]:
    """Return what tells examples that are unlike the training data, and training examples that may be near one.

    Both are None where the model reads words alone. The third is what `result.json` holds of the first.
    """
    novelty = neighbours = None
    train = training_sample(fitted, seed=seed)
    x = _features(fitted, train, progress)
    if x is not None:
        novelty = _novelty(fitted, train, x, seed=seed, progress=progress)
        neighbours = _neighbours(fitted, train, x)
    return novelty, neighbours, {"known": novelty is not None, "test": share_beyond(fitted, novelty, progress)}


def _novelty(
    fitted: Fitted, train: tuple[int, ...], x: NDArray[np.float32], *, seed: int, progress: Progress
) -> Novelty | None:
    """Return what tells examples that are unlike those at `train`, of features `x` (n, d); None where none can.

    The threshold is measured on training examples that the statistics leave out in turn; where the source was tuned, on
    the test part, since the network has learned from all others.
    """
    prepared = fitted.prepared
    tuned = fitted.predictor.source.base is not None
    unseen = _features(fitted, prepared.distinct(prepared.parts.test).positions, progress) if tuned else None
    y, groups, widths = prepared.labels(train), prepared.groups(train), [b.width for b in fitted.predictor.blocks]

    def choose() -> tuple[dict[str, bool], Arrays]:
        folds = label_folds(x, y, np.ones(len(y)), folds=FOLDS, seed=seed, groups=groups).folds
        novelty = fit_novelty(x, y, widths, folds=folds, unseen=unseen)
        return {}, {} if novelty is None else novelty.to_arrays()

    numbers: list[NDArray[Any]] = [x, y] if unseen is None else [x, y, unseen]
    _, arrays = remembered_choice("novelty", numbers, {"widths": widths, "seed": seed, "groups": groups}, choose)
    return Novelty.from_arrays(arrays) if arrays else None


def training_sample(fitted: Fitted, *, seed: int) -> tuple[int, ...]:
    """Return the positions of distinct training examples, of more than `MOST` those that the seed draws."""
    every = fitted.prepared.distinct(fitted.prepared.parts.train).positions
    order = np.sort(np.random.default_rng(seed).permutation(len(every))[:MOST])
    return tuple(every[row] for row in order)


def _neighbours(fitted: Fitted, train: tuple[int, ...], x: NDArray[np.float32]) -> Neighbours:
    """Return the examples at `train`, of features `x` (n, d), which a prediction may name as near."""
    prepared = fitted.prepared
    names = [prepared.scan.dataset.examples[position].id for position in train]
    return Neighbours.of(x, prepared.labels(train), [block.width for block in fitted.predictor.blocks], names)


def share_beyond(fitted: Fitted, novelty: Novelty | None, progress: Progress) -> float | None:
    """Return the share of the test examples that lie beyond the threshold, 0..1; None where that tells nothing new."""
    if novelty is None or fitted.predictor.source.base is not None:
        return None
    tested = fitted.prepared.distinct(fitted.prepared.parts.test)
    x = _features(fitted, tested.positions, progress)
    assert x is not None
    beyond = novelty.scores(x, [block.width for block in fitted.predictor.blocks]) > THRESHOLD
    return float(beyond[tested.row_of].mean())


def _features(fitted: Fitted, positions: tuple[int, ...], progress: Progress) -> NDArray[np.float32] | None:
    """Return what the model reads of some examples, float32 of shape (n, d); None where it reads words alone."""
    prepared, predictor = fitted.prepared, fitted.predictor
    if predictor.source.any_preprocessing:
        text = prepared.scan.dataset.kind == "text"
        return None if text else plain_numbers(prepared.baseline_inputs(positions))
    if predictor.source is prepared.source:
        return prepared.features(predictor.layer, positions).x
    if predictor.source.base is None:  # with the simple baseline stacked on it
        x = prepared.features(fitted.choice.layer, positions).x
        return beside(x, plain_numbers(prepared.baseline_inputs(positions)))
    extraction = extract_again(
        prepared.scan, positions, predictor.source, cache=cache_dir(), engine=prepared.engine, progress=progress
    )
    return select(extraction.x, extraction.blocks, predictor.layer)[0][extraction.row_of]
