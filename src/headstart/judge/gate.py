"""The gate: whether a network that was trained from scratch is better than the baselines without a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.judge.intervals import Clusters, Interval, paired_difference, share_of
from headstart.judge.related import without_related


@dataclass(frozen=True)
class Gate:
    """The accuracy of a network beside that of both naive baselines, on the same held-out examples."""

    accuracy: Interval
    majority: float  # accuracy of always predicting the most frequent class, 0..1
    simple: float  # accuracy of the simple baseline, 0..1
    over_majority: Interval  # accuracy of the network minus that of the most frequent class, -1..1
    over_simple: Interval  # accuracy of the network minus that of the simple baseline, -1..1
    related: int = 0  # test examples that have a copy or near copy in the train part
    without: Interval | None = None  # accuracy without these; None where none are left

    @property
    def passed(self) -> bool:
        """Whether it beats both beyond the interval, and not by near copies alone: only then is it a source."""
        return self.over_majority.low > 0 and self.over_simple.low > 0 and self._without_related[1]

    @property
    def _without_related(self) -> tuple[str, bool]:
        without = None if self.without is None else self.without.as_dict()
        return without_related(self.accuracy.as_dict(), {"test": self.related, "accuracy_without": without})

    def sentence(self, items: str, tested: int, simple: str) -> str:
        """Return the figures in one sentence."""
        accuracy, over = self.accuracy, self.over_simple
        without, _ = self._without_related
        return (
            f"{100 * accuracy.value:.1f} % [{100 * accuracy.low:.1f}, {100 * accuracy.high:.1f}] of {tested:,} test "
            f"{items} are classified correctly{without}, {100 * over.value:+.1f} points [{100 * over.low:+.1f}, "
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
    clusters: Clusters = None,
    related: NDArray[np.bool_] | None = None,
) -> Gate:
    """Return the gate of a network, from class probabilities of shape (n, c) of all three and class ids (n,).

    Args:
        related: which of the n test examples have a copy or near copy in the train part, of shape (n,).
    """
    own = np.ones(len(y), np.bool_) if related is None else ~related
    correct, majority_correct, simple_correct = (
        probabilities.argmax(axis=1) == y for probabilities in (network, majority, simple)
    )
    return Gate(
        share_of(correct, clusters),
        float(majority_correct.mean()),
        float(simple_correct.mean()),
        paired_difference(correct, majority_correct, seed=seed, clusters=clusters),
        paired_difference(correct, simple_correct, seed=seed, clusters=clusters),
        int((~own).sum()),
        share_of(correct[own], None if clusters is None else clusters[own]) if own.any() else None,
    )
