"""A choice of heads that was taken apart and put together again is the same choice."""

import json

import numpy as np
from toy_texts import sentences

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
