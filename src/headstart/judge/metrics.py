"""Metrics of a classifier on examples that it has not seen, each with its 95 % interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.errors import UsageError
from headstart.judge.intervals import (
    Clusters,
    Interval,
    bias_corrected,
    effective_number,
    mean_of_proportions,
    resample_counts,
    share_of,
)

ECE_BINS = 15
BENEFITS = {
    "start": "initial accuracy (jumpstart)",
    "slope": "learning speed, per epoch",
    "asymptote": "final accuracy (asymptote)",
}
"""The three benefits by their keys in `result.json`, in the words of Taylor & Stone (2009)."""
MIN_PROBABILITY = 1e-7  # smaller ones count as this much: float32 rounds them to 0


@dataclass(frozen=True, slots=True)
class Metric:
    """How pages and model cards show a metric."""

    title: str
    hub_type: str  # the type of metric that the Hugging Face hub knows it by
    meaning: str  # what it measures; `{items}` stands for the noun of the examples
    percent: bool = True  # whether it is a share, shown in percent

    def format(self, value: float) -> str:
        """Return a value of it as text."""
        return f"{100 * value:.1f} %" if self.percent else f"{value:.3f}"


METRICS = {
    "accuracy": Metric("Accuracy", "accuracy", "Share of all test {items} that are classified correctly."),
    "balanced_accuracy": Metric("Balanced accuracy", "balanced_accuracy", "Mean recall over the classes."),
    "macro_f1": Metric("Macro F1", "f1", "Harmonic mean of precision and recall, mean over the classes."),
    "log_loss": Metric(
        "Log loss", "log_loss", "Mean negative log-likelihood of the true class, in nats; 0 is perfect.", percent=False
    ),
    "ece": Metric("Calibration error (ECE)", "ece", "Mean distance between confidence and accuracy."),
}
"""By the key in `result.json`."""


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Test examples of similar confidence."""

    confidence: float  # their mean probability of the predicted class, 0..1
    accuracy: float  # the share of them that is classified correctly, 0..1
    count: int


def evaluate(
    probabilities: NDArray[np.floating],
    y: NDArray[np.int64],
    classes: Sequence[str],
    *,
    seed: int = 0,
    clusters: Clusters = None,
) -> dict[str, Any]:
    """Return the metrics of `probabilities` (n, c), whose rows sum to 1, in the shape of `result.json`.

    Accuracy has a Wilson interval, balanced accuracy one made of the classes' Wilson intervals, macro-F1, log loss
    and ECE a bootstrap one from 1000 resamples within each class. Classes without an example in `y` (n,) are left out
    of balanced accuracy and macro-F1. Where examples come in clusters, those are resampled, and Wilson intervals are of
    as many examples as they tell.

    Returns:
        `accuracy`, `balanced_accuracy`, `macro_f1`, `log_loss` (nats) and `ece` (see `calibration_error`), each
        `{"value", "low", "high"}`; `per_class`, a list of `{"class", "precision", "recall", "f1", "support"}`;
        `confusion`, c rows (true class) of c counts (predicted class).

    Raises:
        UsageError: no examples, or shapes that do not fit.
    """
    if not len(y) or probabilities.shape != (len(y), len(classes)):
        raise UsageError(
            "probabilities must be (n, c) for n >= 1 labels and c classes",
            f"shape {probabilities.shape} for {len(y)} labels and {len(classes)} classes",
            "give one row per test example and one column per class",
        )
    right, present = probabilities.argmax(axis=1) == y, np.unique(y)
    counts = confusion(probabilities.argmax(axis=1), y, len(classes))
    members = [(y == one, None if clusters is None else clusters[y == one]) for one in present]
    support = np.array([effective_number(right[own], some) for own, some in members])
    balanced = mean_of_proportions(np.array([right[own].mean() for own, _ in members]) * support, support)
    macro, loss, ece = _resampled(probabilities, y, counts, seed, clusters)
    if right.all():
        # Without an error there is nothing to resample; the interval of balanced accuracy then holds for macro-F1 too.
        macro = balanced
    intervals = share_of(right, clusters), balanced, macro, loss, ece
    return {
        **{key: interval.as_dict() for key, interval in zip(METRICS, intervals, strict=True)},
        "per_class": per_class(counts, classes),
        "confusion": counts.tolist(),
    }


def confusion(predicted: NDArray[np.integer], y: NDArray[np.integer], c: int) -> NDArray[np.int64]:
    """Return counts of shape (c, c): true class by predicted class."""
    return np.bincount(y * c + predicted, minlength=c * c).reshape(c, c).astype(np.int64)


def per_class(counts: NDArray[np.int64], classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return precision, recall, F1 and support of each class; 0 where a share has no example to stand on."""
    correct, support, predicted = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    columns = _share(correct, predicted), _share(correct, support), _share(2 * correct, support + predicted), support
    return [
        {"class": name, "precision": float(p), "recall": float(r), "f1": float(f), "support": int(s)}
        for name, p, r, f, s in zip(classes, *columns, strict=True)
    ]


def log_losses(probabilities: NDArray[np.floating], y: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return the log loss of each example in nats, float64 of shape (n,); no probability counts below 1e-7."""
    of_truth = probabilities[np.arange(len(y)), y].astype(np.float64)
    return np.asarray(-np.log(np.maximum(of_truth, MIN_PROBABILITY)))


def calibration_bins(
    confidence: NDArray[np.floating], correct: NDArray[np.bool_], bins: int = 10
) -> tuple[CalibrationBin, ...]:
    """Return test examples in bins of equal width by confidence (n,) in the predicted class, empty ones left out."""
    columns = np.minimum((confidence * bins).astype(np.intp), bins - 1)
    count = np.bincount(columns, minlength=bins)
    means, accuracy = (np.bincount(columns, values, bins) / np.maximum(count, 1) for values in (confidence, correct))
    return tuple(CalibrationBin(float(means[n]), float(accuracy[n]), int(count[n])) for n in np.flatnonzero(count))


def calibration_error(probabilities: NDArray[np.floating], y: NDArray[np.integer]) -> float:
    """Return the expected calibration error (Naeini et al. 2015), 0..1.

    That is the mean distance between confidence and accuracy over 15 bins that hold equally many examples each, sorted
    by confidence.
    """
    return float(np.abs(_calibration_gaps(probabilities, y).sum(axis=0)).sum() / len(y))


def _bins(confidence: NDArray[np.floating]) -> NDArray[np.intp]:
    """Return the bin of each example, of shape (n,); equal confidences share one, whatever their order."""
    n = len(confidence)
    return np.searchsorted(np.sort(confidence), confidence) * min(ECE_BINS, n) // n


def _calibration_gaps(probabilities: NDArray[np.floating], y: NDArray[np.integer]) -> NDArray[np.float32]:
    """Return confidence minus correctness (0 or 1) of each example, in the column of its bin: shape (n, 15)."""
    confidence = probabilities.max(axis=1)
    gaps = np.zeros((len(y), ECE_BINS), np.float32)
    gaps[np.arange(len(y)), _bins(confidence)] = confidence - (probabilities.argmax(axis=1) == y)
    return gaps


def _resampled(
    probabilities: NDArray[np.floating],
    y: NDArray[np.int64],
    counts: NDArray[np.int64],
    seed: int,
    clusters: Clusters,
) -> tuple[Interval, Interval, Interval]:
    """Return macro-F1, log loss and ECE with their bootstrap intervals, given the confusion matrix."""
    c = probabilities.shape[1]
    predicted = probabilities.argmax(axis=1)
    support = counts.sum(axis=1)
    present = support > 0
    losses = log_losses(probabilities, y)
    gaps = _calibration_gaps(probabilities, y)
    parts = []
    for drawn in resample_counts(y, seed=seed, clusters=clusters):
        n, drawn_support = drawn.sum(axis=1), _by_class(drawn, y, c)
        predictions = _by_class(drawn, predicted, c)
        correct = _by_class(drawn * (predicted == y), y, c)
        f1 = _share(2 * correct, drawn_support + predictions)[:, present].mean(axis=1)
        parts.append((f1, drawn @ losses.astype(np.float32) / n, np.abs(drawn @ gaps).sum(axis=1) / n))
    f1, mean_losses, errors = (np.concatenate(part) for part in zip(*parts, strict=True))
    value = _share(2 * np.diag(counts), support + counts.sum(axis=0))[present].mean()
    return (
        bias_corrected(float(value), f1),
        bias_corrected(float(losses.mean()), mean_losses),
        bias_corrected(calibration_error(probabilities, y), errors),
    )


def _by_class(drawn: NDArray[np.float32], ids: NDArray[np.integer], c: int) -> NDArray[np.float32]:
    """Return sums of the columns of `drawn` (b, n) by the class of each: shape (b, c)."""
    order = np.argsort(ids, kind="stable")
    present, starts = np.unique(ids[order], return_index=True)
    sums = np.zeros((len(drawn), c), np.float32)
    sums[:, present] = np.add.reduceat(drawn[:, order], starts, axis=1)
    return sums


def _share(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    shape = np.broadcast_shapes(part.shape, whole.shape)
    return np.asarray(np.divide(part, whole, out=np.zeros(shape), where=np.broadcast_to(whole > 0, shape)))
