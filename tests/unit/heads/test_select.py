import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from headstart.base.errors import UsageError
from headstart.heads.layer_choice import choose_layer_and_head
from headstart.heads.select import EVALUATIONS_PER_PATH, choose_head, fit_logistic


def data(counts, d=40, apart=1.0, seed=0):
    """Rows of len(counts) Gaussian classes, in mixed order."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    centres = np.random.default_rng(99).normal(size=(len(counts), d))
    return (apart * centres[y] + rng.normal(size=(len(y), d))).astype(np.float32), y


def names(c):
    return [f"class {i}" for i in range(c)]


def test_the_choice_is_good_calibrated_and_tells_what_it_tried():
    x, y = data([60] * 4, apart=0.4)
    choice = choose_head(x, y, names(4), seed=0)
    assert [tried.kind for tried in choice.candidates] == ["ridge", "centroid", "svm", "logistic"]
    assert choice.head.kind in [tried.kind for tried in choice.candidates]
    assert choice.notes == ()
    test, truth = data([500] * 4, apart=0.4, seed=1)
    found = choice.head.predict_proba(test)
    right = found.argmax(axis=1) == truth
    reference = make_pipeline(StandardScaler(), LogisticRegression(C=0.1)).fit(x, y).score(test, truth)
    assert right.mean() > reference - 0.01
    assert found.max(axis=1).mean() == pytest.approx(right.mean(), abs=0.05)
    chosen = next(tried for tried in choice.candidates if tried.kind == choice.head.kind)
    assert (choice.out_of_fold.argmax(axis=1) == y).mean() == pytest.approx(chosen.accuracy)
    assert chosen.log_loss == pytest.approx(-np.log(choice.out_of_fold[np.arange(len(y)), y]).mean(), rel=1e-4)


def test_a_simpler_head_wins_within_one_standard_error():
    x, y = data([50, 50], apart=0.5)
    choice = choose_head(x, y, names(2), seed=0)
    best = min(choice.candidates, key=lambda tried: tried.log_loss)
    order = [tried.kind for tried in choice.candidates]
    assert order.index(choice.head.kind) <= order.index(best.kind)


def test_labels_that_nothing_explains_give_flat_probabilities():
    x, y = data([60, 60], apart=0.0)
    found = choose_head(x, y, names(2), seed=0).head.predict_proba(data([200, 200], apart=0.0, seed=3)[0])
    assert np.abs(found - 0.5).mean() < 0.12


def test_ridge_goes_before_centroid_unless_classes_differ_much_in_size():
    for counts, first in (((40, 20), "ridge"), ((40, 19), "centroid")):
        x, y = data(counts, d=4, apart=0.3)
        assert choose_head(x, y, names(2), seed=0, folds=2).candidates[0].kind == first
    x, y = data((20, 10), d=4, apart=0.3)
    copies = np.where(y == 0, 2, 1)
    assert choose_head(x, y, names(2), seed=0, folds=2, counts=copies).candidates[0].kind == "centroid"


@pytest.mark.parametrize("counts", [(950, 50), (990, 10)])
@pytest.mark.parametrize("apart", [0.25, 0.5])
def test_the_choice_does_not_collapse_onto_the_majority(counts, apart):
    x, y = data(counts, apart=apart)
    test, truth = data([2000, 2000], apart=apart, seed=1)
    choice = choose_head(x, y, names(2), seed=0)
    found = choice.head.predict_proba(test)
    recalls = [(found.argmax(axis=1) == truth)[truth == k].mean() for k in (0, 1)]
    balanced = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, class_weight="balanced")).fit(x, y)
    assert recalls[1] > 0.4
    assert np.mean(recalls) > balanced.score(test, truth) - 0.03
    # Probabilities are for classes of which the larger is twice as common, in the mean over such a mixture.
    mixture = np.where(truth == 0, 2, 1)
    assert np.average(found[:, 1], weights=mixture) == pytest.approx(1 / 3, abs=0.13)
    assert any("count more" in note for note in choice.notes)


def test_balanced_data_are_not_reweighted():
    x, y = data([40, 60])
    assert choose_head(x, y, names(2), seed=0).notes == ()


def test_same_seed_same_bytes():
    x, y = data([40] * 3, apart=0.4)
    first, second = (choose_head(x, y, names(3), seed=7) for _ in range(2))
    assert first.head.weight.tobytes() == second.head.weight.tobytes()
    assert first.head.bias.tobytes() == second.head.bias.tobytes()
    assert first.out_of_fold.tobytes() == second.out_of_fold.tobytes()
    assert first.head.temperature == second.head.temperature


@pytest.mark.parametrize("rare", [1, 2, 3])
def test_a_class_of_few_examples_is_learned_and_noted__TAB_05(rare):
    x, y = data([30, 30, rare], apart=1.5)
    choice = choose_head(x, y, names(3), seed=0)
    assert any(f"class 2 ({rare})" in note for note in choice.notes)
    assert np.isfinite(choice.out_of_fold).all()
    assert (choice.head.predict_proba(x).argmax(axis=1) == y).mean() > 0.95


@pytest.mark.parametrize("counts", [(1, 1), (2, 1), (2, 2), (1, 1, 1, 1), (5, 5)])
def test_tiny_data_give_a_head(counts):
    x, y = data(counts, apart=3)
    choice = choose_head(x, y, names(len(counts)), seed=0)
    assert (choice.head.predict_proba(x).argmax(axis=1) == y).all()
    assert np.isfinite(choice.out_of_fold).all()


def test_a_class_without_examples_is_never_predicted():
    x, y = data([30, 30])
    choice = choose_head(x, np.where(y == 1, 3, 0), names(5), seed=0)
    found = choice.head.predict_proba(100 * x)
    assert np.isfinite(found).all()
    assert found[:, [1, 2, 4]].max() < 1e-6
    assert choice.out_of_fold[:, [1, 2, 4]].max() == 0
    assert choice.head.weight.shape == (40, 5)


def test_copies_do_not_vouch_for_each_other():
    rng = np.random.default_rng(0)
    x = np.repeat(rng.normal(size=(40, 30)).astype(np.float32), 3, axis=0)
    y = np.repeat(rng.integers(0, 2, 40), 3)
    # The labels are noise; only one who sees a copy of a row can know its label.
    for tried in choose_head(x, y, names(2), seed=0).candidates:
        assert tried.accuracy < 0.7
        assert tried.log_loss > 0.6
    grouped = choose_head(
        x + 0.01 * rng.normal(size=x.shape), y, names(2), seed=0, groups=[f"g{i // 3}" for i in range(120)]
    )
    assert all(tried.log_loss > 0.6 for tried in grouped.candidates)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda x, y: (x, np.zeros_like(y)), "two classes"),
        (lambda x, y: (x[:0], y[:0]), "two classes"),
        (
            lambda x, y: (np.where(np.arange(40) == 7, np.where(np.arange(60)[:, None] == 31, np.nan, x), x), y),
            "row 31, column 7",
        ),
        (lambda x, y: (x, y + 1), "class ids must lie in 0..1"),
        (lambda x, y: (x[:-1], y), "one row per label"),
    ],
)
def test_unusable_input_is_one_line(spoil, says):
    x, y = spoil(*data([30, 30]))
    for fit in (
        lambda: choose_head(x, y, names(2), seed=0),
        lambda: choose_layer_and_head([("pool", x)], y, names(2), seed=0),
        lambda: fit_logistic(x, y, 2, penalties=[1.0], seed=0),
    ):
        with pytest.raises(UsageError, match=says) as caught:
            fit()
        assert "\n" not in str(caught.value)


def test_folds_and_layers_must_be_given():
    x, y = data([30, 30])
    with pytest.raises(UsageError, match="folds must be at least 2"):
        choose_head(x, y, names(2), seed=0, folds=1)
    with pytest.raises(UsageError, match="a layer must be given"):
        choose_layer_and_head([], y, names(2), seed=0)


def test_large_data_get_fewer_heads_and_say_so():
    x, y = data([40, 40])
    path = 4 * 80 * 40 * 2 * EVALUATIONS_PER_PATH
    choice = choose_head(x, y, names(2), seed=0, max_operations=3.5 * path)
    assert [tried.kind for tried in choice.candidates] == ["ridge", "centroid", "logistic"]
    assert "3 folds" in choice.notes[0]
    choice = choose_head(x, y, names(2), seed=0, max_operations=0)
    assert [tried.kind for tried in choice.candidates] == ["ridge", "centroid"]
    assert "only nearest centroid and ridge" in choice.notes[0]


def test_copies_count_as_often_as_they_come_without_a_row_each():
    x, y = data([60, 40, 30], apart=0.4, seed=4)
    counts = np.random.default_rng(0).integers(1, 9, len(y))
    few, many = (
        choose_head(x, y, names(3), seed=0, counts=counts),
        choose_head(np.repeat(x, counts, axis=0), np.repeat(y, counts), names(3), seed=0),
    )
    assert [one.kind for one in few.candidates] == [one.kind for one in many.candidates]
    for one, other in zip(few.candidates, many.candidates, strict=True):
        assert (one.penalty, one.accuracy) == (other.penalty, pytest.approx(other.accuracy))
        assert one.log_loss == pytest.approx(other.log_loss, rel=0.02)
    heads = (
        fit_logistic(x, y, 3, penalties=[0.1], seed=0, counts=counts)[0].head,
        fit_logistic(np.repeat(x, counts, axis=0), np.repeat(y, counts), 3, penalties=[0.1], seed=0)[0].head,
    )
    np.testing.assert_allclose(heads[0].weight, heads[1].weight, atol=2e-3)
