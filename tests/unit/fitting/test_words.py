"""The text baseline and its stacking, on truth that either the words or the vectors carry."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from toy_texts import TOPICS, sentences

from headstart.features.modality import TextSummary
from headstart.fitting.words import stack_text_baseline, stacked_candidate, top_words_per_class, truncation_report
from headstart.heads.select import HeadChoice, choose_head
from headstart.run.baseline import fit_text_baseline
from headstart.sources.base import TextPreprocessing
from headstart.sources.registry import open_source

ROWS = sentences(24)
TEXTS = tuple(text for text, _ in ROWS)
CLASSES, Y = np.unique([label for _, label in ROWS], return_inverse=True)
TEST = tuple(text for text, _ in sentences(4, seed=5))


def choice_of(strength: float) -> HeadChoice:
    """Return the choice of a head on features that say the class with some strength."""
    x = np.random.default_rng(0).normal(size=(len(Y), 8)) + strength * np.eye(3, 8)[Y]
    return choose_head(x, Y, list(CLASSES), seed=0)


def test_the_baseline_learns_from_words_and_predicts_the_test_texts() -> None:
    baseline = fit_text_baseline(TEXTS, TEST, Y, 3, seed=0)
    np.testing.assert_array_equal(baseline.probabilities, baseline.choice.head.predict_proba(TEST))
    assert (baseline.probabilities.argmax(axis=1) == np.repeat([0, 2, 1], 4)).mean() > 0.8
    assert (baseline.train, baseline.test) == (TEXTS, TEST)


def test_words_that_carry_the_label_are_stacked_on_vectors_that_do_not() -> None:
    baseline, choice = fit_text_baseline(TEXTS, TEST, Y, 3, seed=0), choice_of(0)
    stacked = stack_text_baseline(choice, baseline, Y)
    assert stacked.text_head is not None and stacked.head.kind == f"{choice.head.kind} + words"
    assert stacked.log_loss == stacked.stacking.log_loss < 0.8 < stacked.stacking.source_log_loss
    row = stacked_candidate(stacked.stacking, replace(choice, layer="pool"), "words")
    assert row.chosen and row.head == stacked.head.kind and row.log_loss == stacked.log_loss


def test_words_that_carry_nothing_leave_the_head_on_vectors_as_it_is() -> None:
    rng = np.random.default_rng(1)
    nonsense = tuple(" ".join(rng.choice(list("abcdefgh"), 5)) for _ in Y)
    choice = choice_of(4)
    stacked = stack_text_baseline(choice, fit_text_baseline(nonsense, TEST, Y, 3, seed=0), Y)
    assert stacked.text_head is None and stacked.head is choice.head
    assert stacked.log_loss == stacked.stacking.source_log_loss
    assert not stacked_candidate(stacked.stacking, replace(choice, layer="pool"), "words").chosen


@pytest.mark.parametrize("uri", ["packaged:wordllama"])
def test_the_words_that_speak_for_a_class_are_those_of_its_topic(uri: str) -> None:
    baseline = fit_text_baseline(TEXTS, TEST, Y, 3, seed=0)
    source = open_source(uri)
    x = source.encode(TEXTS)
    head = choose_head(x, Y, list(CLASSES), seed=0).head
    for table in top_words_per_class(baseline, list(CLASSES), source, head, "pool"):
        for label, words in table.classes:
            assert len(set(words) & set(TOPICS[label])) >= 5, (table.by, label, words)


@pytest.mark.parametrize(
    ("count", "longer", "empty"), [(1, "1 text is", "1 text holds"), (3, "3 texts are", "3 texts hold")]
)
def test_notes_of_one_text_are_written_for_one(count: int, longer: str, empty: str) -> None:
    tokens, read = np.full(4, 9, np.int32), np.array([0] * count + [9] * (4 - count), np.int32)
    extraction = SimpleNamespace(row_of=np.arange(4), summary=TextSummary(tokens, read), unknown=())
    how, info = TextPreprocessing(tokenizer="", limit=8), SimpleNamespace(uri="packaged:minilm")

    def notes(*, whole_words: bool) -> tuple[str, ...]:
        source = SimpleNamespace(preprocessing=how, whole_words=whole_words, info=info)
        return truncation_report(extraction, source)[1]  # type: ignore[arg-type]

    assert notes(whole_words=False)[0].startswith(
        f"{longer} longer than what packaged:minilm reads: the rest was cut off"
    )
    assert notes(whole_words=True)[1].startswith(f"{empty} no word that packaged:minilm knows")
