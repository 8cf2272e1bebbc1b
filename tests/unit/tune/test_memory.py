"""Tuning where memory is scarce: it finishes, or says which setting to lower."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_task import RECIPE, task

from headstart.base.errors import UsageError
from headstart.tune.training.loop import train


def test_a_batch_that_cannot_even_be_read_says_the_setting_to_lower__MEM_02() -> None:
    made = task()

    class Greedy(type(made.train)):  # type: ignore[misc]
        def inputs(self, rows: NDArray[np.intp], *, epoch: int) -> object:
            raise MemoryError

    made.train.__class__ = Greedy
    with pytest.raises(UsageError, match=r"a batch of 9 must fit in memory.*smaller --batch"):
        train(made, RECIPE)
