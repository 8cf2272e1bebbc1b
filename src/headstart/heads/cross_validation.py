"""Trials: what each kind of head, at each penalty, says of examples that it was fitted without."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.base.errors import UsageError
from headstart.base.threads import ONE_THREAD_A_PRODUCT, threads_for
from headstart.heads import centroid, ridge
from headstart.heads.calibration import fit_temperature, log_losses
from headstart.heads.convex import Fitted, fit_path
from headstart.heads.folds import assign_folds, class_weights, content_groups
from headstart.heads.logistic import LOGISTIC
from headstart.heads.principal_axes import Rotated, blocks, column_scale, rotate
from headstart.heads.svm import SVM

PLATEAU = 1.01  # of the penalties whose error is within 1 % of the least, the strongest is kept
PATIENCE = 2  # penalties in a row, half a power of ten apart, that gain less than that: weaker ones are not tried
BLOCK_OUT = 4096  # rows; a larger fold is too costly to leave out of ridge at once
TOLERANCE = 1e-4  # of heads that are only compared: the log loss of unseen rows is the same to four digits
FINAL = {"float64": 1e-9, "float32": 1e-6}  # tolerance of the head that is kept, relative to its loss, by dtype of rows
CONVEX = {"logistic": LOGISTIC, "svm": SVM}


@dataclass(frozen=True)
class CrossValidationTask:
    """Rows to learn from, every class present, and how they take part.

    Attributes:
        rotated: the n rows.
        y: int64 of shape (n,), class ids in 0..c-1.
        c: number of classes.
        groups: int64 of shape (n,); rows of one group are left out together.
        folds: int64 of shape (n,), the fold that holds each row out, or -1 for none.
    """

    rotated: Rotated
    y: NDArray[np.int64]
    c: int
    groups: NDArray[np.int64]
    folds: NDArray[np.int64]

    @property
    def counted(self) -> NDArray[np.float64]:
        """How much each row counts in the criterion: its weight, or 0 where nothing can judge it."""
        judged = self.folds >= 0
        return np.where(judged, self.rotated.weights, 0) if judged.any() else self.rotated.weights

    def mean(self, values: NDArray[np.floating]) -> float:
        """Return the mean of `values` (n,) over the rows that count, weighted."""
        return float(self.counted @ values / self.counted.sum())

    def standard_error(self, values: NDArray[np.floating]) -> float:
        """Return the standard error of that mean."""
        spread = self.counted * (values - self.mean(values))
        return float(np.sqrt(spread @ spread) / self.counted.sum())


@dataclass(frozen=True)
class Trial:
    """One kind of head at one penalty.

    Attributes:
        kind: `centroid`, `ridge`, `svm` or `logistic`.
        penalty: its strength of regularisation.
        scores: of shape (n, c), of each row by a head that was fitted without it.
        temperature: fitted on `scores`.
        losses: float64 of shape (n,), log loss after calibration, in nats.
        log_loss: their weighted mean.
    """

    kind: str
    penalty: float
    scores: NDArray[np.floating]
    temperature: float
    losses: NDArray[np.float64]
    log_loss: float


def prepare(
    x: NDArray[np.floating], y: NDArray[np.int64], *, seed: int, folds: int, groups: Sequence[str] | None
) -> CrossValidationTask:
    """Return the task of learning `y` (ids 0..c-1, every class present) from `x` (n, d)."""
    c = int(y.max()) + 1
    x = x.astype(np.float32, copy=False)
    with threads_for(x.size * min(x.shape)):
        rotated = rotate(x, class_weights(y, c)[y], column_scale(x))
    return assign(rotated, y, seed=seed, folds=folds, groups=groups)


def assign(
    rotated: Rotated, y: NDArray[np.int64], *, seed: int, folds: int, groups: Sequence[str] | None
) -> CrossValidationTask:
    """Return the task of learning `y` from rows that are rotated already."""
    ids, keys = content_groups(rotated.x, groups)
    return CrossValidationTask(rotated, y, int(y.max()) + 1, ids, assign_folds(y, ids, keys, folds=folds, seed=seed))


def check(x: NDArray[np.floating], y: NDArray[np.int64], c: int) -> None:
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
    for part in blocks(len(x)):
        finite = np.isfinite(x[part])
        if not finite.all():
            row, column = np.argwhere(~finite)[0]
            raise UsageError(
                "every feature must be finite",
                f"{x[part][row, column]} in row {part.start + row}, column {column}",
                "look at that example, or leave it out",
            )


def ridge_penalty(task: CrossValidationTask, penalties: Sequence[float] = ridge.PENALTIES) -> tuple[float, float]:
    """Return the penalty with the least leave-one-out squared error of ridge, and that error.

    The error is the weighted mean over rows and classes, for targets +1 and -1.
    """
    goal = ridge.targets(task.y, task.c)
    left_out = ridge.left_out(task.rotated, task.y, task.c, penalties=penalties, groups=task.groups)
    errors = [task.mean(np.square(goal - scores).mean(axis=1)) for scores in left_out]
    strongest = max(penalty for penalty, error in zip(penalties, errors, strict=True) if error <= PLATEAU * min(errors))
    return strongest, errors[list(penalties).index(strongest)]


def best_ridge(
    task: CrossValidationTask, penalties: Sequence[float] = ridge.PENALTIES, *, by_fold: bool = True
) -> Trial:
    """Return what ridge, at the best of its penalties, says of rows left out.

    They are left out with the rest of their fold, so that ridge sees what other heads see, or with their group
    alone; both are exact without a second fit. Folds of more than BLOCK_OUT rows are left out group by group: with
    that many rows the rest of a fold makes no difference.
    """
    with threads_for(task.rotated.rows.size * min(task.rotated.rows.shape)):
        penalty, _ = ridge_penalty(task, penalties)
        groups = task.groups
        if by_fold and np.bincount(task.folds + 1)[1:].max(initial=0) <= BLOCK_OUT:
            groups = np.where(task.folds < 0, len(task.y) + task.groups, task.folds)
        scores = next(ridge.left_out(task.rotated, task.y, task.c, penalties=[penalty], groups=groups))
    return _judged(task, "ridge", penalty, scores)


def fold_trial(task: CrossValidationTask, kind: str, penalties: Sequence[float] | None = None) -> Trial:
    """Return the trial of a head that is fitted fold by fold, at the best of `penalties` (strongest first)."""
    count = max(int(task.folds.max()) + 1, 1)
    weights = np.where(task.folds == np.arange(count)[:, None], 0, task.rotated.weights)
    penalties = penalties or (centroid.PENALTIES if kind == "centroid" else CONVEX[kind].penalties)
    best: Trial | None = None
    step = 2 * abs(np.log10(penalties[0] / penalties[1])) if len(penalties) > 1 else 1.0
    behind = 0
    with ONE_THREAD_A_PRODUCT:
        for penalty, heads in zip(penalties, _path(task, kind, penalties, weights), strict=True):
            trial = _judged(task, kind, penalty, _unseen(heads, task))
            if best is None or trial.log_loss * PLATEAU < best.log_loss:
                best, behind = trial, 0
            else:
                behind += 1
            if behind * step >= PATIENCE:
                break
    if best is None:
        raise ValueError(f"{kind} has no penalties to try")
    return best


def fit(task: CrossValidationTask, kind: str, penalty: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return coefficients (k, c) on rotated rows and intercept (c,) of a head fitted on all rows."""
    if kind == "ridge":
        return ridge.solve(task.rotated, task.y, task.c, penalty)
    tolerance = FINAL[task.rotated.rows.dtype.name]
    heads = next(_path(task, kind, [penalty], task.rotated.weights[None], tolerance))
    return heads.coefficients[0].T, heads.intercept[0]


def _path(
    task: CrossValidationTask,
    kind: str,
    penalties: Sequence[float],
    weights: NDArray[np.float64],
    tolerance: float = TOLERANCE,
) -> Iterator[Fitted]:
    if kind == "centroid":
        return centroid.fit_path(task.rotated, task.y, task.c, penalties=penalties, weights=weights)
    return fit_path(
        CONVEX[kind], task.rotated, task.y, task.c, penalties=penalties, weights=weights, tolerance=tolerance
    )


def _unseen(heads: Fitted, task: CrossValidationTask) -> NDArray[np.floating]:
    """Return the scores (n, c) of each row by the fold that held it out; the mean of all folds where none did."""
    rows = task.rotated.rows
    unseen = np.empty((len(rows), task.c), rows.dtype)
    for fold in np.unique(task.folds):
        out = task.folds == fold
        own = heads if fold < 0 else Fitted(heads.coefficients[[fold]], heads.intercept[[fold]])
        unseen[out] = own.scores(rows[out]).mean(axis=0).T
    return unseen


def _judged(task: CrossValidationTask, kind: str, penalty: float, scores: NDArray[np.floating]) -> Trial:
    temperature = fit_temperature(scores, task.y, task.counted)
    losses = log_losses(scores, task.y, temperature)
    return Trial(kind, penalty, scores, temperature, losses, task.mean(losses))
