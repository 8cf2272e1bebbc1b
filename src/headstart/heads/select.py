"""The choice of head and of penalty: by the error on examples that the head had not seen."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.cache import Arrays
from headstart.base.errors import UsageError, list_some
from headstart.base.progress import Step
from headstart.features.features import Features
from headstart.heads.closed_form import RIDGE_PENALTIES
from headstart.heads.convex import CONVEX_LOSSES
from headstart.heads.cross_validation import (
    CrossValidationTask,
    HeadTrial,
    cross_validate,
    cross_validate_ridge,
    cross_validation_task,
    fit_coefficients,
    gain_over,
)
from headstart.heads.folds import MAX_CLASS_RATIO, LabelledFolds
from headstart.heads.linear import LinearHead, for_all_classes, probabilities_of_all_classes
from headstart.heads.principal_axes import PrincipalRows

CHOICE_VERSION = 10
"""Counts up when the code of this folder comes to choose another head for the same rows, or stores another form."""
FOLDS = 5
KINDS = ("centroid", "ridge", "svm", "logistic")
MAX_OPERATIONS = 1e12  # floating point, for trying the heads fitted by steps: about half a minute on two cores
EVALUATIONS_PER_PATH = 200  # of a loss along one path of penalties, on average


@dataclass(frozen=True)
class HeadCandidate:
    """One kind of head on one layer, with its best penalty; or the mean of two such heads."""

    kind: str  # `centroid`, `ridge`, `svm` or `logistic`; of a mean, those of both
    penalty: float  # the strength of regularisation with the least log loss
    log_loss: float  # of unseen examples after calibration, in nats; classes count as `folds.class_weights` says
    standard_error: float  # of `log_loss`
    accuracy: float  # share of unseen examples whose class is predicted right, every example counted once
    seconds: float  # what trying this kind took
    layer: str = ""  # the layer that it reads, of a mean both with `,` between; empty where there is but one


OnCandidate = Callable[[HeadCandidate], None]
"""What is called with each candidate once it was tried."""


@dataclass(frozen=True)
class HeadChoice:
    """The head that was chosen, and what it was chosen from."""

    head: LinearHead  # fitted on all rows and calibrated
    candidates: tuple[HeadCandidate, ...]  # each kind that was tried, simplest first
    # float32 of shape (n, c), calibrated probabilities of each row by a head fitted without it (for a row whose class
    # stands nowhere else and a kind that is fitted on folds: by heads that saw it)
    out_of_fold: NDArray[np.float32]
    notes: tuple[str, ...]  # what was done otherwise than usual, one sentence each
    layer: str = ""  # the layer that the head reads; of a mean of two heads, both with `,` between
    # of a mean of two heads the layer of the better one and that head, which tuning starts from; None of one head
    first: tuple[str, LinearHead] | None = None

    @property
    def log_loss(self) -> float:
        """The log loss of the chosen head on unseen examples, in nats."""
        return next(
            candidate.log_loss
            for candidate in self.candidates
            if (candidate.kind, candidate.layer) == (self.head.kind, self.layer)
        )

    @property
    def start(self) -> tuple[str, LinearHead]:
        """The layer and the head that tuning starts from."""
        return self.first or (self.layer, self.head)

    def to_parts(self) -> tuple[dict[str, Any], Arrays]:
        """Return the choice as plain values and arrays: what the cache holds of it."""
        plain: dict[str, Any] = {
            "head": self.head.plain,
            "layer": self.layer,
            "candidates": [
                {name: value if isinstance(value, str) else float(value) for name, value in asdict(candidate).items()}
                for candidate in self.candidates
            ],
            "notes": list(self.notes),
        }
        arrays = {"weight": self.head.weight, "bias": self.head.bias, "out_of_fold": self.out_of_fold}
        if self.first is not None:
            layer, head = self.first
            plain["first"] = {"layer": layer, **head.plain}
            arrays |= {"first_weight": head.weight, "first_bias": head.bias}
        return plain, arrays

    @classmethod
    def from_parts(cls, plain: Mapping[str, Any], arrays: Arrays) -> HeadChoice:
        """Return the choice that `to_parts` took apart."""
        head = LinearHead(**plain["head"], weight=arrays["weight"], bias=arrays["bias"])
        candidates = tuple(HeadCandidate(**candidate) for candidate in plain["candidates"])
        first = None
        if "first" in plain:
            identity = dict(plain["first"])
            layer = identity.pop("layer")
            first = layer, LinearHead(**identity, weight=arrays["first_weight"], bias=arrays["first_bias"])
        return cls(head, candidates, arrays["out_of_fold"], tuple(plain["notes"]), plain["layer"], first)


@dataclass(frozen=True)
class TriedHeads:
    """The kinds of head that were tried on one layer."""

    task: CrossValidationTask
    trials: tuple[HeadTrial, ...]  # simplest first
    candidates: tuple[HeadCandidate, ...]  # the same, for a person
    notes: tuple[str, ...]
    chosen: HeadTrial  # the simplest within one standard error of the best

    def choice(self, c: int) -> HeadChoice:
        """Return the choice of the head among `c` classes, fitted on all rows."""
        out_of_fold = probabilities_of_all_classes(self.chosen.scores, self.chosen.temperature, self.task.present, c)
        head = fit_on_all_rows(self.task, self.chosen, c)
        return HeadChoice(head, self.candidates, out_of_fold, self.notes, self.candidates[0].layer)


def ignore(candidate: HeadCandidate) -> None:
    """Do nothing."""


def advancing(step: Step) -> OnCandidate:
    """Return what is called with each candidate once it was tried: the step advances, and shows the best so far."""
    tried: list[HeadCandidate] = []

    def on_candidate(candidate: HeadCandidate) -> None:
        tried.append(candidate)
        best = min(tried, key=lambda each: each.log_loss)
        where = f" on {best.layer}" if best.layer else ""
        step.advance(note=f"best so far: {best.kind}{where}, log loss {best.log_loss:.3f}")

    return on_candidate


def choose_head(
    x: NDArray[np.floating],
    y: NDArray[np.int64],
    classes: Sequence[str],
    *,
    seed: int,
    folds: int = FOLDS,
    groups: Sequence[str] | None = None,
    principal: PrincipalRows | None = None,
    counts: NDArray[np.int64] | None = None,
    max_operations: float = MAX_OPERATIONS,
) -> HeadChoice:
    """Return the calibrated head with the least log loss on unseen examples; the simplest one within its error.

    Each kind is tried at log-spaced penalties: ridge by its exact leave-one-out error, the others on stratified
    folds. Kinds are compared on the same folds, so that none has seen more examples than another; a simpler one
    (`simplest_first`) wins when the best is better by no more than one standard error of their paired difference
    (Breiman et al. 1984).

    Args:
        x: features of shape (n, d).
        folds: how many, at least 2.
        groups: n names; examples of one group are held out together. Without it, rows of equal features are.
        principal: of this `x`, to spare its decomposition.
        counts: how many equal examples each row stands for, of shape (n,); None for one.
        max_operations: floating point operations for heads fitted by steps; larger data get fewer kinds and folds.

    Raises:
        UsageError: fewer than two classes with examples, a non-finite feature, or fewer than two folds.
    """
    tried = try_kinds(
        x, y, classes, seed=seed, folds=folds, groups=groups, principal=principal, counts=counts, limit=max_operations
    )
    return tried.choice(len(classes))


def try_kinds(
    x: NDArray[np.floating],
    y: NDArray[np.int64],
    classes: Sequence[str],
    *,
    seed: int,
    folds: int,
    groups: Sequence[str] | None,
    principal: PrincipalRows | None,
    counts: NDArray[np.int64] | None,
    limit: float = MAX_OPERATIONS,
    layer: str = "",
    ridge_penalty: float | None = None,
    on_candidate: OnCandidate = ignore,
) -> TriedHeads:
    """Return each kind of head on one layer, as `choose_head` tries them; arguments, `limit` too, and errors are its.

    `ridge_penalty` is what `choose_ridge_penalty` has returned for these rows, to spare that; None to find it.
    `on_candidate` is called with each kind once it was tried.
    """
    if folds < 2:
        raise UsageError("folds must be at least 2", folds, "give a larger number")
    kinds, affordable_folds, notes = affordable_kinds(len(x), min(x.shape), len(np.unique(y)), folds, limit)
    step = 2 if affordable_folds < folds else 1  # what takes long is tried at every second penalty
    task = cross_validation_task(
        x, y, len(classes), seed=seed, folds=affordable_folds, groups=groups, principal=principal, counts=counts
    )
    notes = [*notes, *_data_notes(task, [classes[label] for label in task.present], affordable_folds)]
    trials, candidates = [], []
    for kind in simplest_first(task, kinds):
        start = time.perf_counter()
        if kind == "ridge":
            trial = cross_validate_ridge(task, [ridge_penalty] if ridge_penalty else RIDGE_PENALTIES[::step])
        else:
            penalties = CONVEX_LOSSES[kind].penalties[step - 1 :: step] if kind in CONVEX_LOSSES else None
            trial = cross_validate(task, kind, penalties)
        trials.append(trial)
        candidates.append(candidate_of(task, trial, layer, time.perf_counter() - start))
        on_candidate(candidates[-1])
    chosen = _simplest_within_one_standard_error(task, trials)
    return TriedHeads(task, tuple(trials), tuple(candidates), tuple(notes), chosen)


def simplest_first(task: LabelledFolds, kinds: Sequence[str]) -> tuple[str, ...]:
    """Return kinds of head in the order in which the first that is good enough wins: ridge, centroid, svm, logistic.

    Among classes of like size ridge with its strongest penalty is nearest centroid (but for the length of the means),
    so that the latter adds nothing, and with few examples, where all are alike, it is the worse (`bench/README.md`).
    Where sizes differ by more than MAX_CLASS_RATIO, centroid goes first: it alone does not lean to the larger class.
    """
    first = "centroid" if _uneven(np.bincount(task.y, task.counts)) else "ridge"
    return tuple(sorted(kinds, key=lambda kind: kind != first))


def _uneven(sizes: NDArray[Any]) -> bool:
    return bool(sizes.max() > MAX_CLASS_RATIO * sizes.min())


def candidate_of(task: LabelledFolds, trial: HeadTrial, layer: str, seconds: float) -> HeadCandidate:
    """Return a trial as a person is shown it."""
    accuracy = float(np.average(trial.scores.argmax(axis=1) == task.y, weights=task.counts))
    return HeadCandidate(trial.kind, trial.penalty, trial.log_loss, trial.standard_error, accuracy, seconds, layer)


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
    return fit_on_all_rows(task, cross_validate_ridge(task, penalties, by_fold=False), c)


def fit_logistic(
    x: NDArray[np.floating],
    y: NDArray[np.int64],
    c: int,
    *,
    penalties: Sequence[float],
    seed: int,
    groups: Sequence[str] | None = None,
    counts: NDArray[np.int64] | None = None,
) -> tuple[HeadChoice, NDArray[np.float64]]:
    """Fit a calibrated multinomial logistic head and keep the penalty with the least log loss on unseen examples.

    Penalties, groups, counts and errors are as in `fit_ridge`, the strongest penalty first; folds are as in
    `choose_head`. Returned with it is how much each row counts in its error, of shape (n,).
    """
    task = cross_validation_task(x, y, c, seed=seed, folds=FOLDS, groups=groups, counts=counts)
    start = time.perf_counter()
    trial = cross_validate(task, "logistic", penalties)
    tried = TriedHeads(task, (trial,), (candidate_of(task, trial, "", time.perf_counter() - start),), (), trial)
    return tried.choice(c), task.test_weights


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
    return fit_on_all_rows(cross_validation_task(x, y, c, seed=0, folds=2, counts=counts), like, c)


def affordable_kinds(
    n: int, k: int, c: int, folds: int = 5, max_operations: float = MAX_OPERATIONS
) -> tuple[tuple[str, ...], int, list[str]]:
    """Return the kinds of head to try, the number of folds, and a note where that is not all of them.

    There are n training examples of c classes and k features, or as many as examples where these are fewer.
    `max_operations` (floating point) are for the kinds that are fitted by steps.
    """
    path = 4 * n * k * c * EVALUATIONS_PER_PATH
    if 2 * folds * path <= max_operations:
        return KINDS, folds, []
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
    if _uneven(counts):
        notes.append(
            f"The largest class has {counts.max() / counts.min():.3g} times the examples of the smallest; examples of "
            f"small classes count more, as if that ratio were {MAX_CLASS_RATIO:g}, in fitting, choice and calibration."
        )
    return notes


def _simplest_within_one_standard_error(task: CrossValidationTask, trials: Sequence[HeadTrial]) -> HeadTrial:
    """Return the first trial that the best one beats by no more than a standard error of their paired difference."""
    best = min(trials, key=lambda trial: trial.log_loss)
    for trial in trials:
        difference, standard_error = gain_over(task, best, trial)
        if difference <= standard_error:
            return trial
    return best


def fit_on_all_rows(task: CrossValidationTask, chosen: HeadTrial | LinearHead, c: int) -> LinearHead:
    """Return the head of the chosen kind, penalty and temperature, for raw features and all `c` classes."""
    weight, bias = task.principal.unfold(*fit_coefficients(task, chosen.kind, chosen.penalty))
    weight, bias = for_all_classes(weight, bias, task.present, c)
    return LinearHead(chosen.kind, chosen.penalty, weight, bias, chosen.temperature)
