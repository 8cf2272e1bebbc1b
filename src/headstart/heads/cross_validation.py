"""Cross-validation: what each kind of head, at each penalty, predicts for examples that it was fitted without."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.base.errors import UsageError
from headstart.base.mapped import blocks_of
from headstart.base.threads import ONE_THREAD_A_PRODUCT, threads_for
from headstart.heads import closed_form as ridge
from headstart.heads.closed_form import CENTROID_PENALTIES, fit_centroids
from headstart.heads.convex import CONVEX_LOSSES, FoldHeads, fit_convex
from headstart.heads.folds import LabelledFolds, class_weights, label_folds, weighted_mean
from headstart.heads.linear import fit_temperature, log_losses
from headstart.heads.principal_axes import PrincipalRows, block_slices, column_scale, principal_rows

PLATEAU = 1.01  # of the penalties whose error is within 1 % of the least, the strongest is chosen
PATIENCE = 2  # penalties in a row, half a power of ten apart, that gain less than that: weaker ones are not tried
MAX_ROWS_LEFT_OUT = 4096  # of a fold; leaving more out of ridge at once is too costly
TOLERANCE = 1e-4  # of heads that are only compared: the log loss of unseen rows is the same to four digits
FINAL_TOLERANCES = {"float64": 1e-9, "float32": 1e-6}  # of the head that is fitted on all rows, by dtype of the rows


@dataclass(frozen=True)
class CrossValidationTask(LabelledFolds):
    """Rows to learn from, their classes and their folds."""

    principal: PrincipalRows  # the n rows


@dataclass(frozen=True)
class HeadTrial:
    """One kind of head at one penalty, on rows that it was fitted without."""

    kind: str  # `centroid`, `ridge`, `svm` or `logistic`
    penalty: float  # its strength of regularisation
    scores: NDArray[np.floating]  # of shape (n, c), of each row by a head that was fitted without it
    temperature: float  # fitted on `scores`
    losses: NDArray[np.float64]  # float64 of shape (n,), log loss after calibration, in nats
    log_loss: float  # their weighted mean
    standard_error: float  # of `log_loss`


def cross_validation_task(
    x: NDArray[np.floating],
    y: NDArray[np.int64],
    c: int,
    *,
    seed: int,
    folds: int,
    groups: Sequence[str] | None = None,
    principal: PrincipalRows | None = None,
    counts: NDArray[np.int64] | None = None,
) -> CrossValidationTask:
    """Return the task of learning class ids `y` (n,), in 0..c-1, from features `x` (n, d).

    Rows of one group, of n names, are left out together; without groups, rows of equal features are. Each row stands
    for as many equal examples as `counts` (n,) says, all left out together; None for one.

    Raises:
        UsageError: fewer than two classes have examples, or a feature is not finite.
    """
    check_training_rows(x, y, c)
    if principal is None:
        positions = np.unique(y, return_inverse=True)[1]
        x = x.astype(np.float32, copy=False)
        with threads_for(x.size * min(x.shape)):
            weights = class_weights(positions, positions.max() + 1, counts)[positions]
            weights = weights if counts is None else weights * counts
            principal = principal_rows(x, weights, column_scale(x, counts))
    labelled = label_folds(principal.x, y, principal.weights, folds=folds, seed=seed, groups=groups, counts=counts)
    return CrossValidationTask(**vars(labelled), principal=principal)


def check_training_rows(x: NDArray[np.floating], y: NDArray[np.int64], c: int) -> None:
    """Raise UsageError unless a head can be fitted on `x` (n, d) and `y` (n,)."""
    if x.ndim != 2 or len(x) != len(y):
        raise UsageError(
            "features must be (n, d) with n class ids", f"shapes {x.shape} and {y.shape}", "give one row per label"
        )
    if len(y) and not (y.min() >= 0 and y.max() < c):
        raise UsageError(f"class ids must lie in 0..{c - 1}", f"{y.min()}..{y.max()}", "give a name for each class")
    with_examples = len(np.unique(y))
    if with_examples < 2:
        raise UsageError(
            "two classes must have examples", f"{with_examples} with examples among {len(y)}", "add a second class"
        )
    for part in block_slices(len(x)):
        finite = np.isfinite(x[part])
        if not finite.all():
            row, column = np.argwhere(~finite)[0]
            raise UsageError(
                "every feature must be finite",
                f"{x[part][row, column]} in row {part.start + row}, column {column}",
                "look at that example, or leave it out",
            )


def choose_ridge_penalty(
    task: CrossValidationTask, penalties: Sequence[float] = ridge.RIDGE_PENALTIES
) -> tuple[float, float]:
    """Return the penalty of ridge with the least leave-one-out squared error (targets +-1), and that weighted mean."""
    targets = ridge.plus_minus_one(task.y, task.c)
    left_out = ridge.leave_out_scores(task.principal, task.y, task.c, penalties=penalties, groups=task.groups)
    weights = task.test_weights
    errors = [weighted_mean(np.square(targets - scores).mean(axis=1), weights)[0] for scores in left_out]
    strongest = max(penalty for penalty, error in zip(penalties, errors, strict=True) if error <= PLATEAU * min(errors))
    return strongest, errors[list(penalties).index(strongest)]


def cross_validate_ridge(
    task: CrossValidationTask, penalties: Sequence[float] = ridge.RIDGE_PENALTIES, *, by_fold: bool = True
) -> HeadTrial:
    """Return the trial of ridge, at the best of its penalties.

    Rows are left out with the rest of their fold, so that ridge sees what other heads see, or with their group
    alone; both are exact without a second fit. Folds of more than MAX_ROWS_LEFT_OUT rows are left out group by group:
    with that many rows the rest of a fold makes no difference.
    """
    with threads_for(task.principal.rows.size * min(task.principal.rows.shape)):
        penalty, _ = choose_ridge_penalty(task, penalties)
        groups = task.groups
        if by_fold and np.bincount(task.folds + 1)[1:].max(initial=0) <= MAX_ROWS_LEFT_OUT:
            groups = np.where(task.folds < 0, len(task.y) + task.groups, task.folds)
        scores = next(ridge.leave_out_scores(task.principal, task.y, task.c, penalties=[penalty], groups=groups))
    return evaluate_scores(task, "ridge", penalty, scores)


def cross_validate(
    task: CrossValidationTask, kind: str, penalties: Sequence[float] | None = None, *, tolerance: float = TOLERANCE
) -> HeadTrial:
    """Return the trial of a head that is fitted fold by fold, at the best of `penalties` (strongest first)."""
    weights = np.where(task.folds == np.arange(task.count)[:, None], 0, task.weights)
    penalties = penalties or (CENTROID_PENALTIES if kind == "centroid" else CONVEX_LOSSES[kind].penalties)
    with ONE_THREAD_A_PRODUCT:
        heads = _fit_folds(task, kind, penalties, weights, tolerance)
        return best_trial(task, kind, penalties, (_unseen_scores(each, task) for each in heads))


def best_trial(
    labelled: LabelledFolds, kind: str, penalties: Sequence[float], scores: Iterable[NDArray[np.floating]]
) -> HeadTrial:
    """Return the trial of the strongest penalty that no weaker one beats by 1 %; penalties come strongest first.

    Scores, by penalty, of shape (n, c), are those of each row by a head fitted without it; no more are asked for once
    weaker penalties gain nothing.
    """
    best: HeadTrial | None = None
    half_powers = 2 * abs(np.log10(penalties[0] / penalties[1])) if len(penalties) > 1 else 1.0
    without_gain = 0
    for penalty, unseen in zip(penalties, scores, strict=True):
        trial = evaluate_scores(labelled, kind, penalty, unseen)
        if best is None or trial.log_loss * PLATEAU < best.log_loss:
            best, without_gain = trial, 0
        else:
            without_gain += 1
        if without_gain * half_powers >= PATIENCE:
            break
    if best is None:
        raise ValueError(f"{kind} has no penalties to try")
    return best


def evaluate_scores(labelled: LabelledFolds, kind: str, penalty: float, scores: NDArray[np.floating]) -> HeadTrial:
    """Return the trial whose scores (n, c) of unseen rows are these: calibrated, and with its log loss."""
    weights = labelled.test_weights
    temperature = fit_temperature(scores, labelled.y, weights)
    losses = log_losses(scores, labelled.y, temperature)
    return HeadTrial(kind, penalty, scores, temperature, losses, *weighted_mean(losses, weights))


def mean_trial(labelled: LabelledFolds, trials: Sequence[HeadTrial]) -> HeadTrial:
    """Return the trial of the mean of the calibrated scores of several heads, judged on the same folds."""
    scores = np.mean([trial.scores / trial.temperature for trial in trials], axis=0)
    kind = " and ".join(dict.fromkeys(trial.kind for trial in trials))
    return evaluate_scores(labelled, kind, trials[0].penalty, scores)


def gain_over(labelled: LabelledFolds, trial: HeadTrial, simpler: HeadTrial) -> tuple[float, float]:
    """Return how much log loss a trial gains over a simpler one, in nats, and the standard error of that."""
    return weighted_mean(simpler.losses - trial.losses, labelled.test_weights)


def fit_coefficients(
    task: CrossValidationTask, kind: str, penalty: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return coefficients (k, c) on principal rows and intercept (c,) of a head fitted on all rows."""
    if kind == "ridge":
        return ridge.solve_ridge(task.principal, task.y, task.c, penalty)
    tolerance = FINAL_TOLERANCES[task.principal.rows.dtype.name]
    heads = next(_fit_folds(task, kind, [penalty], task.weights[None], tolerance))
    return heads.coefficients[0].T, heads.intercept[0]


def _fit_folds(
    task: CrossValidationTask, kind: str, penalties: Sequence[float], weights: NDArray[np.float64], tolerance: float
) -> Iterator[FoldHeads]:
    if kind == "centroid":
        members = np.where(weights > 0, task.counts, 0)
        return fit_centroids(task.principal, task.y, task.c, penalties=penalties, counts=members)
    loss = CONVEX_LOSSES[kind]
    return fit_convex(loss, task.principal, task.y, task.c, penalties=penalties, weights=weights, tolerance=tolerance)


def _unseen_scores(heads: FoldHeads, task: CrossValidationTask) -> NDArray[np.floating]:
    """Return the scores (n, c) of each row by the fold that left it out; the mean of all folds where none did."""
    rows = task.principal.rows
    unseen = np.empty((len(rows), task.c), rows.dtype)
    for fold in np.unique(task.folds):
        out = np.flatnonzero(task.folds == fold)
        without = heads if fold < 0 else FoldHeads(heads.coefficients[[fold]], heads.intercept[[fold]])
        for part in blocks_of(len(out), rows.shape[1] * rows.itemsize):
            unseen[out[part]] = without.scores(rows[out[part]]).mean(axis=0).T
    return unseen
