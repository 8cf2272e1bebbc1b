"""Intervals over seeds and test examples together: they hold what they promise, and say what cannot be shown."""

from __future__ import annotations

import numpy as np
import pytest
from simulated import answers

from headstart.judge.crossed import crossed_bootstrap, difference, proportion
from headstart.judge.intervals import paired_difference


def covered(seeds: int, n: int, rounds: int) -> float:
    held = 0
    for at in range(rounds):
        found = answers({"one": [0.85], "other": [0.75]}, seeds=seeds, n=n, seed=1000 * n + at)
        said = difference(found["one"][:, 0], found["other"][:, 0], seed=at)
        held += said.low <= 0.1 <= said.high
    return held / rounds


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    assert 0.90 <= covered(3, 40, 60) <= 1.0


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "n"), [(2, 100), (3, 200), (5, 60), (10, 100)])
def test_the_interval_holds_the_truth_in_92_to_98_of_100(seeds: int, n: int) -> None:
    assert 0.92 <= covered(seeds, n, 500) <= 0.985


@pytest.mark.slow
def test_of_very_few_examples_the_interval_is_wide_rather_than_false() -> None:
    """Among 30 examples the win and the loss that are added weigh much: it holds the truth in 99 of 100."""
    assert 0.95 <= covered(3, 30, 500) < 1


def test_one_row_of_results_is_a_paired_bootstrap() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.random(300) < 0.8, rng.random(300) < 0.7
    ours, plain = difference(one, other, seed=0), paired_difference(one, other, seed=0)
    assert ours.value == pytest.approx(plain.value)
    assert ours.low == pytest.approx(plain.low, abs=0.01)
    assert ours.high == pytest.approx(plain.high, abs=0.01)


def test_it_works_on_any_scores_and_their_order_means_nothing() -> None:
    rng = np.random.default_rng(1)
    one, other = rng.normal(size=(4, 50)) + 0.3, rng.normal(size=(4, 50))
    said, turned = difference(one, other, seed=0), difference(other, one, seed=0)
    assert said.value == pytest.approx((one - other).mean())
    assert (said.low, said.high) == pytest.approx((-turned.high, -turned.low))
    assert said.low < said.value < said.high


def test_two_models_that_never_differ_are_not_equal_for_certain() -> None:
    right = np.ones((3, 40), bool)
    said = difference(right, right, seed=0)
    assert said.value == 0 and said.low < 0 < said.high and said.sign == 0
    assert proportion(right, seed=0).high == 1.0 > proportion(right, seed=0).low


def test_seeds_that_disagree_widen_it() -> None:
    rng = np.random.default_rng(2)
    other = rng.random((3, 400)) < 0.5
    steady = rng.random((3, 400)) < 0.7
    unsteady = rng.random((3, 400)) < np.array([[0.5], [0.7], [0.9]])
    widths = [one.high - one.low for one in (difference(x, other, seed=0) for x in (steady, unsteady))]
    assert widths[1] > 2 * widths[0]


def test_overlapping_splits_widen_it_too() -> None:
    rng = np.random.default_rng(3)
    one, other = (rng.random((5, 100)) < np.linspace(low, low + 0.3, 5)[:, None] for low in (0.6, 0.5))
    plain, raised = (difference(one, other, overlap=overlap, seed=0) for overlap in (0.0, 3 / 7))
    assert raised.value == plain.value
    assert raised.high - raised.low >= plain.high - plain.low


def test_examples_that_were_not_tested_do_not_count() -> None:
    rng = np.random.default_rng(4)
    one, other = rng.random((3, 60)) < 0.8, rng.random((3, 60)) < 0.6
    tested = rng.random((3, 60)) < 0.5
    said = difference(one, other, tested=tested, seed=0)
    assert said.value == pytest.approx(one[tested].mean() - other[tested].mean())
    noise = difference(one | ~tested, other & tested, tested=tested, seed=0)
    assert noise == said


def test_several_intervals_that_hold_at_once_are_wider_and_the_smallest_difference_follows_the_width() -> None:
    rng = np.random.default_rng(5)
    one, other = rng.random((3, 100)) < 0.8, rng.random((3, 100)) < 0.8
    alone, together = (difference(one, other, simultaneous=count, seed=0) for count in (1, 3))
    assert together.high - together.low > alone.high - alone.low
    assert alone.detectable > (alone.high - alone.low) / 2
    small, large = (
        difference(rng.random((3, n)) < 0.8, rng.random((3, n)) < 0.8, seed=0).detectable for n in (20, 2000)
    )
    assert small > 3 * large


def test_figures_that_are_not_linear_have_intervals_as_well() -> None:
    rng = np.random.default_rng(6)
    arms = [rng.random((4, 2, 200)) < 0.8, rng.random((4, 1, 200)) < 0.6]
    (ratio,) = crossed_bootstrap(arms, lambda means: means[0][:, :1] / means[1], seed=0)
    assert ratio.value == pytest.approx(arms[0][:, 0].mean() / arms[1].mean())
    assert 1.0 < ratio.low < ratio.value < ratio.high < 1.8


def test_the_same_seed_says_the_same() -> None:
    rng = np.random.default_rng(7)
    one, other = rng.random((3, 30)) < 0.8, rng.random((3, 30)) < 0.6
    assert difference(one, other, seed=3) == difference(one, other, seed=3)
