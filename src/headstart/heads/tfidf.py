"""Words as features: TF-IDF of words and pairs of words, and a logistic head on them, all sparse.

scikit-learn was tried on four sets of 5,000 to 10,000 texts (`bench/heads.py`, 2026-11-27). Its TfidfVectorizer gives
the same vectors (a test holds that) in 0.7 to 1.3 times our CPU time, but importing it costs 0.9 s of CPU. With that,
choosing a head on words would take 1.1 to 2.1 times as long, and a `predict` of one text 1.6 times. LogisticRegression
took 0.4 to 9.6 times our CPU time, 3.9 times on the largest set, for the same accuracy to within 0.002.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.cache import Arrays
from headstart.base.config import cores
from headstart.heads.convex import LOGISTIC, minimise
from headstart.heads.cross_validation import best_trial
from headstart.heads.folds import LabelledFolds, label_folds
from headstart.heads.linear import for_all_classes, probabilities_of_all_classes, softmax

if TYPE_CHECKING:
    from scipy.sparse import csr_array

TOKEN = re.compile(r"\w+|[^\w\s]")
MIN_TEXTS_WITH_TERM = 2  # for a term to count, where the data has any term in that many
MAX_TERMS = 200_000  # the commonest
MAX_CHARACTERS = 100_000  # of a text that are looked at
TFIDF_PENALTIES = (0.3, 0.05)
TFIDF_TOLERANCE = 1e-3
MAX_TFIDF_STEPS = 100
TFIDF_MEMORY = 4  # of L-BFGS: with so many weights, each step remembered costs as much as a look at the texts


@dataclass(frozen=True)
class Vocabulary:
    """Words and pairs of words, and how much each counts."""

    terms: tuple[str, ...]  # sorted; a pair has a space inside
    # how rare each is, float32 of shape (v,): `ln((1 + n) / (1 + df)) + 1` (Salton & Buckley 1988, smoothed)
    idf: NDArray[np.float32]

    def vectors(self, texts: Sequence[str]) -> csr_array:
        """Return the texts as rows of unit length, float32 of shape (n, v): `(1 + ln count) idf` of each term."""
        return count_terms(texts).vectors(self)


@dataclass(frozen=True)
class TfidfHead:
    """Scores of classes by the words of a text: `vocabulary.vectors(texts) @ weight + bias`, over `temperature`."""

    vocabulary: Vocabulary  # the words
    weight: NDArray[np.float32]  # float32 of shape (v, c)
    bias: NDArray[np.float32]  # float32 of shape (c,)
    temperature: float = 1.0  # > 0; divides the scores
    penalty: float = 0.0  # the strength of regularisation that was chosen

    def scores(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return class scores before calibration, float32 of shape (n, c)."""
        return np.asarray(self.vocabulary.vectors(texts) @ self.weight + self.bias, dtype=np.float32)

    def predict_proba(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return class probabilities, float32 of shape (n, c), rows summing to 1."""
        return softmax(self.scores(texts) / np.float32(self.temperature))

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return the head as arrays: its terms as UTF-8 bytes with a line break between two, and three of float32."""
        terms = np.frombuffer("\n".join(self.vocabulary.terms).encode("utf-8", "surrogatepass"), dtype=np.uint8)
        return {"names": terms, "idf": self.vocabulary.idf, "weight": self.weight, "bias": self.bias}

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, NDArray[np.generic]], *, temperature: float = 1.0, penalty: float = 0.0
    ) -> TfidfHead:
        """Return the head that `to_arrays` took apart; raises ValueError where the terms are not UTF-8."""
        terms = tuple(arrays["names"].tobytes().decode("utf-8", "surrogatepass").split("\n"))
        idf, weight, bias = (np.asarray(arrays[name], dtype=np.float32) for name in ("idf", "weight", "bias"))
        return cls(Vocabulary(terms, idf), weight, bias, temperature, penalty)


@dataclass(frozen=True)
class TfidfChoice:
    """A head on words, and what such heads predict for training texts that they had not seen."""

    head: TfidfHead  # fitted on all training texts
    out_of_fold: NDArray[np.float32]  # float32 of shape (n, c), calibrated
    test_weights: NDArray[np.float64]  # float64 of shape (n,), how much each text counts in their error

    def to_parts(self) -> tuple[dict[str, Any], Arrays]:
        """Return the choice as plain values and arrays: what the cache holds of it."""
        head = self.head
        arrays: Arrays = {**head.to_arrays(), "out_of_fold": self.out_of_fold, "test_weights": self.test_weights}
        return {"temperature": float(head.temperature), "penalty": float(head.penalty)}, arrays

    @classmethod
    def from_parts(cls, plain: Mapping[str, Any], arrays: Arrays) -> TfidfChoice:
        """Return the choice that `to_parts` took apart."""
        return cls(TfidfHead.from_arrays(arrays, **plain), arrays["out_of_fold"], arrays["test_weights"])


def terms_of(text: str) -> Iterator[str]:
    """Return the words of a text in lower case, marks of punctuation too, and the pairs that follow each other."""
    words = TOKEN.findall(text[:MAX_CHARACTERS].lower())
    return chain(words, (f"{first} {second}" for first, second in pairwise(words)))


@dataclass(frozen=True)
class TermCounts:
    """How often each term stands in each text, as a sparse matrix of n rows."""

    column_of: dict[str, int]  # the column of each term, in the order in which they were met
    columns: NDArray[np.int32]  # int32, of each count
    counts: NDArray[np.float32]  # float32
    starts: NDArray[np.int64]  # int64 of shape (n + 1,), where the counts of each text start

    def vocabulary(self, copies: NDArray[np.int64]) -> Vocabulary:
        """Return the terms in two texts or more (in one, where no term is in two), at most MAX_TERMS of them.

        Each text counts as often as `copies` (n,) says.
        """
        texts_with = np.bincount(self.columns, np.repeat(copies, np.diff(self.starts)), len(self.column_of))
        least = MIN_TEXTS_WITH_TERM if (texts_with >= MIN_TEXTS_WITH_TERM).any() else 1
        common = [(term, texts_with[column]) for term, column in self.column_of.items() if texts_with[column] >= least]
        if len(common) > MAX_TERMS:
            common = sorted(common, key=lambda term_and_count: (-term_and_count[1], term_and_count[0]))[:MAX_TERMS]
        common.sort()
        document_frequency = np.array([count for _, count in common], dtype=np.float64)
        idf = np.log((1 + copies.sum()) / (1 + document_frequency)) + 1
        return Vocabulary(tuple(term for term, _ in common), idf.astype(np.float32))

    def vectors(self, vocabulary: Vocabulary) -> csr_array:
        """Return rows of unit length, float32 of shape (n, v)."""
        from scipy.sparse import csr_array

        place_of = {term: place for place, term in enumerate(vocabulary.terms)}
        places = np.array([place_of.get(term, -1) for term in self.column_of], dtype=np.int32)[self.columns]
        in_vocabulary = places >= 0
        n = len(self.starts) - 1
        rows = np.repeat(np.arange(n), np.diff(self.starts))[in_vocabulary]
        columns = places[in_vocabulary]
        values = (1 + np.log(self.counts[in_vocabulary])) * vocabulary.idf[columns]
        lengths = np.sqrt(np.bincount(rows, np.square(values, dtype=np.float64), minlength=n))
        values /= lengths[rows]
        starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n))]).astype(np.int32)
        return csr_array((values.astype(np.float32), columns, starts), shape=(n, len(vocabulary.terms)))


def count_terms(texts: Sequence[str]) -> TermCounts:
    """Return how often each word and each pair of words stands in each text."""
    column_of: dict[str, int] = {}
    columns, counts, starts = array("i"), array("f"), array("q", [0])
    for text in texts:
        in_text = Counter(terms_of(text))
        columns.extend(column_of.setdefault(term, len(column_of)) for term in in_text)
        counts.extend(in_text.values())
        starts.append(len(columns))
    return TermCounts(column_of, np.array(columns, np.int32), np.array(counts, np.float32), np.array(starts, np.int64))


def choose_tfidf(
    texts: Sequence[str],
    y: NDArray[np.int64],
    c: int,
    *,
    seed: int,
    groups: Sequence[str] | None = None,
    copies: NDArray[np.int64] | None = None,
) -> TfidfChoice:
    """Fit logistic regression on TF-IDF, with the penalty that has the least log loss on unseen texts.

    Equal texts, or those of one of n `groups`, stand in one fold; `y` are class ids of shape (n,), in 0..c-1. Each text
    stands for as many equal ones of its class as `copies` (n,) says; None for one.
    """
    copies = np.ones(len(y), np.int64) if copies is None else copies
    counts = count_terms(texts)
    vocabulary = counts.vocabulary(copies)
    x = counts.vectors(vocabulary)
    contents = (text.encode("utf-8", "surrogatepass") for text in texts)
    weights = copies.astype(np.float64)
    labelled = label_folds(contents, y, weights, folds=3, seed=seed, groups=groups, counts=copies)
    trial = best_trial(labelled, "logistic", TFIDF_PENALTIES, _out_of_fold_scores(x, labelled))
    penalties = [each for each in TFIDF_PENALTIES if each >= trial.penalty]
    path = _fit_sparse(x, labelled.y, labelled.c, penalties, copies)
    *_, (weight, bias) = path
    weight, bias = for_all_classes(weight, bias, labelled.present, c)
    head = TfidfHead(vocabulary, weight, bias, trial.temperature, trial.penalty)
    out_of_fold = probabilities_of_all_classes(trial.scores, trial.temperature, labelled.present, c)
    return TfidfChoice(head, out_of_fold, labelled.test_weights)


def _out_of_fold_scores(x: csr_array, labelled: LabelledFolds) -> NDArray[np.float32]:
    """Return scores (penalties, n, c) of each text by heads fitted without it, float32; 0 where none leaves it out."""

    def left_out(fold: int) -> NDArray[np.float32]:
        learn, test = np.flatnonzero(labelled.folds != fold), np.flatnonzero(labelled.folds == fold)
        if not len(test):
            return np.empty(0, np.float32)
        path = _fit_sparse(x[learn], labelled.y[learn], labelled.c, TFIDF_PENALTIES, labelled.counts[learn])
        return np.array([x[test] @ weight + bias for weight, bias in path], np.float32)

    scores = np.zeros((len(TFIDF_PENALTIES), len(labelled.y), labelled.c), np.float32)
    with ThreadPoolExecutor(cores()) as pool:
        for fold, of_fold in enumerate(pool.map(left_out, range(labelled.count))):
            if of_fold.size:
                scores[:, labelled.folds == fold] = of_fold
    return scores


def _fit_sparse(
    x: csr_array, y: NDArray[np.int64], c: int, penalties: Sequence[float], copies: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Yield weight (v, c) and bias (c,) for each penalty, strongest first, each started from the one before."""
    v = x.shape[1]
    transposed = x.T.tocsr()
    weights = copies.astype(np.float32)[None]
    powers = np.asarray(x.multiply(x).multiply(weights.T).sum(axis=0)).ravel()
    point = np.zeros((v + 1, c))
    curvature = LOGISTIC.curvature(c)
    for penalty in penalties:
        units = 1 / np.sqrt(np.append(curvature * powers + penalty, curvature * copies.sum()))[:, None]

        def losses(
            flat: NDArray[np.float64], units: NDArray[np.float64] = units, penalty: float = penalty
        ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
            inner = flat.reshape(v + 1, c) * units
            scores = x @ inner[:v].astype(np.float32) + inner[v].astype(np.float32)
            value, slopes = LOGISTIC.evaluate(np.ascontiguousarray(scores.T)[None], y, weights)
            gradient = np.empty((v + 1, c))
            gradient[:v] = transposed @ np.ascontiguousarray(slopes[0].T) + penalty * inner[:v]
            gradient[v] = slopes[0].sum(axis=1, dtype=np.float64)
            gradient *= units
            return value + penalty / 2 * np.square(inner[:v]).sum(), gradient.reshape(1, -1)

        start = (point / units).reshape(1, -1)
        flat = minimise(losses, start, tolerance=TFIDF_TOLERANCE, steps=MAX_TFIDF_STEPS, memory=TFIDF_MEMORY)
        point = flat.reshape(v + 1, c) * units
        yield point[:v].astype(np.float32), point[v].astype(np.float32)
