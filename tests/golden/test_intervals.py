"""Intervals and calibration error beside other code and fixed values.

They cannot catch an error that scipy shares, nor a change of numpy's generator that moves all bootstrap values at once
(that one shows as a failure here, and is no fault of the package).
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from headstart.judge.crossed import difference
from headstart.judge.intervals import paired_difference, wilson
from headstart.judge.metrics import calibration_error

CONFIDENCE = np.array([0.55, 0.6, 0.65, 0.7, 0.8, 0.9])
CORRECT = np.array([False, True, False, True, True, True])
PAIRED = (0.14, 0.024970049417391338, 0.2549019607843137)
CROSSED = (0.14, 0.01983492086898979, 0.2601650791310102, 0.17135483421314368)


@pytest.mark.parametrize("n", [1, 7, 132, 5000])
def test_the_wilson_interval_is_that_of_scipy_to_12_digits(n: int) -> None:
    for successes in {0, 1, n // 3, n // 2, n - 1, n}:
        low, high = binomtest(successes, n).proportion_ci(method="wilson")
        assert wilson(successes, n) == pytest.approx((successes / n, low, high), abs=1e-12)


def test_the_calibration_error_is_the_mean_gap_of_its_bins() -> None:
    probabilities = np.stack([CONFIDENCE, 1 - CONFIDENCE], axis=1)
    y = np.where(CORRECT, 0, 1)
    # fewer examples than bins: each is a bin of its own, so that the mean of |confidence - correct| is left
    assert calibration_error(probabilities, y) == pytest.approx(np.abs(CONFIDENCE - CORRECT).mean(), abs=1e-6)


def test_the_intervals_of_a_difference_are_what_they_were() -> None:
    first, second = np.arange(100) % 5 > 0, np.arange(100) % 3 > 0
    assert paired_difference(first, second, seed=0) == pytest.approx(PAIRED, abs=1e-12)
    assert difference(first, second, seed=0) == pytest.approx(CROSSED, abs=1e-9)
