import numpy as np
import pytest

from headstart.judge.crossed import difference
from headstart.judge.intervals import (
    MAX_RANDOM_NUMBERS,
    bias_corrected,
    bootstrap_mean,
    effective_number,
    mean_of_proportions,
    paired_difference,
    paired_mean,
    resample_counts,
    share_of,
    wilson,
)


def test_wilson_of_known_values():
    # Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    for successes, n, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        assert wilson(successes, n) == pytest.approx((successes / n, low, high), abs=6e-5)
    assert wilson(5, 5).high == 1


def test_wilson_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    for truth in (0.5, 0.9, 0.97):
        drawn = rng.binomial(80, truth, 2000)
        limits = {count: wilson(count, 80) for count in np.unique(drawn)}
        covered = np.mean([limits[count].low <= truth <= limits[count].high for count in drawn])
        assert 0.925 < covered < 0.985


def test_mean_of_proportions_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(1)
    truth, n = np.array([0.95, 0.8, 0.99]), np.array([40, 60, 20])
    found = [mean_of_proportions(rng.binomial(n, truth), n) for _ in range(1000)]
    assert 0.92 < np.mean([at.low <= truth.mean() <= at.high for at in found]) < 0.99


def test_bootstrap_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(2)
    found = [bootstrap_mean(rng.exponential(size=60), seed=i, resamples=400) for i in range(400)]
    assert 0.89 < np.mean([at.low <= 1 <= at.high for at in found]) < 0.98


@pytest.mark.parametrize(("win", "lose"), [(0.1, 0.1), (0.15, 0.05), (0.02, 0.0)])
def test_paired_difference_covers_the_truth_as_often_as_it_says(win, lose):
    rng = np.random.default_rng(3)
    covered = []
    for seed in range(300):
        luck = rng.uniform(size=100)
        first, second = luck < 0.7 + win, (luck < 0.7) | (luck > 1 - lose)
        interval = paired_difference(first, second, seed=seed)
        covered.append(interval.low <= win - lose <= interval.high)
    assert np.mean(covered) > 0.92


def test_paired_difference_is_signed_and_never_certain_of_equality():
    right = np.arange(50) % 2 == 0
    same = paired_difference(right, right, seed=0)
    assert same.value == 0
    assert same.low < 0 < same.high
    better = paired_difference(np.ones(50, bool), right, seed=0)
    assert better.value == 0.5
    assert 0.3 < better.low < 0.5 < better.high < 0.7
    worse = paired_difference(right, np.ones(50, bool), seed=0)
    assert worse.value == -0.5
    assert worse.high < 0


def test_paired_difference_takes_scores_too():
    rng = np.random.default_rng(0)
    difficulty = rng.normal(size=200) * 10
    interval = paired_difference(difficulty + 0.5 + rng.normal(size=200) * 0.1, difficulty, seed=0)
    assert interval.low == pytest.approx(0.5, abs=0.05)
    assert interval.high == pytest.approx(0.5, abs=0.05)


def test_resamples_stay_within_their_stratum():
    strata = np.random.default_rng(0).permutation(np.repeat([0, 1, 5], [1, 10, 89]))
    counts, again, other = (np.concatenate([*resample_counts(strata, seed=seed, resamples=300)]) for seed in (0, 0, 1))
    for stratum, size in ((0, 1), (1, 10), (5, 89)):
        assert (counts[:, strata == stratum].sum(axis=1) == size).all()
    assert counts[:, strata == 1].mean() == pytest.approx(1)
    assert counts[:, strata == 1].var() == pytest.approx(0.9, abs=0.1)
    assert (counts == again).all()
    assert (counts != other).any()


def test_bias_is_corrected_and_the_value_always_inside():
    rng = np.random.default_rng(0)
    shifted = rng.normal(1.0, 1.0, 5000)
    found = bias_corrected(0.0, shifted)
    assert found.low == pytest.approx(-1 - 1.96, abs=0.15) or found.low < -1.5
    assert found.low < 0 < found.high < shifted.mean() + 1.96
    far = bias_corrected(-50.0, shifted)
    assert far.low <= -50 <= far.high


def test_intervals_hold_where_examples_come_in_clusters__f31():
    """Members that are always alike: taken as independent, the intervals hold in about two of three cases only."""
    random = np.random.default_rng(0)
    held = np.zeros((2, 3))
    for run in range(200):
        clusters = np.repeat(np.arange(30), random.integers(1, 6, 30))
        first, second = ((random.random(30) < 0.7)[clusters] for _ in range(2))
        for row, known in enumerate((None, clusters)):
            share = share_of(first, known)
            gaps = paired_difference(first, second, seed=run, clusters=known), difference(first, second, clusters=known)
            held[row] += share.low <= 0.7 <= share.high, *(gap.low <= 0 <= gap.high for gap in gaps)
    assert (held[0] < 0.8 * 200).all() and (held[1] > 0.9 * 200).all()


def test_a_cluster_of_copies_tells_as_much_as_one_of_them():
    right = np.arange(60) % 3 == 0
    copies, names = np.repeat(right, 4), np.repeat(np.arange(60), 4)
    assert effective_number(copies, names) == pytest.approx(60, rel=0.08)
    assert effective_number(np.ones(240, bool), names) == pytest.approx(60, rel=0.08)
    assert effective_number(right, np.arange(60)) == 60
    many = np.concatenate([*resample_counts(np.repeat(right, 4), seed=0, resamples=50, clusters=names)])
    assert (many.reshape(50, 60, 4) == many.reshape(50, 60, 4)[:, :, :1]).all()
    assert (many[:, copies].sum(axis=1) == 80).all()


def test_clusters_of_one_change_nothing():
    random = np.random.default_rng(0)
    first, second = random.random((2, 80)) < 0.7
    alone = random.permutation(80)
    assert share_of(first, alone) == share_of(first)
    assert paired_difference(first, second, seed=0, clusters=alone) == paired_difference(first, second, seed=0)
    assert difference(first, second, clusters=alone) == difference(first, second)


def test_resamples_of_few_clusters_with_many_members_come_some_at_a_time() -> None:
    clusters = np.arange(60_000) % 6
    blocks = list(resample_counts(np.zeros(60_000, np.int64), seed=0, resamples=200, clusters=clusters))
    assert max(block.size for block in blocks) <= MAX_RANDOM_NUMBERS
    together = np.concatenate([block[:, :6] for block in blocks])
    np.testing.assert_array_equal(together, next(resample_counts(np.zeros(6, np.int64), seed=0, resamples=200)))


def test_the_closed_interval_of_a_paired_mean_is_that_of_student_and_keeps_its_rate() -> None:
    from scipy.stats import t

    rng = np.random.default_rng(0)
    values = rng.normal(size=40)
    half = t.ppf(0.975, 39) * values.std(ddof=1) / np.sqrt(40)
    assert paired_mean(values) == pytest.approx((values.mean(), values.mean() - half, values.mean() + half))
    clustered = paired_mean(np.repeat(values, 3), np.repeat(np.arange(40), 3))
    assert clustered == pytest.approx(paired_mean(values))
    drawn = [paired_mean(sample) for sample in rng.normal(size=(2000, 12))]
    assert np.mean([low <= 0 <= high for _, low, high in drawn]) == pytest.approx(0.95, abs=0.015)


def test_a_paired_mean_that_never_differs_or_is_one_value_is_not_certain() -> None:
    assert paired_mean(np.zeros(50), widest=1.0).high > 0.02 > paired_mean(np.zeros(50)).high == 0
    assert paired_mean(np.ones(1)) == (1.0, -np.inf, np.inf)
