"""A choice of heads that was taken apart and put together again is the same choice."""

import json

import numpy as np
from toy_texts import sentences

from headstart.heads.layer_choice import choose_layer_and_head
from headstart.heads.select import HeadChoice, choose_head
from headstart.heads.tfidf import TfidfChoice, choose_tfidf


def test_a_choice_of_a_head_survives_json_and_arrays():
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    choice = choose_head(rng.normal(size=(60, 8)) + np.eye(3, 8)[y], y, ["a", "b", "c"], seed=0)
    plain, arrays = choice.to_parts()
    again = HeadChoice.from_parts(json.loads(json.dumps(plain)), arrays)
    assert again.candidates == choice.candidates and again.notes == choice.notes
    assert (again.head.kind, again.head.penalty, again.head.temperature) == (
        choice.head.kind,
        choice.head.penalty,
        choice.head.temperature,
    )
    assert (
        again.log_loss
        == choice.log_loss
        == min(tried.log_loss for tried in choice.candidates if tried.kind == choice.head.kind)
    )
    for name in ("weight", "bias"):
        np.testing.assert_array_equal(getattr(again.head, name), getattr(choice.head, name))
    np.testing.assert_array_equal(again.out_of_fold, choice.out_of_fold)


def test_a_mean_of_two_heads_survives_too():
    rng = np.random.default_rng(0)
    y = np.arange(240) % 3
    layers = [(name, (0.6 * np.eye(3, 8)[y] + rng.normal(size=(240, 8))).astype(np.float32)) for name in ("a", "b")]
    choice = choose_layer_and_head(layers, y, ["a", "b", "c"], seed=0)
    assert choice.first is not None
    plain, arrays = choice.to_parts()
    again = HeadChoice.from_parts(json.loads(json.dumps(plain)), arrays)
    assert (again.layer, again.log_loss, again.start[0]) == (choice.layer, choice.log_loss, choice.start[0])
    np.testing.assert_array_equal(again.start[1].weight, choice.start[1].weight)
    assert again.start[1].plain == choice.start[1].plain


def test_a_choice_of_words_survives_json_and_arrays():
    rows = sentences(8)
    texts = [text for text, _ in rows]
    y = np.unique([label for _, label in rows], return_inverse=True)[1]
    choice = choose_tfidf(texts, y, 3, seed=0)
    plain, arrays = choice.to_parts()
    again = TfidfChoice.from_parts(json.loads(json.dumps(plain)), arrays)
    np.testing.assert_array_equal(again.head.predict_proba(texts), choice.head.predict_proba(texts))
    np.testing.assert_array_equal(again.out_of_fold, choice.out_of_fold)
    np.testing.assert_array_equal(again.test_weights, choice.test_weights)
