"""The choice of layer, of head and of penalty: by the error on examples that the head had not seen."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.base.errors import UsageError, list_some
from headstart.features.features import Features
from headstart.heads import ridge
from headstart.heads.cross_validation import (
    CONVEX,
    CrossValidationTask,
    Trial,
    assign,
    best_ridge,
    check,
    fit,
    fold_trial,
    prepare,
    ridge_penalty,
)
from headstart.heads.folds import IMBALANCE
from headstart.heads.linear import LinearHead, softmax
from headstart.heads.principal_axes import Rotated

SIMPLEST_FIRST = ("centroid", "ridge", "svm", "logistic")
UNSEEN = -1e4  # score of a class without examples: its probability is 0, and no arithmetic overflows
WORK = 1e12  # floating point operations for trying the heads fitted by steps: about half a minute on two cores
EVALUATIONS = 200  # of a loss along one path of penalties, on average


@dataclass(frozen=True)
class HeadCandidate:
    """One kind of head with its best penalty.

    Attributes:
        kind: `centroid`, `ridge`, `svm` or `logistic`.
        penalty: the strength of regularisation with the least log loss.
        log_loss: of unseen examples after calibration, in nats; classes count as `parts.class_weights` says.
        standard_error: of `log_loss`.
        accuracy: share of unseen examples whose class is predicted right, every example counted once.
        seconds: what trying this kind took.
    """

    kind: str
    penalty: float
    log_loss: float
    standard_error: float
    accuracy: float
    seconds: float


@dataclass(frozen=True)
class Choice:
    """The head that was chosen, and what it was chosen from.

    Attributes:
        head: fitted on all rows and calibrated.
        candidates: each kind that was tried, simplest first.
        out_of_fold: float32 of shape (n, c), calibrated probabilities of each row by a head fitted without it (for a
            row whose class stands nowhere else and a kind that is fitted on folds: by heads that saw it).
        notes: what was done otherwise than usual, one sentence each.
    """

    head: LinearHead
    candidates: tuple[HeadCandidate, ...]
    out_of_fold: NDArray[np.float32]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class LayerChoice:
    """The layer that was chosen.

    Attributes:
        layer: its name.
        errors: leave-one-out squared error of ridge by layer, for targets +1 and -1.
        rotated: the rows of the chosen layer in principal coordinates; `choose_head` can go on from them.
    """

    layer: str
    errors: Mapping[str, float]
    rotated: Rotated


def choose_layer(
    layers: Iterable[tuple[str, NDArray[np.floating]]],
    y: NDArray[np.int64],
    c: int,
    *,
    groups: Sequence[str] | None = None,
) -> LayerChoice:
    """Return the layer on which ridge regression has the least leave-one-out squared error.

    Args:
        layers: names and features of shape (n, d); a generator need hold no more than one of them at a time.
        y: class ids of shape (n,), in 0..c-1.
        c: number of classes.
        groups: n names; examples of one group are left out together.

    Raises:
        UsageError: no layer, fewer than two classes with examples, or a non-finite feature.
    """
    errors: dict[str, float] = {}
    best: tuple[str, Rotated] | None = None
    for layer, x in layers:
        check(x, y, c)
        task = prepare(x, _present(y)[1], seed=0, folds=2, groups=groups)
        _, error = ridge_penalty(task)
        if error < min(errors.values(), default=np.inf):
            best = layer, task.rotated
        errors[layer] = error
    if best is None:
        raise UsageError("a layer must be given to choose from", "none", "name at least one")
    return LayerChoice(best[0], errors, best[1])


def choose_head(
    x: NDArray[np.floating],
    y: NDArray[np.int64],
    classes: Sequence[str],
    *,
    seed: int,
    folds: int = 5,
    groups: Sequence[str] | None = None,
    rotated: Rotated | None = None,
) -> Choice:
    """Return the calibrated head with the least log loss on unseen examples; the simplest one within its error.

    Each kind is tried at log-spaced penalties: ridge by its exact leave-one-out error, the others on stratified
    folds. Kinds are compared on the same folds, so that none has seen more examples than another; a simpler one
    (centroid, ridge, svm, logistic) wins when the best is better by no more than one standard error of their
    paired difference (Breiman et al. 1984).

    Args:
        x: features of shape (n, d).
        y: class ids of shape (n,), in 0..c-1.
        classes: the c class names.
        seed: of the folds.
        folds: how many, at least 2.
        groups: n names; examples of one group are held out together. Without it, rows of equal features are.
        rotated: what `choose_layer` returned for this `x`, to spare its decomposition.

    Raises:
        UsageError: fewer than two classes with examples, a non-finite feature, or fewer than two folds.
    """
    if folds < 2:
        raise UsageError("folds must be at least 2", folds, "give a larger number")
    check(x, y, len(classes))
    present, ids = _present(y)
    k = min(x.shape)
    kinds, folds_used, notes = affordable(len(x), k, len(present), folds)
    coarse = 2 if folds_used < folds else 1  # what takes long is tried at every second penalty
    if rotated is None:
        task = prepare(x, ids, seed=seed, folds=folds_used, groups=groups)
    else:
        task = assign(rotated, ids, seed=seed, folds=folds_used, groups=groups)
    notes = [*notes, *_noticed(task, [classes[i] for i in present], folds_used)]
    trials, candidates = [], []
    for kind in kinds:
        start = time.perf_counter()
        if kind == "ridge":
            trial = best_ridge(task, ridge.PENALTIES[::coarse])
        else:
            trial = fold_trial(task, kind, CONVEX[kind].penalties[coarse - 1 :: coarse] if kind in CONVEX else None)
        trials.append(trial)
        candidates.append(_candidate(task, trial, time.perf_counter() - start))
    chosen = _simplest(task, trials)
    head = _head(task, chosen, present, len(classes))
    return Choice(head, tuple(candidates), _probabilities(chosen, present, len(classes)), tuple(notes))


def fit_ridge(features: Features, *, penalties: Sequence[float] = ridge.PENALTIES) -> LinearHead:
    """Fit a linear head in closed form and keep the penalty with the best leave-one-out error.

    Args:
        features: n rows; `x` of shape (n, d), float32; `y` of n class ids in 0..c-1.
        penalties: L2 strengths > 0, in units of standardised features whose rows have unit length on average.

    Returns:
        A head of shape (d, c), standardisation already folded in, calibrated on the left-out scores.

    Raises:
        UsageError: fewer than two classes with examples, or a non-finite feature.
    """
    c = len(features.classes)
    check(features.x, features.y, c)
    present, ids = _present(features.y)
    task = prepare(features.x, ids, seed=0, folds=2, groups=None)
    return _head(task, best_ridge(task, penalties, by_fold=False), present, c)


def fit_logistic(
    x: NDArray[np.floating], y: NDArray[np.int64], c: int, *, penalties: Sequence[float], seed: int, folds: int = 3
) -> LinearHead:
    """Fit a calibrated multinomial logistic head and keep the penalty with the least log loss on unseen examples.

    Args:
        x: features of shape (n, d).
        y: class ids of shape (n,), in 0..c-1.
        c: number of classes.
        penalties: L2 strengths > 0, strongest first, in units of standardised features of unit length on average.
        seed: of the folds.
        folds: how many.

    Raises:
        UsageError: fewer than two classes with examples, or a non-finite feature.
    """
    check(x, y, c)
    present, ids = _present(y)
    task = prepare(x, ids, seed=seed, folds=folds, groups=None)
    return _head(task, fold_trial(task, "logistic", penalties), present, c)


def refit(x: NDArray[np.floating], y: NDArray[np.int64], c: int, *, like: LinearHead) -> LinearHead:
    """Return a head of the kind, penalty and temperature of `like`, fitted on other rows.

    Args:
        x: features of shape (n, d).
        y: class ids of shape (n,), in 0..c-1.
        c: number of classes.
        like: what was chosen before.

    Raises:
        UsageError: fewer than two classes with examples, or a non-finite feature.
    """
    check(x, y, c)
    present, ids = _present(y)
    task = prepare(x, ids, seed=0, folds=2, groups=None)
    weight, bias = task.rotated.unfold(*fit(task, like.kind, like.penalty))
    return _for_all(weight, bias, present, c, like)


def _present(y: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    present, ids = np.unique(y, return_inverse=True)
    return present, ids.astype(np.int64)


def affordable(n: int, k: int, c: int, folds: int = 5) -> tuple[tuple[str, ...], int, list[str]]:
    """Return the kinds of head to try, the number of folds, and a note where that is not all of them.

    Args:
        n: training examples.
        k: features, or examples where these are fewer.
        c: classes.
        folds: how many were asked for.
    """
    path = 4 * n * k * c * EVALUATIONS
    if 2 * folds * path <= WORK:
        return SIMPLEST_FIRST, folds, []
    fewer = min(folds, 3)
    if fewer * path <= WORK:
        said = f"With {n:,} examples the support vector machine was not tried, and {fewer} folds were used."
        return ("centroid", "ridge", "logistic"), fewer, [said]
    return ("centroid", "ridge"), fewer, [f"With {n:,} examples only nearest centroid and ridge were tried."]


def _noticed(task: CrossValidationTask, names: Sequence[str], folds: int) -> list[str]:
    """Return a note on each property of the data that makes the choice less sure."""
    notes = []
    counts = np.bincount(task.y)
    few = [f"{name} ({count})" for name, count in zip(names, counts, strict=True) if count < folds]
    if few:
        notes.append(f"Classes with fewer examples than the {folds} folds are hard to judge: {list_some(few, 5)}.")
    never = int((task.folds < 0).sum())
    if never:
        notes.append(f"{never} examples are all there is of a class and were kept in every training part.")
    if counts.max() > IMBALANCE * counts.min():
        notes.append(
            f"The largest class has {counts.max() / counts.min():.3g} times the examples of the smallest; examples of "
            f"small classes count more, as if that ratio were {IMBALANCE:g}, in fitting, choice and calibration."
        )
    return notes


def _candidate(task: CrossValidationTask, trial: Trial, seconds: float) -> HeadCandidate:
    right = trial.scores.argmax(axis=1) == task.y
    error = task.standard_error(trial.losses)
    return HeadCandidate(trial.kind, trial.penalty, trial.log_loss, error, float(right.mean()), seconds)


def _simplest(task: CrossValidationTask, trials: Sequence[Trial]) -> Trial:
    best = min(trials, key=lambda trial: trial.log_loss)
    for trial in trials:
        if task.mean(trial.losses - best.losses) <= task.standard_error(trial.losses - best.losses):
            return trial
    return best


def _head(task: CrossValidationTask, trial: Trial, present: NDArray[np.int64], c: int) -> LinearHead:
    """Return the head fitted on all rows, for raw features and all `c` classes."""
    weight, bias = task.rotated.unfold(*fit(task, trial.kind, trial.penalty))
    return _for_all(weight, bias, present, c, trial)


def _for_all(
    weight: NDArray[np.floating],
    bias: NDArray[np.floating],
    present: NDArray[np.int64],
    c: int,
    like: Trial | LinearHead,
) -> LinearHead:
    """Return the head with a score for every class, those without examples too."""
    every_weight = np.zeros((len(weight), c), np.float32)
    every_bias = np.full(c, UNSEEN, np.float32)
    every_weight[:, present], every_bias[present] = weight, bias
    return LinearHead(like.kind, like.penalty, every_weight, every_bias, like.temperature)


def _probabilities(trial: Trial, present: NDArray[np.int64], c: int) -> NDArray[np.float32]:
    every = np.zeros((len(trial.scores), c), np.float32)
    every[:, present] = softmax((trial.scores / trial.temperature).astype(np.float32))
    return every
