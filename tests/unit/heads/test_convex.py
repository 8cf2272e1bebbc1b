import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from headstart.heads import convex
from headstart.heads.convex import LOGISTIC, SVM
from headstart.heads.principal_axes import principal_rows


def rows(n, d, c, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % c)
    return rng.normal(size=(n, d)) + rng.normal(size=(c, d))[y], y


def fitted(loss, x, y, penalty, weights=None, threads=None):
    ones = np.ones(len(x))
    principal = principal_rows(x, ones, np.ones(x.shape[1]))
    c = int(y.max()) + 1
    weights = ones[None] if weights is None else weights
    # A path of penalties, as in use: the last head must not remember the ones before.
    *_, heads = convex.fit_convex(
        loss,
        principal,
        y,
        c,
        penalties=[100 * penalty, 10 * penalty, penalty],
        weights=weights,
        tolerance=1e-13,
        threads=threads,
    )
    return [principal.unfold(heads.coefficients[m].T, heads.intercept[m]) for m in range(len(weights))]


@pytest.mark.parametrize(("n", "d", "c"), [(90, 12, 3), (40, 70, 4)])
@pytest.mark.parametrize("penalty", [0.1, 5.0])
def test_logistic_is_that_of_scikit_learn(n, d, c, penalty):
    x, y = rows(n, d, c)
    [(weight, bias)] = fitted(LOGISTIC, x, y, penalty)
    theirs = LogisticRegression(C=1 / penalty, tol=1e-10, max_iter=5000).fit(x, y)
    np.testing.assert_allclose(weight, theirs.coef_.T, atol=2e-5)
    np.testing.assert_allclose(bias - bias.mean(), theirs.intercept_ - theirs.intercept_.mean(), atol=5e-5)


def test_two_classes_are_the_binary_logistic_of_half_the_penalty():
    x, y = rows(80, 10, 2)
    [(weight, bias)] = fitted(LOGISTIC, x, y, 2.0)
    theirs = LogisticRegression(C=1 / 1.0, tol=1e-10, max_iter=5000).fit(x, y)
    np.testing.assert_allclose(weight[:, 1] - weight[:, 0], theirs.coef_[0], atol=2e-5)
    assert bias[1] - bias[0] == pytest.approx(theirs.intercept_[0], abs=2e-5)


@pytest.mark.parametrize(("n", "d", "c"), [(90, 12, 3), (40, 70, 4)])
@pytest.mark.parametrize("penalty", [0.5, 20.0])
def test_svm_is_that_of_scikit_learn(n, d, c, penalty):
    x, y = rows(n, d, c)
    x -= x.mean(axis=0)
    [(weight, bias)] = fitted(SVM, x, y, penalty)
    # Liblinear penalises the intercept; a large scale of its column makes that vanish.
    theirs = LinearSVC(
        C=1 / penalty, loss="squared_hinge", dual=False, tol=1e-12, max_iter=100_000, intercept_scaling=1e3
    ).fit(x, y)
    np.testing.assert_allclose(weight, theirs.coef_.T, atol=2e-5)
    np.testing.assert_allclose(bias, theirs.intercept_, atol=2e-5)


@pytest.mark.parametrize("kind", [LOGISTIC, SVM])
def test_sets_of_rows_fitted_at_once_equal_heads_fitted_alone(kind):
    x, y = rows(60, 8, 3)
    kept = np.arange(60) % 4 != np.arange(4)[:, None]
    together = fitted(kind, x, y, 0.3, weights=kept.astype(float))
    for (weight, bias), rest in zip(together, kept, strict=True):
        [(alone, alone_bias)] = fitted(kind, x[rest], y[rest], 0.3)
        np.testing.assert_allclose(weight, alone, atol=2e-5)
        np.testing.assert_allclose(bias, alone_bias, atol=2e-5)


@pytest.mark.thorough
def test_many_rows_and_folds_on_threads_equal_heads_fitted_alone():
    x, y = rows(3 * convex.ROWS_PER_BLOCK + 7, 6, 16)
    folds = np.random.default_rng(1).integers(0, 5, len(x))
    weights = np.where(folds == np.arange(5)[:, None], 0.0, 1.0)
    assert len(weights) * 16 >= convex.MIN_HEADS_TO_SORT
    together = fitted(LOGISTIC, x, y, 1.0, weights, threads=2)
    for fold, (weight, bias) in enumerate(together):
        [(alone, its_bias)] = fitted(LOGISTIC, x, y, 1.0, weights[[fold]], threads=1)
        np.testing.assert_allclose(weight, alone, atol=2e-5)
        np.testing.assert_allclose(bias, its_bias, atol=2e-5)


def test_threads_change_no_byte():
    x, y = rows(2 * convex.ROWS_PER_BLOCK + 1, 4, 3)
    [(weight, _)] = fitted(LOGISTIC, x, y, 1.0, threads=2)
    [(alone, _)] = fitted(LOGISTIC, x, y, 1.0, threads=1)
    assert weight.tobytes() == alone.tobytes()
