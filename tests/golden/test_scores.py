"""Transferability scores beside values that an independent implementation computed in float64.

They cannot catch an error in what a score means where both sides share it, nor one that balanced classes hide: the
cases have as many rows of each class.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from headstart.heads.linear import softmax
from headstart.judge import scores

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "transferability.json"
pytestmark = [pytest.mark.shared, pytest.mark.skipif(not GOLDEN.exists(), reason="../shared/golden is not there")]


@pytest.mark.parametrize("name", ["A", "B"])
def test_scores_are_those_of_an_independent_implementation(name: str) -> None:
    case = json.loads(GOLDEN.read_text(encoding="utf-8"))["cases"][name]
    r = np.random.RandomState(case["seed"])
    mu = r.randn(case["C"], case["D"]) * case["sep"]
    y = np.arange(case["N"]) % case["C"]
    x = np.maximum(mu[y] + r.randn(case["N"], case["D"]), 0)
    p = softmax(x @ (r.randn(case["D"], case["Cs"]) * 0.3))
    assert scores.h_score(x, y) == pytest.approx(case["hscore"], rel=1e-6)
    assert scores.leep(p, y) == pytest.approx(case["leep"], rel=1e-6)
    assert scores.nce(p, y) == pytest.approx(case["nce"], rel=1e-6)
    assert scores.trans_rate(x, y) == pytest.approx(case["transrate"], rel=1e-6)
    assert scores.logme(x, y) == pytest.approx(case["logme"], rel=1e-5)
