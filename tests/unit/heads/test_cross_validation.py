"""What a cross-validation says of unseen rows, against heads that are fitted on the rest alone."""

from dataclasses import replace

import numpy as np
import pytest

from headstart.heads.closed_form import leave_out_scores
from headstart.heads.cross_validation import (
    PLATEAU,
    best_trial,
    cross_validate,
    cross_validate_ridge,
    cross_validation_task,
    evaluate_scores,
)
from headstart.heads.folds import label_folds, weighted_mean


def task_of(n=60, d=6, c=3, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % c)
    return cross_validation_task(rng.normal(size=(n, d)) + rng.normal(size=(c, d))[y], y, c, seed=0, folds=4)


@pytest.mark.parametrize("kind", ["centroid", "svm", "logistic"])
def test_the_score_of_a_row_does_not_depend_on_its_own_label(kind):
    task = task_of()
    twisted = task.y.copy()
    twisted[task.folds == 0] = (twisted[task.folds == 0] + 1) % 3
    before, after = (
        cross_validate(each, kind, [1.0], tolerance=1e-9).scores for each in (task, replace(task, y=twisted))
    )
    np.testing.assert_allclose(before[task.folds == 0], after[task.folds == 0], atol=1e-4)
    assert np.abs(before - after)[task.folds > 0].max() > 0.1


def test_ridge_leaves_out_the_fold_or_the_group():
    task = task_of()
    for by_fold, groups in ((True, task.folds), (False, task.groups)):
        trial = cross_validate_ridge(task, [1.0], by_fold=by_fold)
        expected = next(leave_out_scores(task.principal, task.y, task.c, penalties=[1.0], groups=groups))
        np.testing.assert_array_equal(trial.scores, expected)
        assert (trial.kind, trial.penalty) == ("ridge", 1.0)


def scores_of_accuracy(y, c, sharpness):
    rng = np.random.default_rng(0)
    return np.eye(c)[y] * sharpness + rng.normal(size=(len(y), c))


def test_the_strongest_penalty_within_a_hundredth_is_chosen_and_hopeless_ones_are_not_asked_for():
    y = np.arange(300) % 3
    labelled = label_folds((b"%d" % row for row in range(300)), y, np.ones(300), folds=3, seed=0)
    asked = []

    def scores():
        for sharpness in (0.5, 2.0, 2.005, 2.0, 1.0, 9.0):
            asked.append(sharpness)
            yield scores_of_accuracy(y, 3, sharpness)

    trial = best_trial(labelled, "logistic", [10.0, 10**0.5, 1.0, 10**-0.5, 0.1, 0.01], scores())
    assert trial.penalty == 10**0.5
    assert asked == [0.5, 2.0, 2.005, 2.0]
    better = evaluate_scores(labelled, "logistic", 1.0, scores_of_accuracy(y, 3, 2.005))
    assert better.log_loss < trial.log_loss < better.log_loss * PLATEAU


def test_a_trial_is_calibrated_and_tells_the_error_of_its_loss():
    task = task_of()
    trial = cross_validate(task, "logistic", [1.0])
    mean, error = weighted_mean(trial.losses, task.test_weights)
    assert (trial.log_loss, trial.standard_error) == (mean, error)
    hotter = evaluate_scores(task, "logistic", 1.0, trial.scores * 7)
    assert hotter.temperature == pytest.approx(7 * trial.temperature, rel=1e-3)
    assert hotter.log_loss == pytest.approx(trial.log_loss, rel=1e-5)


def test_the_error_of_a_mean_is_that_of_independent_values():
    values = np.random.default_rng(0).normal(size=500)
    mean, error = weighted_mean(values, np.ones(500))
    assert (mean, error) == (pytest.approx(values.mean()), pytest.approx(values.std() / np.sqrt(500)))
    assert weighted_mean(np.append(values, 1e6), np.append(np.ones(500), 0.0)) == (
        pytest.approx(mean),
        pytest.approx(error),
    )
