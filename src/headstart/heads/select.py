"""The choice of layer, of head and of penalty: by the error on examples that the head had not seen."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.cache import Arrays
from headstart.base.errors import UsageError, list_some
from headstart.features.features import Features
from headstart.heads.closed_form import RIDGE_PENALTIES
from headstart.heads.convex import CONVEX_LOSSES
from headstart.heads.cross_validation import (
    CrossValidationTask,
    HeadTrial,
    choose_ridge_penalty,
    cross_validate,
    cross_validate_ridge,
    cross_validation_task,
    fit_coefficients,
)
from headstart.heads.folds import MAX_CLASS_RATIO, weighted_mean
from headstart.heads.linear import LinearHead, for_all_classes, probabilities_of_all_classes
from headstart.heads.principal_axes import PrincipalRows

CHOICE_VERSION = 7
"""Counts up when the code of this folder comes to choose another head for the same rows, or stores another form."""
SIMPLEST_FIRST = ("centroid", "ridge", "svm", "logistic")
MAX_OPERATIONS = 1e12  # floating point, for trying the heads fitted by steps: about half a minute on two cores
EVALUATIONS_PER_PATH = 200  # of a loss along one path of penalties, on average


@dataclass(frozen=True)
class HeadCandidate:
    """One kind of head with its best penalty."""

    kind: str  # `centroid`, `ridge`, `svm` or `logistic`
    penalty: float  # the strength of regularisation with the least log loss
    log_loss: float  # of unseen examples after calibration, in nats; classes count as `folds.class_weights` says
    standard_error: float  # of `log_loss`
    accuracy: float  # share of unseen examples whose class is predicted right, every example counted once
    seconds: float  # what trying this kind took


@dataclass(frozen=True)
class HeadChoice:
    """The head that was chosen, and what it was chosen from."""

    head: LinearHead  # fitted on all rows and calibrated
    candidates: tuple[HeadCandidate, ...]  # each kind that was tried, simplest first
    # float32 of shape (n, c), calibrated probabilities of each row by a head fitted without it (for a row whose class
    # stands nowhere else and a kind that is fitted on folds: by heads that saw it)
    out_of_fold: NDArray[np.float32]
    notes: tuple[str, ...]  # what was done otherwise than usual, one sentence each

    @property
    def log_loss(self) -> float:
        """The log loss of the chosen head on unseen examples, in nats."""
        return next(candidate.log_loss for candidate in self.candidates if candidate.kind == self.head.kind)

    def to_parts(self) -> tuple[dict[str, Any], Arrays]:
        """Return the choice as plain values and arrays: what the cache holds of it."""
        head = self.head
        plain = {
            "head": {"kind": head.kind, "penalty": float(head.penalty), "temperature": float(head.temperature)},
            "candidates": [
                {name: value if isinstance(value, str) else float(value) for name, value in asdict(candidate).items()}
                for candidate in self.candidates
            ],
            "notes": list(self.notes),
        }
        return plain, {"weight": head.weight, "bias": head.bias, "out_of_fold": self.out_of_fold}

    @classmethod
    def from_parts(cls, plain: Mapping[str, Any], arrays: Arrays) -> HeadChoice:
        """Return the choice that `to_parts` took apart."""
        head = LinearHead(**plain["head"], weight=arrays["weight"], bias=arrays["bias"])
        candidates = tuple(HeadCandidate(**candidate) for candidate in plain["candidates"])
        return cls(head, candidates, arrays["out_of_fold"], tuple(plain["notes"]))


@dataclass(frozen=True)
class LayerChoice:
    """The layer that was chosen."""

    layer: str  # its name
    errors: Mapping[str, float]  # leave-one-out squared error of ridge by layer, for targets +1 and -1
    # the rows of the chosen layer along their principal axes; `choose_head` can go on from them
    principal: PrincipalRows


def choose_layer(
    layers: Iterable[tuple[str, NDArray[np.floating]]],
    y: NDArray[np.int64],
    c: int,
    *,
    groups: Sequence[str] | None = None,
    counts: NDArray[np.int64] | None = None,
) -> LayerChoice:
    """Return the layer on which ridge regression has the least leave-one-out squared error.

    Layers are names and features of shape (n, d); a generator need hold no more than one of them at a time. Groups and
    counts are as in `choose_head`.

    Raises:
        UsageError: as `choose_head` does, and where there is no layer.
    """
    errors: dict[str, float] = {}
    best: tuple[str, PrincipalRows] | None = None
    for layer, x in layers:
        task = cross_validation_task(x, y, c, seed=0, folds=2, groups=groups, counts=counts)
        _, error = choose_ridge_penalty(task)
        if error < min(errors.values(), default=np.inf):
            best = layer, task.principal
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
    principal: PrincipalRows | None = None,
    counts: NDArray[np.int64] | None = None,
    max_operations: float = MAX_OPERATIONS,
) -> HeadChoice:
    """Return the calibrated head with the least log loss on unseen examples; the simplest one within its error.

    Each kind is tried at log-spaced penalties: ridge by its exact leave-one-out error, the others on stratified
    folds. Kinds are compared on the same folds, so that none has seen more examples than another; a simpler one
    (centroid, ridge, svm, logistic) wins when the best is better by no more than one standard error of their
    paired difference (Breiman et al. 1984).

    Args:
        x: features of shape (n, d).
        folds: how many, at least 2.
        groups: n names; examples of one group are held out together. Without it, rows of equal features are.
        principal: what `choose_layer` returned for this `x`, to spare its decomposition.
        counts: how many equal examples each row stands for, of shape (n,); None for one.
        max_operations: floating point operations for heads fitted by steps; larger data get fewer kinds and folds.

    Raises:
        UsageError: fewer than two classes with examples, a non-finite feature, or fewer than two folds.
    """
    if folds < 2:
        raise UsageError("folds must be at least 2", folds, "give a larger number")
    c = len(classes)
    kinds, affordable_folds, notes = affordable_kinds(len(x), min(x.shape), len(np.unique(y)), folds, max_operations)
    step = 2 if affordable_folds < folds else 1  # what takes long is tried at every second penalty
    task = cross_validation_task(
        x, y, c, seed=seed, folds=affordable_folds, groups=groups, principal=principal, counts=counts
    )
    notes = [*notes, *_data_notes(task, [classes[label] for label in task.present], affordable_folds)]
    trials, candidates = [], []
    for kind in kinds:
        start = time.perf_counter()
        if kind == "ridge":
            trial = cross_validate_ridge(task, RIDGE_PENALTIES[::step])
        else:
            penalties = CONVEX_LOSSES[kind].penalties[step - 1 :: step] if kind in CONVEX_LOSSES else None
            trial = cross_validate(task, kind, penalties)
        trials.append(trial)
        accuracy = float(np.average(trial.scores.argmax(axis=1) == task.y, weights=task.counts))
        seconds = time.perf_counter() - start
        candidates.append(HeadCandidate(kind, trial.penalty, trial.log_loss, trial.standard_error, accuracy, seconds))
    chosen = _simplest_within_one_standard_error(task, trials)
    out_of_fold = probabilities_of_all_classes(chosen.scores, chosen.temperature, task.present, c)
    return HeadChoice(_fit_on_all_rows(task, chosen, c), tuple(candidates), out_of_fold, tuple(notes))


def fit_ridge(
    features: Features,
    *,
    penalties: Sequence[float] = RIDGE_PENALTIES,
    groups: Sequence[str] | None = None,
    counts: NDArray[np.int64] | None = None,
) -> LinearHead:
    """Fit a linear head in closed form and keep the penalty with the best leave-one-out error.

    Penalties are L2 strengths > 0, in units of standardised features whose rows have unit length on average. The head
    has standardisation folded in and is calibrated on the left-out scores. Groups and counts are as in `choose_head`.

    Raises:
        UsageError: fewer than two classes have examples, or a feature is not finite.
    """
    c = len(features.classes)
    task = cross_validation_task(features.x, features.y, c, seed=0, folds=2, groups=groups, counts=counts)
    return _fit_on_all_rows(task, cross_validate_ridge(task, penalties, by_fold=False), c)


def fit_logistic(
    x: NDArray[np.floating],
    y: NDArray[np.int64],
    c: int,
    *,
    penalties: Sequence[float],
    seed: int,
    groups: Sequence[str] | None = None,
    counts: NDArray[np.int64] | None = None,
) -> LinearHead:
    """Fit a calibrated multinomial logistic head and keep the penalty with the least log loss on unseen examples.

    Penalties, groups, counts and errors are as in `fit_ridge`, the strongest penalty first.
    """
    task = cross_validation_task(x, y, c, seed=seed, folds=3, groups=groups, counts=counts)
    return _fit_on_all_rows(task, cross_validate(task, "logistic", penalties), c)


def refit(
    x: NDArray[np.floating],
    y: NDArray[np.int64],
    c: int,
    *,
    like: LinearHead,
    counts: NDArray[np.int64] | None = None,
) -> LinearHead:
    """Return a head of the kind, penalty and temperature of `like`, fitted on other rows.

    Counts are as in `choose_head`, errors as in `fit_ridge`.
    """
    return _fit_on_all_rows(cross_validation_task(x, y, c, seed=0, folds=2, counts=counts), like, c)


def affordable_kinds(
    n: int, k: int, c: int, folds: int = 5, max_operations: float = MAX_OPERATIONS
) -> tuple[tuple[str, ...], int, list[str]]:
    """Return the kinds of head to try, the number of folds, and a note where that is not all of them.

    There are n training examples of c classes and k features, or as many as examples where these are fewer.
    `max_operations` (floating point) are for the kinds that are fitted by steps.
    """
    path = 4 * n * k * c * EVALUATIONS_PER_PATH
    if 2 * folds * path <= max_operations:
        return SIMPLEST_FIRST, folds, []
    fewer = min(folds, 3)
    if fewer * path <= max_operations:
        note = f"With {n:,} examples the support vector machine was not tried, and {fewer} folds were used."
        return ("centroid", "ridge", "logistic"), fewer, [note]
    return ("centroid", "ridge"), fewer, [f"With {n:,} examples only nearest centroid and ridge were tried."]


def _data_notes(task: CrossValidationTask, names: Sequence[str], folds: int) -> list[str]:
    """Return a note on each property of the data that makes the choice less sure."""
    notes = []
    counts = np.bincount(task.y, task.counts).astype(np.int64)
    few = [f"{name} ({count})" for name, count in zip(names, counts, strict=True) if count < folds]
    if few:
        notes.append(f"Classes with fewer examples than the {folds} folds are hard to judge: {list_some(few, 5)}.")
    never_left_out = int(task.counts[task.folds < 0].sum())
    if never_left_out:
        notes.append(f"{never_left_out} examples are all there is of a class and were kept in every training part.")
    if counts.max() > MAX_CLASS_RATIO * counts.min():
        notes.append(
            f"The largest class has {counts.max() / counts.min():.3g} times the examples of the smallest; examples of "
            f"small classes count more, as if that ratio were {MAX_CLASS_RATIO:g}, in fitting, choice and calibration."
        )
    return notes


def _simplest_within_one_standard_error(task: CrossValidationTask, trials: Sequence[HeadTrial]) -> HeadTrial:
    """Return the first trial that the best one beats by no more than a standard error of their paired difference."""
    best = min(trials, key=lambda trial: trial.log_loss)
    for trial in trials:
        difference, standard_error = weighted_mean(trial.losses - best.losses, task.test_weights)
        if difference <= standard_error:
            return trial
    return best


def _fit_on_all_rows(task: CrossValidationTask, chosen: HeadTrial | LinearHead, c: int) -> LinearHead:
    """Return the head of the chosen kind, penalty and temperature, for raw features and all `c` classes."""
    weight, bias = task.principal.unfold(*fit_coefficients(task, chosen.kind, chosen.penalty))
    weight, bias = for_all_classes(weight, bias, task.present, c)
    return LinearHead(chosen.kind, chosen.penalty, weight, bias, chosen.temperature)
