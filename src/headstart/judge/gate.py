"""The gate: whether a network that was trained anew is better than what needs no network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.judge.intervals import Interval, paired_difference, wilson


@dataclass(frozen=True)
class Gate:
    """How a network stands against both naive baselines, on the same held-out examples.

    Attributes:
        accuracy: its own, 0..1.
        majority: accuracy of always naming the commonest class, 0..1.
        simple: accuracy of the simple baseline, 0..1.
        over_majority: its accuracy minus that of the commonest class, -1..1.
        over_simple: its accuracy minus that of the simple baseline, -1..1.
    """

    accuracy: Interval
    majority: float
    simple: float
    over_majority: Interval
    over_simple: Interval

    @property
    def passed(self) -> bool:
        """Whether it beats both beyond the interval: only then is it a source."""
        return self.over_majority.low > 0 and self.over_simple.low > 0

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain values, ready for JSON."""
        return {
            "passed": self.passed,
            "accuracy": self.accuracy.as_dict(),
            "majority": self.majority,
            "simple": self.simple,
            "over_majority": self.over_majority.as_dict(),
            "over_simple": self.over_simple.as_dict(),
        }


def judge_gate(
    network: NDArray[np.floating],
    majority: NDArray[np.floating],
    simple: NDArray[np.floating],
    y: NDArray[np.int64],
    *,
    seed: int,
) -> Gate:
    """Return how a network's class probabilities stand against those of both baselines, each of shape (n, c).

    Args:
        network: of the network.
        majority: of the commonest class.
        simple: of the simple baseline.
        y: class ids of the n held-out examples.
        seed: of the intervals.
    """
    right, common, naive = (found.argmax(axis=1) == y for found in (network, majority, simple))
    return Gate(
        wilson(float(right.sum()), len(y)),
        float(common.mean()),
        float(naive.mean()),
        paired_difference(right, common, seed=seed),
        paired_difference(right, naive, seed=seed),
    )
