"""What must not change a head: the order of the rows, the numbers of the classes, the dtype, classes nobody has."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.heads.select import choose_head
from headstart.judge.metrics import evaluate

PROPERTY = settings(max_examples=12)

problems = st.tuples(
    st.integers(24, 60),  # rows
    st.integers(3, 80),  # columns
    st.integers(2, 4),  # classes
    st.sampled_from([0.0, 0.3, 1.0, 3.0]),  # distance between classes
    st.integers(0, 2**32 - 1),  # seed
)


def drawn(problem):
    n, d, c, apart, seed = problem
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % c)
    centres = rng.normal(size=(c, d))
    x = apart * centres[y] + rng.normal(size=(n, d)) * rng.uniform(0.1, 10, d) + rng.normal(size=d) * 5
    new = rng.normal(size=(20, d)) + apart * centres[np.arange(20) % c]
    return x.astype(np.float32), y, new.astype(np.float32), c


def close(a, b):
    np.testing.assert_allclose(a, b, atol=2e-3)


def chosen(x, y, c):
    return choose_head(x, y, [str(i) for i in range(c)], seed=0)


@PROPERTY
@given(problems)
def test_row_order(problem):
    x, y, new, c = drawn(problem)
    order = np.random.default_rng(problem[-1]).permutation(len(y))
    one, other = chosen(x, y, c), chosen(x[order], y[order], c)
    assert one.head.kind == other.head.kind
    close(one.head.predict_proba(new), other.head.predict_proba(new))
    close(one.out_of_fold[order], other.out_of_fold)


@PROPERTY
@given(problems)
def test_class_renaming(problem):
    x, y, new, c = drawn(problem)
    renamed = np.random.default_rng(problem[-1]).permutation(c)
    one, other = chosen(x, y, c), chosen(x, renamed[y], c)
    close(one.head.predict_proba(new), other.head.predict_proba(new)[:, renamed])


@PROPERTY
@given(problems)
def test_dtype(problem):
    x, y, _, c = drawn(problem)
    one, other = chosen(x, y, c), chosen(x.astype(np.float64), y, c)
    np.testing.assert_array_equal(one.head.weight, other.head.weight)
    assert other.head.weight.dtype == other.out_of_fold.dtype == np.float32


@PROPERTY
@given(problems, st.integers(1, 3))
def test_unused_classes(problem, unused):
    x, y, new, c = drawn(problem)
    one, other = chosen(x, y, c), chosen(x, y + unused, c + unused)
    found = other.head.predict_proba(1e3 * new)
    assert np.isfinite(found).all()
    assert found[:, :unused].max() < 1e-6
    np.testing.assert_array_equal(one.head.weight, other.head.weight[:, unused:])


@PROPERTY
@given(problems)
def test_probabilities_are_probabilities_however_far_the_features(problem):
    x, y, new, c = drawn(problem)
    choice = chosen(x, y, c)
    for found in (choice.out_of_fold, choice.head.predict_proba(new), choice.head.predict_proba(1e6 * new)):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
        assert (found >= 0).all()


@PROPERTY
@given(st.integers(1, 60), st.integers(2, 5), st.integers(0, 2**32 - 1))
def test_metrics_hold_their_values(n, c, seed):
    rng = np.random.default_rng(seed)
    found = evaluate(
        rng.dirichlet(np.full(c, 0.3), n).astype(np.float32), rng.integers(0, c, n), [str(i) for i in range(c)]
    )
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "ece"):
        assert 0 <= found[name]["low"] <= found[name]["value"] <= found[name]["high"] <= 1 + 1e-9
    assert found["log_loss"]["low"] <= found["log_loss"]["value"] <= found["log_loss"]["high"]
