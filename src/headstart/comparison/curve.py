"""The curve of an arm that learns: its predictions on the test examples after some of its epochs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.heads.linear import softmax
from headstart.judge.metrics import log_losses
from headstart.tune.training.trackers import Tracker


class TestCurve:
    """What an arm predicts on the test examples after some epochs and after the last one."""

    __test__ = False  # no test of pytest

    def __init__(self, y: NDArray[np.int64], epochs: Set[int]) -> None:
        self._y, self._epochs = y, epochs
        self.right: dict[int, NDArray[np.bool_]] = {}
        self.loss: dict[int, NDArray[np.float32]] = {}

    def record(self, epoch: int, last: bool, scores_of: Callable[[], NDArray[np.float32]]) -> None:
        """Compute the scores and keep what is right and the log losses, where the epoch is one to measure.

        Raises:
            ArithmeticError: the scores of the untrained network are not finite.
        """
        if not last and epoch not in self._epochs:
            return
        scores = scores_of()
        if not np.isfinite(scores).all():
            if not epoch:
                raise ArithmeticError("the scores of the network are not finite before it has learned")
            return  # its loss has exploded: the run ends, and the point before it stands
        probabilities = softmax(scores)
        self.right[epoch] = probabilities.argmax(axis=1) == self._y
        self.loss[epoch] = log_losses(probabilities, self._y).astype(np.float32)


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
