"""What stacking words on a head of source features is worth, on truth that one of them alone carries."""

from __future__ import annotations

import numpy as np
import pytest
from toy_texts import sentences

from headstart.heads.linear import LinearHead, softmax
from headstart.heads.stacking import Stacking, fit_stacking, stack_heads, stacked_log_loss
from headstart.heads.tfidf import TfidfChoice, choose_tfidf

ROWS = sentences(40)
TEXTS = [text for text, _ in ROWS]
Y = np.unique([label for _, label in ROWS], return_inverse=True)[1].astype(np.int64)


@pytest.fixture(scope="module")
def words() -> TfidfChoice:
    return choose_tfidf(TEXTS, Y, 3, seed=0)


def source_head(strength: float) -> tuple[LinearHead, np.ndarray, np.ndarray]:
    """A head on three random features that say the class with some strength, its features and probabilities."""
    rng = np.random.default_rng(0)
    x = (strength * np.eye(3)[Y] + rng.standard_normal((len(Y), 3))).astype(np.float32)
    head = LinearHead("ridge", 1.0, np.eye(3, dtype=np.float32), np.zeros(3, np.float32), temperature=0.7)
    return head, x, head.predict_proba(x)


def stacked(source: np.ndarray, words: TfidfChoice) -> Stacking:
    return fit_stacking(source, words.out_of_fold, Y, words.test_weights)


def test_words_are_stacked_where_they_help_and_the_two_heads_add_up(words: TfidfChoice) -> None:
    head, x, source = source_head(0.5)
    stacking = stacked(source, words)
    assert stacking.improves and stacking.log_loss < stacking.source_log_loss
    stacked_head, text_head = stack_heads(head, words.head, stacking.shares)
    assert stacked_head.kind == "ridge + words"
    logs = stacking.shares[0] * np.log(source) + stacking.shares[1] * np.log(words.head.predict_proba(TEXTS))
    np.testing.assert_allclose(softmax(stacked_head.scores(x) + text_head.scores(TEXTS)), softmax(logs), atol=1e-4)


def test_words_that_say_nothing_are_not_stacked() -> None:
    rng = np.random.default_rng(0)
    nonsense = [" ".join(rng.choice(list("abcdefgh"), 5)) for _ in Y]
    _, _, source = source_head(3.0)
    assert not stacked(source, choose_tfidf(nonsense, Y, 3, seed=0)).improves


def test_the_shares_are_those_of_the_least_loss_and_a_prior_as_strong_as_one_text(words: TfidfChoice) -> None:
    _, _, source = source_head(1.0)
    stacking, strength = stacked(source, words), np.square(words.test_weights / words.test_weights.sum()).sum()

    def loss_of(shares: tuple[float, float]) -> float:
        prior = strength / 2 * ((shares[0] - 1) ** 2 + shares[1] ** 2)
        return prior + stacked_log_loss(shares, source, words.out_of_fold, Y, words.test_weights)

    for moved in ((0.05, 0), (-0.05, 0), (0, 0.05), (0, -0.05)):
        shares = (stacking.shares[0] + moved[0], stacking.shares[1] + moved[1])
        assert loss_of(shares) >= loss_of(stacking.shares) - 1e-6


def test_known_shares_have_the_loss_of_the_weighted_logs() -> None:
    first, second = np.array([[0.5, 0.5], [0.8, 0.2]], np.float32), np.array([[0.9, 0.1], [0.4, 0.6]], np.float32)
    y, weights = np.array([0, 1]), np.array([1.0, 3.0])
    probabilities = softmax(0.3 * np.log(first.astype(float)) + 2 * np.log(second.astype(float)))
    expected = -(weights @ np.log(probabilities[[0, 1], y])) / 4
    assert stacked_log_loss((0.3, 2.0), first, second, y, weights) == pytest.approx(expected, rel=1e-6)


def test_texts_of_weight_zero_have_no_say(words: TfidfChoice) -> None:
    _, _, source = source_head(1.0)
    weights = (np.arange(len(Y)) % 4 > 0).astype(float)
    spoiled = source.copy()
    spoiled[weights == 0] = np.eye(3, dtype=np.float32)[(Y[weights == 0] + 1) % 3]
    first, second = (fit_stacking(each, words.out_of_fold, Y, weights) for each in (source, spoiled))
    assert first == second


@pytest.mark.parametrize("sure", [0.6, 1 - 1e-9])
def test_heads_without_a_mistake_on_few_examples_are_not_believed_without_bound(sure: float) -> None:
    y = np.arange(8) % 2
    right = np.where(np.eye(2)[y] > 0, sure, 1 - sure).astype(np.float32)
    stacking = fit_stacking(right, right, y, np.ones(8))
    assert max(stacking.shares) < 5 and stacking.log_loss <= stacking.source_log_loss + 1e-9


def test_no_start_leads_newton_away_from_the_least_loss() -> None:
    """A head that is nearly always right and very sure, and one that knows nothing: a whole step overshoots."""
    y = np.arange(40) % 2
    probabilities = np.where(np.eye(2)[y] > 0, 1 - 1e-6, 1e-6).astype(np.float32)
    probabilities[0] = probabilities[0, ::-1]
    nothing = np.random.default_rng(0).dirichlet([1, 1], 40).astype(np.float32)
    stacking = fit_stacking(probabilities, nothing, y, np.ones(40))
    assert stacking.log_loss <= stacking.source_log_loss + 1e-4 < 0.2 and stacking.shares[0] > 0.1
