"""Transferability scores: each beside its definition written out, at its limits, and whatever must not change it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from headstart.base.errors import UsageError
from headstart.heads.linear import softmax
from headstart.judge import scores
from headstart.judge.scores import CLASS_SCORES, FEATURE_SCORES

ROTATED = ["h_score", "shrunk_h_score", "logme", "trans_rate", "gbc", "knn", "lda"]


def blobs(n: int = 40, d: int = 6, c: int = 4, *, apart: float = 1.0, seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    y = np.arange(n) % c
    return rng.normal(size=(c, d))[y] * apart + rng.normal(size=(n, d)), y


def probabilities(n: int, k: int, seed: int = 0) -> NDArray[np.float64]:
    return softmax(np.random.default_rng(seed).normal(size=(n, k)))


def score_of(name: str, x: NDArray[Any], y: NDArray[Any]) -> float:
    """Return a score of either kind: that of classes reads the features as scores of four of them."""
    return FEATURE_SCORES[name](x, y) if name in FEATURE_SCORES else CLASS_SCORES[name](softmax(x[:, :4]), y)


def evidence(x: NDArray[Any], target: NDArray[Any], alpha: float, beta: float) -> float:
    n = len(x)
    covariance = np.eye(n) / beta + x @ x.T / alpha
    _, size = np.linalg.slogdet(covariance)
    return float(-(n * np.log(2 * np.pi) + size + target @ np.linalg.solve(covariance, target)) / (2 * n))


@pytest.mark.parametrize(("n", "d"), [(30, 4), (12, 40)])
def test_logme_is_the_largest_evidence_that_a_fine_search_finds(n: int, d: int) -> None:
    x, y = blobs(n, d, 3)
    logs = np.linspace(-5, 7, 25)
    best = [
        max(evidence(x, (y == own).astype(float), np.exp(a), np.exp(b)) for a in logs for b in logs) for own in range(3)
    ]
    assert scores.logme(x, y) == pytest.approx(np.mean(best), abs=1e-2)
    assert scores.logme(x, y) >= np.mean(best) - 1e-9


@pytest.mark.parametrize(("n", "d"), [(40, 6), (20, 50)])
def test_h_scores_are_their_traces(n: int, d: int) -> None:
    from sklearn.covariance import ledoit_wolf

    x, y = blobs(n, d)
    centred = x - x.mean(axis=0)
    means = np.stack([centred[y == own].mean(axis=0) for own in y])
    between = means.T @ means / n
    pinv = np.linalg.pinv(centred.T @ centred / n, rcond=1e-10, hermitian=True)
    assert scores.h_score(x, y) == pytest.approx(np.trace(pinv @ between), rel=1e-9)
    shrunk, share = ledoit_wolf(x)
    assert scores.shrunk_h_score(x, y) == pytest.approx((1 - share) * np.trace(np.linalg.solve(shrunk, between)))


@pytest.mark.parametrize(("n", "d"), [(40, 6), (24, 60)])
def test_lda_leaves_each_row_out_exactly(n: int, d: int) -> None:
    from sklearn.covariance import ledoit_wolf_shrinkage

    x, y = blobs(n, d, apart=0.4)
    y = np.where(np.arange(n) == 5, 9, y)  # the only row of its class: an error
    within = x - np.stack([x[y == own].mean(axis=0) for own in y])
    share = ledoit_wolf_shrinkage(within, assume_centered=True)
    mean = np.square(within).sum() / (n * d)
    right = []
    for row in range(n):
        rest = np.arange(n) != row
        classes = np.unique(y[rest])
        means = {own: x[rest & (y == own)].mean(axis=0) for own in classes}
        left = x[rest] - np.stack([means[own] for own in y[rest]])
        covariance = (1 - share) * left.T @ left / n + share * mean * np.eye(d)
        gaps = [x[row] - means[own] for own in classes]
        logs = [
            np.log((y[rest] == own).sum()) - gap @ np.linalg.solve(covariance, gap) / 2
            for own, gap in zip(classes, gaps, strict=True)
        ]
        right.append(classes[np.argmax(logs)] == y[row])
    assert scores.lda_agreement(x, y) == pytest.approx(np.mean(right))


def test_neighbours_and_the_distance_of_gaussians_are_counted_as_defined() -> None:
    x, y = np.array([[0.0], [1.0], [2.5], [10.0], [11.0], [13.0]]), np.array([0, 0, 1, 1, 1, 0])
    assert scores.knn_agreement(x, y, neighbours=1) == pytest.approx(4 / 6)  # all but the third and the last
    assert scores.knn_agreement(x[:1], y[:1]) == 0
    one, two = np.array([[-1.0], [1.0]]), np.array([[4.0], [8.0]])
    average = (1 + 4) / 2
    distance = 36 / (8 * average) + np.log(average / 2) / 2
    rows = np.concatenate([one, two])
    assert scores.gbc(rows, np.array([0, 0, 1, 1])) == pytest.approx(-2 * np.exp(-distance))


def test_leep_and_nce_follow_the_source_classes() -> None:
    y = np.array([0, 0, 1, 1])
    p = np.array([[1.0, 0, 0], [1, 0, 0], [0, 1, 0], [0.5, 0.5, 0]])  # nothing falls on the third class
    given_first, given_second = 2 / 2.5, 1.5 / 1.5
    assert scores.leep(p, y) == pytest.approx(
        (2 * np.log(given_first) + np.log(given_second) + np.log((0.5 / 2.5) * 0.5 + 0.5 * given_second)) / 4
    )
    assert scores.nce(np.eye(3)[[0, 0, 1, 0]], y) == pytest.approx((2 * np.log(2 / 3) + np.log(1 / 3)) / 4)
    assert scores.nce(np.eye(2)[y], y) == scores.leep(np.eye(2)[y], y) == 0


@pytest.mark.parametrize("name", [*FEATURE_SCORES, *CLASS_SCORES])
def test_classes_that_are_apart_score_higher(name: str) -> None:
    near, far = (blobs(80, 8, apart=apart) for apart in (0.1, 4.0))
    assert score_of(name, *far) > score_of(name, *near)


@pytest.mark.parametrize("name", [*FEATURE_SCORES, *CLASS_SCORES])
@settings(max_examples=6)
@given(seed=st.integers(0, 1000), n=st.integers(5, 24), d=st.integers(4, 30))
def test_order_of_rows_names_of_labels_and_dtype_change_nothing(name: str, seed: int, n: int, d: int) -> None:
    x, y = blobs(n, d, 3, seed=seed)
    x = x.astype(np.float32)
    score = score_of(name, x, y)
    order = np.random.default_rng(seed).permutation(n)
    assert np.isfinite(score)
    assert score_of(name, x[order], y[order]) == pytest.approx(score, rel=1e-6, abs=1e-9)
    assert score_of(name, x.astype(np.float64), np.array(["z", "a", "m"])[y]) == pytest.approx(score, rel=1e-6)
    assert score_of(name, x, np.array([0, 7, 3])[y]) == pytest.approx(score, rel=1e-6)  # classes without a row


@pytest.mark.parametrize("name", ROTATED)
@settings(max_examples=6)
@given(seed=st.integers(0, 1000), n=st.integers(6, 24), d=st.integers(2, 30))
def test_rotating_the_features_changes_nothing(name: str, seed: int, n: int, d: int) -> None:
    x, y = blobs(n, d, 3, seed=seed)
    turned, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))
    assert score_of(name, x @ turned, y) == pytest.approx(score_of(name, x, y), rel=1e-5)


@pytest.mark.parametrize("name", [*FEATURE_SCORES, *CLASS_SCORES])
@pytest.mark.parametrize("case", ["single example", "one class", "equal rows", "two rows"])
def test_data_at_the_limit_gives_a_finite_score(name: str, case: str) -> None:
    x, y = blobs(13, 5, 3)
    x, y = {
        "single example": (x, np.where(np.arange(13) == 2, 8, y)),
        "one class": (x, np.zeros_like(y)),
        "equal rows": (np.ones_like(x), y),
        "two rows": (x[:2], y[:2]),
    }[case]
    assert np.isfinite(score_of(name, x, y))


Call = Callable[[NDArray[Any], NDArray[Any]], float]


@pytest.mark.parametrize("score", [*FEATURE_SCORES.values(), *CLASS_SCORES.values()])
def test_what_is_no_pair_of_rows_and_labels_is_refused(score: Call) -> None:
    x, y = probabilities(6, 3), np.arange(6) % 2
    for rows, labels in ((x[:, 0], y), (x, y[:4]), (x[:0], y[:0])):
        with pytest.raises(UsageError, match="rows of shape"):
            score(rows, labels)
    with pytest.raises(UsageError, match="finite; found row 1"):
        score(np.where(np.arange(6)[:, None] == 1, np.nan, x), y)


@pytest.mark.parametrize("score", CLASS_SCORES.values())
def test_features_are_no_probabilities(score: Call) -> None:
    with pytest.raises(UsageError, match="must sum to 1"):
        score(*blobs())
