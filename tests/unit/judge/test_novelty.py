"""What is planted far from the training data is told from it, and of what is like it 1 in 100 is called unlike."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from headstart.judge.novelty import AXES, Novelty, fit_novelty, quantile_of_unseen, unit_length

D, WIDTHS = 60, (40, 20)
CENTRES = np.random.default_rng(7).standard_normal((3, D)) * 2
SPREAD = np.linspace(0.2, 2.0, D)


def like(n: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return features of three classes that share an elongated covariance, each scaled by a number of its own."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    x = CENTRES[y] + rng.standard_normal((n, D)) * SPREAD + 6
    return (x * rng.uniform(0.5, 2, (n, 1))).astype(np.float32), y


def unlike(n: int, seed: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((1, D)) * 5 + rng.standard_normal((n, D)) * SPREAD + 6).astype(np.float32)


def fitted(n: int = 600, seed: int = 0) -> Novelty:
    x, y = like(n, seed)
    novelty = fit_novelty(x, y, WIDTHS, folds=np.arange(n) // 3 % 5)
    assert novelty is not None
    return novelty


def test_what_is_like_the_training_data_is_beyond_in_one_of_a_hundred_cases() -> None:
    shares = [(fitted(seed=seed).scores(like(3000, seed + 100)[0], WIDTHS) > 1).mean() for seed in range(5)]
    assert 0.003 < float(np.mean(shares)) < 0.02


def test_what_is_unlike_is_beyond_whatever_its_norm() -> None:
    novelty = fitted()
    far = unlike(200, 1)
    scores = novelty.scores(far, WIDTHS)
    assert scores.dtype == np.float32 and scores.shape == (200,)
    assert (scores > 1).mean() > 0.95
    np.testing.assert_allclose(novelty.scores(far * np.float32(50), WIDTHS), scores, rtol=1e-3)


def test_the_distance_is_that_of_the_whole_covariance() -> None:
    novelty = fitted()
    x = like(7, 3)[0]
    along = novelty.axes.astype(np.float64)
    *values, rest = novelty.variances.astype(np.float64)
    inverse = np.eye(D) / rest + along.T @ np.diag(1 / np.array(values) - 1 / rest) @ along
    gaps = unit_length(x, WIDTHS)[:, None] - novelty.means[None]
    expected = np.einsum("ncd,de,nce->nc", gaps, inverse, gaps).min(axis=1) / novelty.threshold
    np.testing.assert_allclose(novelty.scores(x, WIDTHS), expected, rtol=1e-3)
    np.testing.assert_allclose(along @ along.T, np.eye(len(along)), atol=1e-4)
    assert len(along) == AXES


def test_each_block_is_brought_to_length_one() -> None:
    z = unit_length(like(5, 0)[0], WIDTHS)
    np.testing.assert_allclose(np.linalg.norm(z[:, :40], axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(z[:, 40:], axis=1), 1, rtol=1e-5)
    assert not unit_length(np.zeros((2, 3), np.float32), (3,)).any()


def test_the_threshold_is_that_of_unseen_examples() -> None:
    x, y = like(30, 0)  # of so few examples those that were fitted on lie nearer than others
    rows = np.arange(30)
    seen = fit_novelty(x, y, WIDTHS, folds=np.full(30, -1), unseen=x)
    out_of_fold = fit_novelty(x, y, WIDTHS, folds=rows // 3 % 5)
    assert seen is not None and out_of_fold is not None
    assert out_of_fold.threshold > 1.2 * seen.threshold
    further = fit_novelty(x, y, WIDTHS, folds=np.full(30, -1), unseen=like(500, 9)[0])
    assert further is not None and further.threshold > 1.2 * seen.threshold


def test_the_quantile_is_conformal() -> None:
    assert quantile_of_unseen(np.arange(1, 200.0)) == 198  # rank 198 of 199
    assert quantile_of_unseen(np.arange(1, 50.0)) == 49
    assert quantile_of_unseen(np.zeros(5)) is None
    assert quantile_of_unseen(np.empty(0)) is None


@pytest.mark.parametrize("n", [2, 6, 20])
def test_few_examples_and_features_that_do_not_vary(n: int) -> None:
    y = np.arange(n) % 2
    assert fit_novelty(np.ones((n, 1), np.float32), y, (1,), folds=np.arange(n) % 2) is None
    rng = np.random.default_rng(0)
    few = fit_novelty(rng.standard_normal((n, 5)).astype(np.float32), y, (5,), folds=np.arange(n) // 2 % 5)
    assert few is None or np.isfinite(few.scores(np.ones((3, 5), np.float32), (5,))).all()
    assert (few is None) == (n < 6)


def test_arrays_give_it_again_in_half_the_memory() -> None:
    novelty = fitted()
    arrays = novelty.to_arrays()
    again = Novelty.from_arrays(arrays)
    x = like(100, 4)[0]
    np.testing.assert_allclose(again.scores(x, WIDTHS), novelty.scores(x, WIDTHS), rtol=0.02)
    assert sum(array.nbytes for array in arrays.values()) <= 2 * D * (AXES + 3) + 4 * (AXES + 2)
