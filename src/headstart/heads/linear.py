"""The linear head: one map from features to class scores, however it was fitted, and its calibration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


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


def softmax(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the softmax of each row, computed without overflow."""
    powers: NDArray[np.float32] = np.exp(scores - scores.max(axis=1, keepdims=True))
    powers /= powers.sum(axis=1, keepdims=True)
    return powers
