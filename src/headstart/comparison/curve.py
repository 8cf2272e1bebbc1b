"""What an arm predicts on the test examples: once, or after some of its epochs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Set
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.heads.linear import softmax
from headstart.judge.benefit.results import Outcome
from headstart.judge.metrics import log_losses
from headstart.tune.training.trackers import Tracker


def outcome_of(probabilities: NDArray[np.floating], y: NDArray[np.int64], seconds: float, note: str = "") -> Outcome:
    """Return the outcome of an arm without epochs, from probabilities of shape (n, c)."""
    right = probabilities.argmax(axis=1) == y
    losses = log_losses(probabilities, y).astype(np.float32)
    return Outcome(np.zeros(1, np.int64), right[None], losses[None], np.array([seconds]), note=note)


class TestCurve:
    """What an arm predicts on the test examples after some epochs and after the last one.

    Args:
        y: int64 of shape (n,), the class ids of the test examples.
        epochs: after which it is measured; not the last, where the seconds of measuring would exceed `allowance`.
        now: gives the seconds since whenever.

    Attributes:
        right, loss, seconds: by epoch: what is right, the log losses in nats, and the seconds since the curve was made,
            those of measuring left out.
        durations: of each time that it was measured, in seconds.
    """

    __test__ = False  # no test of pytest

    def __init__(self, y: NDArray[np.int64], epochs: Set[int], now: Callable[[], float] = time.perf_counter) -> None:
        self._y, self._epochs, self._now = y, epochs, now
        self._start, self.allowance = now(), math.inf
        self.right: dict[int, NDArray[np.bool_]] = {}
        self.loss: dict[int, NDArray[np.float32]] = {}
        self.seconds: dict[int, float] = {}
        self.durations: list[float] = []

    def record(self, epoch: int, last: bool, scores_of: Callable[[], NDArray[np.float32]]) -> None:
        """Compute the scores and keep what is right and the log losses, where the epoch is one to measure.

        Raises:
            ArithmeticError: the scores of the untrained network are not finite.
        """
        spent = sum(self.durations)
        if not last and (epoch not in self._epochs or spent + 2 * max(self.durations, default=0.0) > self.allowance):
            return
        begin = self._now()
        scores = scores_of()
        if not np.isfinite(scores).all():
            if not epoch:
                raise ArithmeticError("the scores of the network are not finite before it has learned")
            return  # its loss has exploded: the run ends, and the point before it stands
        self.put(epoch, softmax(scores), begin - self._start - spent)
        self.durations.append(self._now() - begin)

    def put(self, epoch: int, probabilities: NDArray[np.floating], seconds: float | None = None) -> None:
        """Keep what probabilities (n, c) say after an epoch; its time is now, unless it is known."""
        self.right[epoch] = probabilities.argmax(axis=1) == self._y
        self.loss[epoch] = log_losses(probabilities, self._y).astype(np.float32)
        self.seconds[epoch] = self._now() - self._start - sum(self.durations) if seconds is None else seconds

    def outcome(self, *, cut: bool, note: str) -> Outcome:
        """Return it as an outcome."""
        return Outcome(
            np.array(list(self.right)),
            np.stack(list(self.right.values())),
            np.stack(list(self.loss.values())),
            np.array(list(self.seconds.values())),
            cut=cut,
            note=note,
        )


class TestTracker:
    """A tracker that passes on the numbers of each epoch with those of the test examples; validation has none."""

    __test__ = False

    def __init__(self, tracker: Tracker, curve: TestCurve) -> None:
        self._tracker, self._curve = tracker, curve

    def started(self, details: Mapping[str, Any]) -> None:
        """Pass the details on."""
        self._tracker.started(details)

    def epoch(self, numbers: Mapping[str, float], *, epoch: int) -> None:
        """Pass on the numbers that are finite, and those that were measured on the test examples."""
        shown = {name: value for name, value in numbers.items() if np.isfinite(value)}
        if epoch in self._curve.right:
            shown["test/accuracy"] = float(self._curve.right[epoch].mean())
            shown["test/loss"] = float(self._curve.loss[epoch].mean())
        self._tracker.epoch(shown, epoch=epoch)

    def finished(self, details: Mapping[str, Any]) -> None:
        """Pass the details on."""
        self._tracker.finished(details)
