import numpy as np
import pytest

from headstart.engines.base import Block
from headstart.features.features import Features
from headstart.heads import closed_form as ridge
from headstart.heads.linear import log_losses
from headstart.heads.principal_axes import column_scale, principal_rows
from headstart.heads.select import fit_ridge


def rows(n, d, c, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % c
    return rng.normal(size=(n, d)) + rng.normal(size=(c, d))[y] * 0.5 + 3, y


def slow_scores(x, goal, weights, penalty):
    """Ridge with an intercept by the normal equations, the intercept as a column that is not penalised."""
    full = np.column_stack([x, np.ones(len(x))])
    shrink = penalty * np.diag([1.0] * x.shape[1] + [0.0])
    gram = (full.T * weights) @ full + shrink
    return np.linalg.solve(gram, (full.T * weights) @ goal)


@pytest.mark.parametrize(("n", "d"), [(40, 7), (15, 30), (20, 20)])
@pytest.mark.parametrize("weighted", [False, True])
def test_left_out_scores_equal_those_of_heads_fitted_without_the_row(n, d, weighted):
    x, y = rows(n, d, 3)
    weights = np.random.default_rng(1).uniform(0.5, 2, n) if weighted else np.ones(n)
    goal = ridge.plus_minus_one(y, 3)
    scores = next(ridge.leave_out_scores(principal_rows(x, weights, np.ones(d)), y, 3, penalties=[0.7]))
    for out in range(n):
        rest = np.arange(n) != out
        coefficients = slow_scores(x[rest], goal[rest], weights[rest], 0.7)
        assert scores[out] == pytest.approx(np.append(x[out], 1) @ coefficients, rel=1e-6, abs=1e-8)


def test_groups_are_left_out_together():
    x, y = rows(24, 10, 2)
    weights = np.random.default_rng(2).uniform(0.5, 2, 24)
    groups = np.array([0] * 6 + [1] * 5 + list(range(2, 15)))
    goal = ridge.plus_minus_one(y, 2)
    scores = next(ridge.leave_out_scores(principal_rows(x, weights, np.ones(10)), y, 2, penalties=[1.3], groups=groups))
    for group in range(15):
        out = groups == group
        coefficients = slow_scores(x[~out], goal[~out], weights[~out], 1.3)
        expected = np.column_stack([x[out], np.ones(out.sum())]) @ coefficients
        assert scores[out] == pytest.approx(expected, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize(("n", "d"), [(60, 8), (20, 50)])
def test_head_gives_the_scores_of_ridge_on_standardised_features(n, d):
    x, y = rows(n, d, 3)
    x = x.astype(np.float32)
    head = fit_ridge(features(x, y, 3), penalties=[0.5])
    z = (x - x.mean(axis=0)) * column_scale(x)
    expected = np.column_stack([z, np.ones(n)]) @ slow_scores(z, ridge.plus_minus_one(y, 3), np.ones(n), 0.5)
    assert head.kind == "ridge"
    assert head.penalty == 0.5
    np.testing.assert_allclose(head.scores(x), expected, atol=2e-5)


def test_a_large_scatter_is_decomposed_as_a_small_one_is():
    x, _ = rows(1100, 1050, 3)
    found = principal_rows(x.astype(np.float32), np.ones(1100), np.ones(1050))
    assert len(found.eigenvalues) == 1050
    np.testing.assert_allclose(found.axes.T @ found.axes, np.eye(1050), atol=1e-5)
    np.testing.assert_allclose(np.square(found.rows).sum(axis=0), found.eigenvalues, rtol=1e-3)
    np.testing.assert_allclose(found.eigenvalues.sum(), np.square(x - x.mean(axis=0)).sum(), rtol=1e-6)


def test_constant_columns_are_dropped_and_rows_have_unit_length_on_average():
    x, y = rows(50, 6, 2)
    x[:, 2] = 1234.5
    x[:, 3] = 1e6 + 1e-3 * x[:, 3]
    x = x.astype(np.float32)
    scale = column_scale(x)
    assert list(np.flatnonzero(scale == 0)) == [2, 3]
    z = (x - x.mean(axis=0, dtype=np.float64)) * scale
    assert np.square(z).sum(axis=1).mean() == pytest.approx(4 / 6)
    head = fit_ridge(features(x, y, 2))
    assert not head.weight[2:4].any()
    assert np.isfinite(head.weight).all()


def test_a_column_that_few_rows_see_active_does_not_swamp_the_others():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 40))
    x[:, 20:] *= rng.random((4000, 20)) < 0.02  # as of a rectified unit that answers to little
    y = (x[:, :5].sum(axis=1) > 0).astype(int)
    x[:, 20:][:20] *= 1e-3
    train, test = x[:20].astype(np.float32), x[20:].astype(np.float32)
    z = (test - train.mean(axis=0)) * column_scale(train)
    assert np.square(z[:, 20:]).sum() < np.square(z[:, :20]).sum()
    head = fit_ridge(features(train, y[:20], 2))
    plain = fit_ridge(features(train[:, :20], y[:20], 2))
    assert log_losses(head.scores(test), y[20:], head.temperature).mean() < 1.1 * np.mean(
        log_losses(plain.scores(test[:, :20]), y[20:], plain.temperature)
    )


def test_deviations_of_many_rows_count_as_they_are():
    x = np.random.default_rng(1).normal(size=(20_000, 8)) * 10.0 ** np.arange(-1, 1, 0.25)
    assert column_scale(x) == pytest.approx(1 / x.std(axis=0) / np.sqrt(8), rel=0.05)
    copies = np.full(50, 400)
    assert column_scale(x[:50], copies) == pytest.approx(column_scale(np.repeat(x[:50], 400, axis=0)))


def test_penalty_is_not_at_the_edge_of_the_grid_on_noisy_data():
    x, y = rows(120, 40, 3, seed=5)
    penalty = fit_ridge(features(x.astype(np.float32), y, 3)).penalty
    assert min(ridge.RIDGE_PENALTIES) < penalty < max(ridge.RIDGE_PENALTIES)


def features(x, y, c):
    names = tuple(f"class {i}" for i in range(c))
    return Features(x, y.astype(np.int64), tuple(map(str, range(len(x)))), names, (Block("pool", x.shape[1]),), "test")
