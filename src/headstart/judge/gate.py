"""The gate: whether a network that was trained from scratch is better than the baselines without a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.judge.intervals import Interval, paired_difference, wilson


@dataclass(frozen=True)
class Gate:
    """The accuracy of a network beside that of both naive baselines, on the same held-out examples."""

    accuracy: Interval
    majority: float  # accuracy of always predicting the most frequent class, 0..1
    simple: float  # accuracy of the simple baseline, 0..1
    over_majority: Interval  # accuracy of the network minus that of the most frequent class, -1..1
    over_simple: Interval  # accuracy of the network minus that of the simple baseline, -1..1

    @property
    def passed(self) -> bool:
        """Whether it beats both beyond the interval: only then is it a source."""
        return self.over_majority.low > 0 and self.over_simple.low > 0

    def sentence(self, items: str, tested: int, simple: str) -> str:
        """Return the figures in one sentence."""
        accuracy, over = self.accuracy, self.over_simple
        return (
            f"{100 * accuracy.value:.1f} % [{100 * accuracy.low:.1f}, {100 * accuracy.high:.1f}] of {tested:,} test "
            f"{items} are classified correctly, {100 * over.value:+.1f} points [{100 * over.low:+.1f}, "
            f"{100 * over.high:+.1f}] compared with {simple} ({100 * self.simple:.1f} %); always predicting the most "
            f"frequent class gives {100 * self.majority:.1f} %."
        )

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
    """Return the gate of a network, from class probabilities of shape (n, c) of all three and class ids (n,)."""
    correct, majority_correct, simple_correct = (
        probabilities.argmax(axis=1) == y for probabilities in (network, majority, simple)
    )
    return Gate(
        wilson(float(correct.sum()), len(y)),
        float(majority_correct.mean()),
        float(simple_correct.mean()),
        paired_difference(correct, majority_correct, seed=seed),
        paired_difference(correct, simple_correct, seed=seed),
    )
