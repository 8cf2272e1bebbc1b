"""The probe on planted features, the rungs it is asked on, and what its differences call a tie."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from headstart.heads.cross_validation import cross_validate_ridge, cross_validation_task
from headstart.judge.intervals import Interval
from headstart.ranking import probe as probing
from headstart.ranking.probe import Difference, Unseen, accuracy_of, difference_of, mean_loss, probe


def planted(n: int = 90, d: int = 8, *, apart: float, seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    return (rng.normal(size=(3, d))[y] * apart + rng.normal(size=(n, d))).astype(np.float32), y


def rows(unseen: Unseen) -> Any:
    return np.arange(len(unseen.y))


def test_the_first_split_is_the_cross_validation_of_ridge_and_the_others_are_other_folds() -> None:
    x, y = planted(apart=1.0)
    unseen = probe(x, y, 4, seed=5)
    trial = cross_validate_ridge(cross_validation_task(x, y, 4, seed=5, folds=probing.FOLDS))
    np.testing.assert_array_equal(unseen.probabilities[0].argmax(axis=1), trial.scores.argmax(axis=1))
    assert unseen.probabilities.shape == (probing.REPEATS, 90, 4) and (unseen.probabilities[:, :, 3] == 0).all()
    assert not np.allclose(unseen.probabilities[0], unseen.probabilities[1])
    np.testing.assert_array_equal(probe(x, y, 4, seed=5).probabilities, unseen.probabilities)


def test_what_is_planted_is_told_from_what_is_not() -> None:
    (x, y), (noise, _) = planted(apart=2.0), planted(apart=0.0)
    good, bad = probe(x, y, 3, seed=0), probe(noise, y, 3, seed=0)
    assert accuracy_of(good, rows(good), None).low > 0.8 > 0.5 > accuracy_of(bad, rows(bad), None).value
    difference = difference_of(bad, good, rows(good), None)
    assert difference.accuracy.high < 0 < difference.log_loss.low and not difference.tied
    assert difference_of(good, good, rows(good), None).tied
    assert mean_loss(good, rows(good)) < mean_loss(bad, rows(bad))


def test_copies_count_as_examples_and_clusters_as_one_piece_of_evidence() -> None:
    x, y = planted(apart=0.7)
    unseen = probe(x, y, 3, seed=0)
    copied = np.repeat(np.arange(90), 4)
    alone, known = accuracy_of(unseen, rows(unseen), None), accuracy_of(unseen, copied, copied)
    assert known.value == pytest.approx(alone.value)
    assert known.high - known.low == pytest.approx(alone.high - alone.low, rel=0.1)
    other = probe(x[:, :4], y, 3, seed=0)
    wide, same = difference_of(other, unseen, copied, copied), difference_of(other, unseen, rows(unseen), None)
    assert wide.log_loss == pytest.approx(same.log_loss)


def test_the_only_example_of_a_class_is_not_tested() -> None:
    x, y = planted(apart=1.0)
    y = np.where(np.arange(90) == 7, 3, y)
    unseen = probe(x, y, 4, seed=0)
    assert np.flatnonzero(~unseen.tested).tolist() == [7]
    assert accuracy_of(unseen, rows(unseen), None).value == pytest.approx(np.delete(unseen.right, 7).mean())


def test_words_are_stacked_where_they_help() -> None:
    x, y = planted(apart=0.6)
    knowing = np.where(np.eye(3)[y] > 0, 0.8, 0.1).astype(np.float32)
    ignorant = np.full((90, 3), 1 / 3, np.float32)
    alone = mean_loss(probe(x, y, 3, seed=0), np.arange(90))
    assert mean_loss(probe(x, y, 3, seed=0, words=knowing), np.arange(90)) < alone / 2
    assert mean_loss(probe(x, y, 3, seed=0, words=ignorant), np.arange(90)) == pytest.approx(alone, rel=1e-3)


def test_a_tie_is_what_neither_accuracy_nor_log_loss_tells_apart() -> None:
    level, worse, better = Interval(0.0, -0.1, 0.1), Interval(-0.2, -0.3, -0.1), Interval(0.2, 0.1, 0.3)
    assert Difference(level, level).tied
    assert not Difference(worse, level).tied and not Difference(level, better).tied
    assert Difference(better, worse).tied, "better than the best in both is no reason to leave it out"


def test_every_beginning_of_the_order_is_stratified() -> None:
    y = np.array([0] * 60 + [1] * 30 + [2] * 10)
    order = probing.nested_order(y, seed=3)
    assert sorted(order.tolist()) == list(range(100))
    for n in (10, 20, 50):
        assert np.abs(np.bincount(y[order[:n]], minlength=3) - n * np.array([0.6, 0.3, 0.1])).max() <= 1
    assert order.tolist() != probing.nested_order(y, seed=4).tolist()


@pytest.mark.parametrize(
    ("n", "c", "sizes"),
    [(100, 2, (100,)), (2399, 2, (2399,)), (2400, 2, (600, 2400)), (10_000, 77, (2500, 10_000)), (9600, 2, (2400,))],
)
def test_rungs_grow_to_all_examples(n: int, c: int, sizes: tuple[int, ...]) -> None:
    assert probing.rungs(n, c)[-1] == n and set(sizes) <= set(probing.rungs(n, c))
    assert probing.rungs(9600, 2) == (600, 2400, 9600)


def test_the_better_half_and_whatever_is_tied_goes_on() -> None:
    losses, tied = [0.9, 0.5, 0.6, 0.4, 0.8, 0.7, 1.0], [False, False, False, True, False, False, True]
    assert probing.survivors(losses, tied) == [1, 2, 3, 5, 6]
    assert probing.survivors(losses[:3], [False] * 3) == [0, 1, 2], "three go on in any case"
