"""Words as features: against scikit-learn, and what joining them with another head is worth."""

from __future__ import annotations

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from toy_texts import sentences

from headstart.heads.linear import LinearHead, softmax
from headstart.heads.stacking import join, try_joined
from headstart.heads.tfidf import PENALTIES, WORD, find_terms, fit_terms

ROWS = sentences(40)
TEXTS = [text for text, _ in ROWS]
Y = np.unique([label for _, label in ROWS], return_inverse=True)[1].astype(np.int64)


def test_vectors_are_those_of_scikit_learn() -> None:
    texts = [*TEXTS, "Bread, bread and more BREAD!", "salt & pepper", ""]
    theirs = TfidfVectorizer(token_pattern=WORD.pattern, ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    wanted = theirs.fit_transform(texts)
    terms = find_terms(texts)
    assert list(terms.names) == sorted(theirs.get_feature_names_out())
    columns = [theirs.vocabulary_[name] for name in terms.names]
    np.testing.assert_allclose(terms.vectors(texts).toarray(), wanted.toarray()[:, columns], atol=1e-6)


def test_the_head_is_logistic_regression() -> None:
    trial = fit_terms(TEXTS, Y, 3, seed=0)
    x = trial.head.terms.vectors(TEXTS)
    theirs = LogisticRegression(C=1 / trial.head.penalty, max_iter=1000).fit(x, Y)
    np.testing.assert_allclose(softmax(trial.head.scores(TEXTS)), theirs.predict_proba(x), atol=0.02)
    assert trial.head.penalty in PENALTIES
    assert (trial.out_of_fold.argmax(axis=1) == Y).mean() > 0.9
    np.testing.assert_allclose(trial.out_of_fold.sum(axis=1), 1, atol=1e-5)


def test_the_same_texts_give_the_same_head() -> None:
    one, other = (fit_terms(TEXTS, Y, 3, seed=1) for _ in range(2))
    assert (one.head.weight == other.head.weight).all() and (one.out_of_fold == other.out_of_fold).all()


def test_texts_without_a_known_word_and_hostile_ones_get_finite_scores__TXT_04_TXT_05() -> None:
    head = fit_terms(TEXTS, Y, 3, seed=0).head
    odd = ["", "zzz", "👩‍👩‍👧", "\u202eabc", "e\u0301" * 50, "a\0b", "<script>", "x" * 1_000_000]
    found = head.predict_proba(odd)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    assert (found[0] == found[1]).all()


def test_rare_classes_and_absent_ones_do_not_break_it__TAB_05() -> None:
    y = Y.copy()
    y[y == 2] = 4
    y[0] = 3
    trial = fit_terms(TEXTS, y, 6, seed=0)
    assert np.isfinite(trial.out_of_fold).all()
    assert (trial.head.predict_proba(TEXTS)[:, [2, 5]] == 0).all()


def test_texts_of_which_no_two_share_a_word() -> None:
    trial = fit_terms([f"only{n}" for n in range(8)], np.arange(8) % 2, 2, seed=0)
    assert np.isfinite(trial.out_of_fold).all()


def heads_of(strength: float) -> tuple[LinearHead, np.ndarray, np.ndarray]:
    """A head on three random features that say the class with some strength, its features and probabilities."""
    rng = np.random.default_rng(0)
    x = (strength * np.eye(3)[Y] + rng.standard_normal((len(Y), 3))).astype(np.float32)
    head = LinearHead("ridge", 1.0, np.eye(3, dtype=np.float32), np.zeros(3, np.float32), temperature=0.7)
    return head, x, head.predict_proba(x)


def test_words_are_joined_where_they_help_and_the_two_heads_add_up() -> None:
    trial = fit_terms(TEXTS, Y, 3, seed=0)
    head, x, source = heads_of(0.5)
    joined = try_joined(source, trial, Y)
    assert joined.better and joined.log_loss < joined.alone
    one, other = join(head, trial.head, joined)
    logs = joined.shares[0] * np.log(source) + joined.shares[1] * np.log(trial.head.predict_proba(TEXTS))
    np.testing.assert_allclose(softmax(one.scores(x) + other.scores(TEXTS)), softmax(logs), atol=1e-4)


def test_words_that_say_nothing_are_not_joined() -> None:
    rng = np.random.default_rng(0)
    nonsense = [" ".join(rng.choice(list("abcdefgh"), 5)) for _ in Y]
    _, _, source = heads_of(3.0)
    assert not try_joined(source, fit_terms(nonsense, Y, 3, seed=0), Y).better


def test_the_shares_are_those_of_the_least_loss() -> None:
    trial = fit_terms(TEXTS, Y, 3, seed=0)
    _, _, source = heads_of(1.0)
    joined = try_joined(source, trial, Y)
    logs = np.log(np.maximum([source, trial.out_of_fold], 1e-9))
    for moved in ((0.05, 0), (-0.05, 0), (0, 0.05), (0, -0.05)):
        a, b = np.add(joined.shares, moved)
        losses = -np.log(softmax(a * logs[0] + b * logs[1])[np.arange(len(Y)), Y])
        assert losses.mean() >= joined.log_loss - 1e-6
