"""Words as features, against scikit-learn."""

from __future__ import annotations

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from toy_texts import sentences

from headstart.heads.linear import softmax
from headstart.heads.tfidf import MAX_CHARACTERS, TFIDF_PENALTIES, TOKEN, TfidfHead, choose_tfidf, count_terms

ROWS = sentences(40)
TEXTS = [text for text, _ in ROWS]
Y = np.unique([label for _, label in ROWS], return_inverse=True)[1].astype(np.int64)


def test_vectors_are_those_of_scikit_learn() -> None:
    texts = [*TEXTS, "Bread, bread and more BREAD!", "salt & pepper", ""]
    theirs = TfidfVectorizer(token_pattern=TOKEN.pattern, ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    expected = theirs.fit_transform(texts)
    vocabulary = count_terms(texts).vocabulary(np.ones(len(texts), np.int64))
    assert list(vocabulary.terms) == sorted(theirs.get_feature_names_out())
    columns = [theirs.vocabulary_[term] for term in vocabulary.terms]
    np.testing.assert_allclose(vocabulary.vectors(texts).toarray(), expected.toarray()[:, columns], atol=1e-6)
    unseen = ["unheard of bread", "", TEXTS[0] + " zzz"]
    expected = theirs.transform(unseen)
    np.testing.assert_allclose(vocabulary.vectors(unseen).toarray(), expected.toarray()[:, columns], atol=1e-6)


def test_the_head_is_logistic_regression() -> None:
    choice = choose_tfidf(TEXTS, Y, 3, seed=0)
    x = choice.head.vocabulary.vectors(TEXTS)
    theirs = LogisticRegression(C=1 / choice.head.penalty, max_iter=1000).fit(x, Y)
    np.testing.assert_allclose(softmax(choice.head.scores(TEXTS)), theirs.predict_proba(x), atol=0.02)
    assert choice.head.penalty in TFIDF_PENALTIES
    assert (choice.out_of_fold.argmax(axis=1) == Y).mean() > 0.9
    np.testing.assert_allclose(choice.out_of_fold.sum(axis=1), 1, atol=1e-5)


def test_the_same_texts_give_the_same_head() -> None:
    first, second = (choose_tfidf(TEXTS, Y, 3, seed=1) for _ in range(2))
    assert (first.head.weight == second.head.weight).all() and (first.out_of_fold == second.out_of_fold).all()


def test_texts_without_a_known_word_and_hostile_ones_get_finite_scores__TXT_04_TXT_05() -> None:
    head = choose_tfidf(TEXTS, Y, 3, seed=0).head
    odd = ["", "zzz", "👩‍👩‍👧", "\u202eabc", "e\u0301" * 50, "a\0b", "<script>", "x" * 1_000_000]
    probabilities = head.predict_proba(odd)
    assert np.isfinite(probabilities).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert (probabilities[0] == probabilities[1]).all()


def test_rare_classes_and_absent_ones_do_not_break_it__TAB_05() -> None:
    y = Y.copy()
    y[y == 2] = 4
    y[0] = 3
    choice = choose_tfidf(TEXTS, y, 6, seed=0)
    assert np.isfinite(choice.out_of_fold).all()
    assert (choice.head.predict_proba(TEXTS)[:, [2, 5]] == 0).all()


def test_texts_of_which_no_two_share_a_word() -> None:
    choice = choose_tfidf([f"only{n}" for n in range(8)], np.arange(8) % 2, 2, seed=0)
    assert np.isfinite(choice.out_of_fold).all()


def test_a_text_is_read_up_to_a_limit() -> None:
    head = choose_tfidf(TEXTS, Y, 3, seed=0).head
    long = "x " * (MAX_CHARACTERS // 2)
    np.testing.assert_array_equal(head.scores([long + " bread oven"]), head.scores([long]))


def test_a_text_is_judged_by_heads_that_have_not_seen_its_copies() -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(list("abcdefghijklmnop"), 6)) for _ in range(40)]
    y = rng.integers(0, 2, 40)  # noise: only one who sees a copy of a text can know its label
    choice = choose_tfidf(texts * 3, np.tile(y, 3), 2, seed=0)
    assert (choice.out_of_fold.argmax(axis=1) == np.tile(y, 3)).mean() < 0.7


def test_a_head_survives_its_arrays() -> None:
    head = choose_tfidf([*TEXTS, "na\u00efve \ud800 caf\u00e9"] * 2, np.tile([*Y, 0], 2), 3, seed=0).head
    again = TfidfHead.from_arrays(head.to_arrays(), temperature=head.temperature, penalty=head.penalty)
    assert again.vocabulary.terms == head.vocabulary.terms and again.penalty == head.penalty
    np.testing.assert_array_equal(again.predict_proba(TEXTS), head.predict_proba(TEXTS))


def test_a_text_with_copies_counts_as_often_as_they_come():
    copies = np.arange(len(Y)) % 3 + 1
    few = choose_tfidf(TEXTS, Y, 3, seed=0, copies=copies).head
    repeated = [text for text, count in zip(TEXTS, copies, strict=True) for _ in range(count)]
    many = choose_tfidf(repeated, np.repeat(Y, copies), 3, seed=0).head
    assert few.vocabulary.terms == many.vocabulary.terms
    np.testing.assert_allclose(few.vocabulary.idf, many.vocabulary.idf, rtol=1e-6)
    assert few.penalty == many.penalty
    np.testing.assert_allclose(few.predict_proba(TEXTS), many.predict_proba(TEXTS), atol=0.02)
