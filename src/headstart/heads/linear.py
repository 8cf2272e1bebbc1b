"""The linear head: one map from features to class scores, however it was fitted, and its calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Float = TypeVar("Float", bound=np.floating)

MIN_CURVATURE = 1e-300  # as a share of the slope; dividing by less would overflow
MAX_NEWTON_STEPS = 100
STEP_TOLERANCE = 1e-5  # as a share of the value: what is still missing after such a step is about its square
MIN_SPREAD = 1e-3  # misleading scores keep this share of their spread, so that float32 keeps their order
MIN_PROBABILITY = 1e-9  # what a head is less sure of than that is not believed
ABSENT_CLASS_SCORE = -1e4  # of a class without examples: its probability is 0, and no arithmetic overflows


@dataclass(frozen=True)
class LinearHead:
    """`softmax((x @ weight + bias) / temperature)`, with standardisation already folded in."""

    kind: str  # how it was fitted: `centroid`, `ridge`, `logistic` or `svm`
    penalty: float  # the strength of regularisation that was chosen
    weight: NDArray[np.float32]  # float32 of shape (d, c)
    bias: NDArray[np.float32]  # float32 of shape (c,)
    temperature: float = 1.0  # > 0; divides the scores (Guo et al. 2017, On Calibration of Modern Neural Networks)

    @property
    def plain(self) -> dict[str, Any]:
        """What of it is no array, by the names of its fields."""
        return {"kind": self.kind, "penalty": float(self.penalty), "temperature": float(self.temperature)}

    def scores(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return class scores before calibration, float32 of shape (n, c), for features of shape (n, d)."""
        return x @ self.weight + self.bias

    def predict_proba(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return calibrated class probabilities, float32 of shape (n, c), rows summing to 1."""
        return softmax(self.scores(x) / np.float32(self.temperature))


def mean_head(heads: Sequence[LinearHead], temperature: float) -> LinearHead:
    """Return the head whose scores are the mean of the calibrated scores of m heads, with a temperature of its own.

    Each head reads columns of its own: the mean is one linear map of them all, side by side in the order of the heads.
    """
    kind = " and ".join(dict.fromkeys(head.kind for head in heads))
    return replace(side_by_side(heads, [1 / len(heads)] * len(heads), kind), temperature=temperature)


def side_by_side(heads: Sequence[LinearHead], shares: Sequence[float], kind: str) -> LinearHead:
    """Return the head that adds the calibrated scores of m heads with shares; each reads columns of its own."""
    factors = [np.float32(share / head.temperature) for head, share in zip(heads, shares, strict=True)]
    weight = np.concatenate([factor * head.weight for factor, head in zip(factors, heads, strict=True)])
    bias = np.stack([factor * head.bias for factor, head in zip(factors, heads, strict=True)]).sum(axis=0)
    return LinearHead(kind, heads[0].penalty, weight, bias, 1.0)


def mean_scores(probabilities: Sequence[NDArray[np.floating]]) -> NDArray[np.floating]:
    """Return the scores of the mean of m heads from their calibrated probabilities, m of shape (n, c).

    The logarithms are the calibrated scores of a head, but for a number for each row that changes nothing.
    """
    return np.asarray(log_probabilities(*probabilities).mean(axis=0))


def log_probabilities(*heads: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the logarithms of the probabilities of m heads, (m, n, c); none counts below `MIN_PROBABILITY`."""
    return np.stack([np.log(np.maximum(each, MIN_PROBABILITY)) for each in heads])


def softmax(scores: NDArray[Float]) -> NDArray[Float]:
    """Return the softmax of each row, computed without overflow."""
    powers: NDArray[Float] = np.exp(scores - scores.max(axis=1, keepdims=True))
    powers /= powers.sum(axis=1, keepdims=True)
    return powers


def for_all_classes(
    weight: NDArray[np.floating], bias: NDArray[np.floating], present: NDArray[np.int64], c: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return weight (d, c) and bias (c,) of all classes from those of the `present` ones, the only ones predicted."""
    every_weight = np.zeros((len(weight), c), np.float32)
    every_bias = np.full(c, ABSENT_CLASS_SCORE, np.float32)
    every_weight[:, present], every_bias[present] = weight, bias
    return every_weight, every_bias


def probabilities_of_all_classes(
    scores: NDArray[np.floating], temperature: float, present: NDArray[np.int64], c: int
) -> NDArray[np.float32]:
    """Return calibrated probabilities (n, c) from the scores of the `present` classes; 0 for the others."""
    every = np.zeros((len(scores), c), np.float32)
    every[:, present] = softmax((scores / temperature).astype(np.float32))
    return every


def fit_temperature(scores: NDArray[np.floating], y: NDArray[np.int64], weights: NDArray[np.float64]) -> float:
    """Return the temperature with the least weighted log loss (Guo et al. 2017) of scores (n, c) of unseen examples.

    One imaginary example, spread evenly over the classes, is added to the data (in the manner of Platt 1999), so that
    scores without a single error do not end in certainty. At least one of the weights (n,) is > 0.
    """
    used = weights > 0
    gaps = scores[used].astype(np.float64)
    gaps -= gaps.max(axis=1, keepdims=True)
    weights = weights[used] / weights[used].sum()
    spread = 1 / (len(gaps) + 1)
    true_gaps = (1 - spread) * gaps[np.arange(len(gaps)), y[used]] + spread * gaps.mean(axis=1)
    unit = -(weights @ gaps.mean(axis=1))
    if not unit > 0:
        return 1.0
    # The loss is convex in the inverse temperature: Newton's method, kept inside a shrinking bracket.
    low, high, inverse = MIN_SPREAD / unit, 1e6 / unit, 1 / unit
    for _ in range(MAX_NEWTON_STEPS):
        powers = np.exp(gaps * inverse)
        powers /= powers.sum(axis=1, keepdims=True)
        mean = np.einsum("nc,nc->n", powers, gaps)
        slope = weights @ (mean - true_gaps)
        curvature = weights @ (np.einsum("nc,nc,nc->n", powers, gaps, gaps) - mean**2)
        low, high = (inverse, high) if slope < 0 else (low, inverse)
        newton = inverse - slope / curvature if curvature > MIN_CURVATURE * abs(slope) else np.inf
        previous, inverse = inverse, newton if low < newton < high else np.sqrt(low * high)
        if abs(inverse - previous) <= STEP_TOLERANCE * previous:
            break
    return float(1 / inverse)


def log_losses(scores: NDArray[np.floating], y: NDArray[np.int64], temperature: float) -> NDArray[np.float64]:
    """Return the log loss of each example in nats, float64 of shape (n,), for class scores of shape (n, c)."""
    gaps = scores / temperature
    gaps -= gaps.max(axis=1, keepdims=True)
    true_gaps = gaps[np.arange(len(gaps)), y].astype(np.float64)
    losses: NDArray[np.float64] = np.log(np.exp(gaps).sum(axis=1, dtype=np.float64)) - true_gaps
    return losses
