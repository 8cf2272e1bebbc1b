import json

import numpy as np
import pytest
from sklearn import metrics as reference

from headstart.base.errors import UsageError
from headstart.judge.metrics import calibration_bins, calibration_error, evaluate

NAMES = ("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "ece")


def answers(n, c, seed=0, sharpness=2.0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, c, n)
    scores = rng.normal(size=(n, c))
    scores[np.arange(n), y] += sharpness
    powers = np.exp(scores)
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32), y


def names(c):
    return [f"class {i}" for i in range(c)]


@pytest.mark.parametrize(("n", "c"), [(200, 2), (331, 7)])
def test_values_are_those_of_scikit_learn(n, c):
    probabilities, y = answers(n, c)
    exact = probabilities.astype(float) / probabilities.astype(float).sum(axis=1, keepdims=True)
    found = evaluate(probabilities, y, names(c))
    best = probabilities.argmax(axis=1)
    assert found["accuracy"]["value"] == pytest.approx(reference.accuracy_score(y, best))
    assert found["balanced_accuracy"]["value"] == pytest.approx(reference.balanced_accuracy_score(y, best))
    assert found["macro_f1"]["value"] == pytest.approx(reference.f1_score(y, best, average="macro"))
    assert found["log_loss"]["value"] == pytest.approx(reference.log_loss(y, exact), rel=1e-5)
    assert found["confusion"] == reference.confusion_matrix(y, best).tolist()
    theirs = reference.precision_recall_fscore_support(y, best, zero_division=0)
    for key, values in zip(("precision", "recall", "f1", "support"), theirs, strict=True):
        assert [row[key] for row in found["per_class"]] == pytest.approx(list(values))


def test_every_figure_lies_in_its_interval_and_the_whole_is_json():
    found = evaluate(*answers(150, 3), names(3))
    json.dumps(found, allow_nan=False)
    for name in NAMES:
        assert set(found[name]) == {"value", "low", "high"}
        assert found[name]["low"] < found[name]["value"] < found[name]["high"]


def test_same_seed_same_result_and_row_order_does_not_matter_to_the_values():
    probabilities, y = answers(150, 3)
    assert evaluate(probabilities, y, names(3), seed=3) == evaluate(probabilities, y, names(3), seed=3)
    order = np.random.default_rng(0).permutation(150)
    for name in NAMES:
        shuffled = evaluate(probabilities[order], y[order], names(3))[name]
        assert shuffled["value"] == pytest.approx(evaluate(probabilities, y, names(3))[name]["value"])


def test_classes_without_a_test_example_are_left_out():
    probabilities, y = answers(100, 3)
    wider = np.insert(probabilities, 1, 0, axis=1)
    absent = evaluate(wider, np.array([0, 2, 3])[y], names(4))
    present = evaluate(probabilities, y, names(3))
    for name in NAMES:
        assert absent[name] == pytest.approx(present[name])
    assert absent["per_class"][1] == {"class": "class 1", "precision": 0, "recall": 0, "f1": 0, "support": 0}


def test_a_test_part_without_an_error_is_not_certain():
    y = np.arange(40) % 2
    found = evaluate(np.where(y[:, None] == np.arange(2), 0.98, 0.02).astype(np.float32), y, names(2))
    for name in ("accuracy", "balanced_accuracy", "macro_f1"):
        assert found[name]["value"] == 1
        assert 0.8 < found[name]["low"] < 0.95
        assert found[name]["high"] == 1


def test_probability_zero_for_the_truth_is_a_finite_loss():
    found = evaluate(np.array([[1.0, 0.0], [1.0, 0.0]], np.float32), np.array([0, 1]), names(2))
    assert found["log_loss"]["value"] == pytest.approx(-np.log(1e-7) / 2)


def test_calibration_error_of_known_cases():
    rng = np.random.default_rng(0)
    sure = rng.uniform(0.5, 1, 50_000)
    probabilities = np.column_stack([sure, 1 - sure])
    y = (rng.uniform(size=50_000) > sure).astype(int)
    assert calibration_error(probabilities, y) < 0.01
    # Twice as far from certainty as stated: 0.1 too sure on average over a range of 0.5..1.
    assert calibration_error(probabilities, (rng.uniform(size=50_000) > 0.5).astype(int)) == pytest.approx(
        0.25, abs=0.01
    )
    assert calibration_error(np.full((30, 2), 0.5), np.arange(30) % 2) == pytest.approx(0)


def test_one_example_is_enough():
    found = evaluate(np.array([[0.2, 0.8]]), np.array([1]), names(2))
    assert found["accuracy"]["value"] == 1
    assert found["accuracy"]["low"] < 0.5


@pytest.mark.parametrize(
    ("probabilities", "y"),
    [(np.zeros((0, 2)), np.zeros(0, int)), (np.zeros((3, 3)), np.zeros(3, int)), (np.zeros((3, 2)), np.zeros(2, int))],
)
def test_shapes_that_do_not_fit_are_refused(probabilities, y):
    with pytest.raises(UsageError, match="one row per test example"):
        evaluate(probabilities, y, names(2))


def test_calibration_bins_have_equal_width() -> None:
    certainty = np.array([0.55, 0.51, 0.91, 1.0, 0.97], np.float32)
    low, high = calibration_bins(certainty, np.array([True, False, True, True, False]))
    assert (low.count, low.accuracy, round(low.confidence, 6)) == (2, 0.5, 0.53)
    assert (high.count, round(high.accuracy, 6), round(high.confidence, 6)) == (3, 0.666667, 0.96)
    assert calibration_bins(np.empty(0, np.float32), np.empty(0, bool)) == ()


def test_intervals_are_wider_where_examples_come_in_clusters__f31():
    probabilities, y = answers(60, 3)
    copies, labels, clusters = (np.repeat(each, 5, axis=0) for each in (probabilities, y, np.arange(60)))
    single, plain, known = (
        evaluate(*one, names(3), clusters=among)
        for one, among in (((probabilities, y), None), ((copies, labels), None), ((copies, labels), clusters))
    )
    for name in NAMES[:4]:
        width, narrow, usual = (each[name]["high"] - each[name]["low"] for each in (known, plain, single))
        assert known[name]["value"] == plain[name]["value"]
        assert width > 1.8 * narrow and width == pytest.approx(usual, rel=0.25)
