"""Leave-one-out error of ridge against float64 values of an independent implementation.

What these values cannot catch: anything about standardisation, weights of classes, groups, the choice among
penalties and calibration, because they are for plain centred rows that all count once.
"""

import numpy as np
import pytest

from headstart.heads import closed_form as ridge
from headstart.heads.principal_axes import principal_rows

CASES = {
    "more rows than columns": (
        {"n": 200, "d": 32, "c": 5, "seed": 0, "sep": 0.5},
        {0.1: 0.30669325023962846, 10.0: 0.29374717883039314, 1000.0: 0.5381333226297657},
    ),
    "more columns than rows": (
        {"n": 60, "d": 128, "c": 3, "seed": 1, "sep": 0.3},
        {0.1: 0.5239591940528915, 10.0: 0.49756938217528557, 1000.0: 0.8508910515983966},
    ),
}


def made(*, n, d, c, seed, sep):
    r = np.random.RandomState(seed)
    mu = r.randn(c, d) * sep
    y = np.arange(n) % c
    return np.maximum(mu[y] + r.randn(n, d), 0), y


@pytest.mark.parametrize("case", CASES)
def test_mean_squared_leave_one_out_error(case):
    recipe, expected = CASES[case]
    x, y = made(**recipe)
    principal = principal_rows(x, np.ones(len(x)), np.ones(x.shape[1]))
    targets = ridge.plus_minus_one(y, recipe["c"])
    for scores, value in zip(
        ridge.leave_out_scores(principal, y, recipe["c"], penalties=list(expected)), expected.values(), strict=True
    ):
        assert np.square(targets - scores).mean() == pytest.approx(value, rel=1e-9)
