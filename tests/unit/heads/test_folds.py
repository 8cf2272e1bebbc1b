import numpy as np
import pytest

from headstart.heads.folds import MAX_CLASS_RATIO, MOST_VISITS, assign_folds, class_weights, content_groups, visits_of


def folds_of(x, y, *, folds=5, seed=0, groups=None):
    ids, keys = content_groups(x.astype(np.float32), groups)
    return assign_folds(y, ids, keys, folds=folds, seed=seed)


def rows(n, seed=0):
    return np.random.default_rng(seed).normal(size=(n, 4))


def test_folds_are_stratified():
    y = np.repeat([0, 1, 2], [50, 23, 7])
    folds = folds_of(rows(80), y)
    table = np.array([np.bincount(folds[y == k], minlength=5) for k in range(3)])
    assert (table.max(axis=1) - table.min(axis=1) <= 1).all()
    assert np.ptp(table.sum(axis=0)) <= 1


def test_folds_follow_from_content_and_seed_alone():
    x, y = rows(60), np.arange(60) % 3
    folds = folds_of(x, y)
    order = np.random.default_rng(1).permutation(60)
    assert (folds_of(x[order], y[order]) == folds[order]).all()
    assert (folds_of(x, np.array([2, 0, 1])[y]) == folds).all()
    assert (folds_of(x, y, seed=1) != folds).any()


def test_groups_and_copies_are_never_torn_apart():
    y = np.repeat([0, 1], 60)
    groups = [f"g{i // 5}" for i in range(120)]
    folds = folds_of(rows(120), y, groups=groups)
    assert (folds.reshape(-1, 5) == folds[::5, None]).all()
    assert set(folds) == set(range(5))
    copies = np.repeat(rows(40), 3, axis=0)
    folds = folds_of(copies, np.repeat([0, 1], 60))
    assert (folds.reshape(-1, 3) == folds[::3, None]).all()


def test_what_is_all_there_is_of_a_class_is_never_held_out():
    y = np.array([0] * 10 + [1] * 10 + [2] + [3] * 4)
    groups = [*map(str, range(21)), *["same"] * 4]
    folds = folds_of(rows(25), y, groups=groups)
    assert (folds[20:] == -1).all()
    assert (folds[:20] >= 0).all()


def test_every_class_stays_in_every_training_part():
    y = np.repeat(np.arange(6), [2, 3, 4, 5, 9, 30])
    folds = folds_of(rows(53), y)
    for fold in range(5):
        assert set(y[folds != fold]) == set(range(6))


def test_weights_lift_small_classes_up_to_the_ratio_and_no_further():
    assert class_weights(np.repeat([0, 1], [100, 60]), 2) == pytest.approx([1, 1])
    y = np.repeat([0, 1, 3], [90, 9, 1])
    weights = class_weights(y, 4)
    mass = weights * [90, 9, 0, 1]
    assert mass.sum() == pytest.approx(100)
    assert mass[0] / mass[1] == pytest.approx(MAX_CLASS_RATIO)
    assert mass[1] == pytest.approx(mass[3])
    assert weights[2] == 0


def test_an_epoch_visits_what_repeats_massively_in_proportion_and_not_each_time__TXT_06():
    counts = np.array([700_000, 299_000, 999, 1])
    visits = visits_of(counts)
    assert visits.min() == 1 and visits.sum() <= (MOST_VISITS + 1) * len(counts)
    assert (counts / visits).max() <= counts.sum() / (
        MOST_VISITS * len(counts)
    )  # none counts for much more than another
    moderate = np.array([2 * MOST_VISITS, 1, 1])
    assert visits_of(moderate) is moderate
