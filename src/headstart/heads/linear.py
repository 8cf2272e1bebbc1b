"""The linear head: one map from features to class scores, however it was fitted, and its calibration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Float = TypeVar("Float", bound=np.floating)

ABSENT_CLASS_SCORE = -1e4  # of a class without examples: its probability is 0, and no arithmetic overflows


@dataclass(frozen=True)
class LinearHead:
    """`softmax((x @ weight + bias) / temperature)`, with standardisation already folded in.

    Attributes:
        kind: how it was fitted: `centroid`, `ridge`, `logistic` or `svm`.
        penalty: the strength of regularisation that was chosen.
        weight: float32 of shape (d, c).
        bias: float32 of shape (c,).
        temperature: > 0; divides the scores (Guo et al. 2017, On Calibration of Modern Neural Networks).
    """

    kind: str
    penalty: float
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    temperature: float = 1.0

    def scores(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return class scores before calibration, float32 of shape (n, c), for features of shape (n, d)."""
        return x @ self.weight + self.bias

    def predict_proba(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return calibrated class probabilities, float32 of shape (n, c), rows summing to 1."""
        return softmax(self.scores(x) / np.float32(self.temperature))


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
