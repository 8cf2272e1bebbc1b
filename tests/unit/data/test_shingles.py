"""Texts that are copies of each other share what is rare in them."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.data.shingles import ShingleWeights, normal_form

TEXTS = (
    "The quick brown fox jumps over the lazy dog near the river bank.",
    "What is the capital of Portugal, and how many people live there?",
    "What is the capital of Denmark, and how many people live there?",
    "My card was declined at the supermarket yesterday evening.",
)
CHANGES = {
    "case": str.upper,
    "white space and marks": lambda text: "  " + text.replace(" ", "\n ").replace(".", " !!"),
    "a sentence more": lambda text: f"{text} Please tell me soon.",
    "cut": lambda text: text[: int(0.8 * len(text))],
    "a word less": lambda text: text.replace(" lazy", "").replace(" many", "").replace(" at the", ""),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_text_agrees_with_its_original(change: str) -> None:
    for text in (TEXTS[0], TEXTS[1], TEXTS[3]):
        texts = [normal_form(one) for one in (*TEXTS, CHANGES[change](text))]
        pair = np.array([[TEXTS.index(text), len(TEXTS)]])
        assert ShingleWeights(texts[:-1]).agreements(texts, pair)[0] >= 0.8


def test_texts_that_differ_in_the_word_that_matters_do_not_agree() -> None:
    texts = [normal_form(text) for text in TEXTS]
    pairs = np.array([(a, b) for a in range(4) for b in range(a)])
    assert ShingleWeights(texts).agreements(texts, pairs).max() < 0.8


def test_equal_texts_agree_also_where_every_text_is_the_same() -> None:
    assert ShingleWeights(["ok", "ok"]).agreements(["ok", "ok"], np.array([[0, 1]]))[0] == 1
