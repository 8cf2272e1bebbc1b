"""Layer and head are chosen together by the log loss of unseen examples; the truth is planted."""

import io

import numpy as np
import pytest

from headstart.base.progress import PlainProgress
from headstart.heads.layer_choice import choose_layer_and_head, judge_layers
from headstart.heads.linear import softmax
from headstart.heads.select import advancing, choose_head

Y = np.arange(240) % 3
TEST_Y = np.arange(900) % 3
NAMES = ["a", "b", "c"]


def rows(y, apart, seed, d=12):
    """Rows with Gaussian noise of their own around the centre of their class."""
    centres = apart * np.random.default_rng(99).normal(size=(3, d))
    return (centres[y] + np.random.default_rng(seed).normal(size=(len(y), d))).astype(np.float32)


def chosen(**apart):
    layers = [(name, rows(Y, by, seed)) for seed, (name, by) in enumerate(apart.items())]
    return choose_layer_and_head(iter(layers), Y, NAMES, seed=0), dict(layers)


@pytest.mark.parametrize(
    ("apart", "layer"), [({"pool": 0.8, "joined": 0.1}, "pool"), ({"pool": 0.1, "joined": 0.8}, "joined")]
)
def test_the_layer_that_tells_classes_apart_is_chosen(apart, layer):
    choice, layers = chosen(**apart)
    assert choice.layer == layer and choice.first is None and choice.start == (layer, choice.head)
    assert choice.log_loss == min(tried.log_loss for tried in choice.candidates if tried.kind == choice.head.kind)
    assert {tried.layer for tried in choice.candidates} == {"pool", "joined", f"{layer},{({*apart} - {layer}).pop()}"}
    alone = choose_head(layers[layer], Y, NAMES, seed=0)
    assert choice.head.weight.tobytes() == alone.head.weight.tobytes()


def test_two_layers_that_each_know_something_are_averaged():
    """Noise of its own in each layer: the mean is better than either, and is one linear map of both side by side."""
    choice, layers = chosen(pool=0.35, joined=0.35)
    assert set(choice.layer.split(",")) == {"pool", "joined"}
    single = [tried.log_loss for tried in choice.candidates if "," not in tried.layer]
    assert choice.log_loss < min(single)
    layer, head = choice.start
    second = next(name for name in layers if name != layer)
    assert choice.layer == f"{layer},{second}" and head.weight.shape == (12, 3)
    assert choice.head.weight.shape == (24, 3)
    assert choice.out_of_fold.argmax(axis=1).tolist() != Y.tolist()
    test = {name: rows(TEST_Y, 0.35, seed + 10) for seed, name in enumerate(layers)}
    both = choice.head.predict_proba(np.hstack([test[layer], test[second]]))
    one = head.predict_proba(test[layer])
    assert (both.argmax(axis=1) == TEST_Y).mean() > (one.argmax(axis=1) == TEST_Y).mean() + 0.03


def test_where_nothing_tells_layers_apart_one_head_stays_and_it_is_the_simplest():
    x, stream = rows(Y, 0.5, 0), io.StringIO()
    with PlainProgress(stream).step("Choosing", unit="candidates") as step:
        choice = choose_layer_and_head(
            [("pool", x), ("joined", x.copy())], Y, NAMES, seed=0, on_candidate=advancing(step)
        )
    assert choice.layer == "pool" and choice.head.kind == "centroid"
    best = min(choice.candidates, key=lambda candidate: candidate.log_loss)
    shown = stream.getvalue()
    assert shown.startswith(f"Choosing: {len(choice.candidates)} candidates in ")
    assert shown.endswith(f"; best so far: {best.kind} on {best.layer}, log loss {best.log_loss:.3f}\n")


def test_log_loss_decides_between_layers_where_it_can_and_squared_error_where_it_cannot():
    """Of two layers with scores of the same sizes, one is wrong without mercy on a tenth of the rows."""
    clear, unclear = judge_layers([("noise", rows(Y, 0.05, 1)), ("signal", rows(Y, 0.9, 2))], Y, 3)
    assert clear.layer == "signal" and clear.trial.log_loss < unclear.trial.log_loss - 0.3
    few = np.arange(9) % 3
    pair = judge_layers([("one", rows(few, 0.5, 5)), ("two", rows(few, 0.5, 6))], few, 3)
    gain = pair[1].trial.losses - pair[0].trial.losses
    assert abs(gain.mean()) < gain.std() / np.sqrt(len(few)) * 1.05 and pair[0].error < pair[1].error


def test_a_layer_on_which_fewer_kinds_can_be_tried_gives_way_to_a_narrower_one_that_does_better():
    wide = np.hstack([rows(Y, 0.35, 0), 1e-3 * np.random.default_rng(4).normal(size=(240, 60))]).astype(np.float32)
    paths = 4 * 240 * 12 * 3 * 200
    choice = choose_layer_and_head(
        [("pool", rows(Y, 0.35, 0)), ("joined", wide)], Y, NAMES, seed=0, max_operations=10.5 * paths
    )
    assert {tried.kind for tried in choice.candidates if tried.layer == "pool"} >= {"svm", "logistic"}


def test_the_mean_scores_are_those_of_its_members():
    choice, layers = chosen(pool=0.35, joined=0.35)
    first, head = choice.start
    second = next(name for name in layers if name != first)
    scores = choice.head.scores(np.hstack([layers[first], layers[second]]))
    part = head.scores(layers[first]) / head.temperature / 2
    rest = layers[second] @ choice.head.weight[12:]
    np.testing.assert_allclose(
        softmax(scores), softmax(part + rest + choice.head.bias - head.bias / head.temperature / 2), atol=1e-5
    )
