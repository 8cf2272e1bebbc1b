import numpy as np
import pytest

from headstart.base.errors import UsageError
from headstart.judge.baselines import fit_simple, majority_baseline, plain_numbers


def pictures(n, c, seed=0):
    """Small pictures of which a class-coloured corner tells the class, most of the time."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % c
    pixels = rng.integers(0, 256, size=(n, 768))
    pixels[:, :30] = np.clip(y[:, None] * 200 // c + rng.normal(0, 40, size=(n, 30)), 0, 255)
    return pixels.astype(np.uint8), y


def by_baseline(train, y, test, *, c, **how):
    return fit_simple(train, y, c, seed=0, **how).head.predict_proba(plain_numbers(test))


def test_majority_gives_the_training_frequencies():
    found = majority_baseline(np.array([2, 2, 0, 2]), 4, 3)
    assert found.dtype == np.float32
    assert found == pytest.approx(np.tile([0.25, 0, 0.75, 0], (3, 1)))


def test_pixels_that_tell_are_learned():
    train, y = pictures(244, 2)
    test, truth = pictures(200, 2, seed=1)
    found = by_baseline(train, y, test, c=2)
    assert found.shape == (200, 2)
    assert found.sum(axis=1) == pytest.approx(np.ones(200), abs=1e-5)
    assert (found.argmax(axis=1) == truth).mean() > 0.9


def test_pixels_that_tell_nothing_stay_at_chance():
    rng = np.random.default_rng(0)
    train, test = rng.integers(0, 256, size=(2, 100, 768), dtype=np.uint8)
    found = by_baseline(train, np.arange(100) % 2, test, c=2)
    assert 0.3 < (found.argmax(axis=1) == np.arange(100) % 2).mean() < 0.7
    assert np.abs(found - 0.5).mean() < 0.2


def test_all_black_pictures_and_a_class_without_examples_are_borne():
    black = np.zeros((20, 768), np.uint8)
    found = by_baseline(black, np.arange(20) % 2 * 2, black[:3], c=3)
    assert found == pytest.approx(np.tile([0.5, 0, 0.5], (3, 1)), abs=1e-6)


def test_only_so_many_pictures_are_fitted_on():
    train, y = pictures(300, 3)
    test, truth = pictures(90, 3, seed=1)
    found, again, whole = (by_baseline(train, y, test, c=3, limit=limit) for limit in (60, 60, 300))
    assert (found == again).all()
    assert (found != whole).any()
    assert (found.argmax(axis=1) == truth).mean() > 0.7


def test_one_class_is_refused():
    with pytest.raises(UsageError, match="two classes"):
        fit_simple(np.zeros((5, 768), np.uint8), np.zeros(5, int), 2, seed=0)


def test_what_it_says_of_unseen_examples_is_told_for_those_it_was_fitted_on():
    train, y = pictures(300, 3)
    fitted = fit_simple(train, y, 3, seed=0, limit=60)
    assert fitted.rows.shape == fitted.test_weights.shape == (60,) and fitted.out_of_fold.shape == (60, 3)
    accuracy = (fitted.out_of_fold.argmax(axis=1) == y[fitted.rows]).mean()
    assert 0.6 < accuracy < 1.0
