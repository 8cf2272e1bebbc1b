"""Words as features: TF-IDF of words and pairs of words, and a logistic head on them, all sparse."""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from headstart.base.config import cores
from headstart.heads.calibration import fit_temperature, log_losses
from headstart.heads.folds import assign_folds
from headstart.heads.lbfgs import minimise
from headstart.heads.linear import softmax
from headstart.heads.logistic import LOGISTIC

if TYPE_CHECKING:
    from scipy.sparse import csr_array

WORD = re.compile(r"\w+|[^\w\s]")
LEAST = 2
"""Texts that a word must stand in to count, where the data has that many texts."""
MOST = 200_000
"""Words and pairs that count at most; the commonest."""
LONGEST = 100_000
"""Characters of a text that are looked at."""
PENALTIES = (0.3, 0.05)
TOLERANCE = 1e-3
STEPS = 100
MEMORY = 4  # of L-BFGS: with so many weights, each step remembered costs as much as a look at the texts
UNSEEN = -1e4  # score of a class without examples: its probability is 0, and no arithmetic overflows


@dataclass(frozen=True)
class Terms:
    """Words and pairs of words, and how much each counts.

    Attributes:
        names: sorted; a pair has a space inside.
        idf: how rare each is, float32 of shape (v,): `ln((1 + n) / (1 + df)) + 1` (Salton & Buckley 1988, smoothed).
    """

    names: tuple[str, ...]
    idf: NDArray[np.float32]

    def vectors(self, texts: Sequence[str]) -> csr_array:
        """Return the texts as rows of unit length, float32 of shape (n, v): `(1 + ln count) idf` of each term."""
        at = {name: number for number, name in enumerate(self.names)}
        columns, counts, rows = array("i"), array("f"), array("q")
        for row, text in enumerate(texts):
            found = Counter(at[term] for term in terms_of(text) if term in at)
            columns.extend(found.keys())
            counts.extend(found.values())
            rows.extend([row] * len(found))
        given = np.array(rows, np.int64), np.array(columns, np.int32), np.array(counts, np.float32)
        return _weighted(*given, len(texts), self)


def _weighted(
    rows: NDArray[np.int64], columns: NDArray[np.int32], counts: NDArray[np.float32], n: int, terms: Terms
) -> csr_array:
    """Return rows of unit length from how often each term stands in each of `n` texts; rows ascend."""
    from scipy.sparse import csr_array

    values = (1 + np.log(counts)) * terms.idf[columns]
    lengths = np.sqrt(np.bincount(rows, np.square(values, dtype=np.float64), minlength=n))
    values /= lengths[rows]
    starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n))]).astype(np.int32)
    return csr_array((values.astype(np.float32), columns, starts), shape=(n, len(terms.names)))


@dataclass(frozen=True)
class TfidfHead:
    """Scores of classes by the words of a text: `terms.vectors(texts) @ weight + bias`, over `temperature`.

    Attributes:
        terms: the words.
        weight: float32 of shape (v, c).
        bias: float32 of shape (c,).
        temperature: > 0; divides the scores.
        penalty: the strength of regularisation that was chosen.
    """

    terms: Terms
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    temperature: float = 1.0
    penalty: float = 0.0

    def scores(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return class scores before calibration, float32 of shape (n, c)."""
        return np.asarray(self.terms.vectors(texts) @ self.weight + self.bias, dtype=np.float32)

    def predict_proba(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return class probabilities, float32 of shape (n, c), rows summing to 1."""
        return softmax(self.scores(texts) / np.float32(self.temperature))


@dataclass(frozen=True)
class TfidfTrial:
    """A head on words, and what such heads say of training texts that they had not seen.

    Attributes:
        head: fitted on all training texts.
        out_of_fold: float32 of shape (n, c), calibrated.
        losses: float64 of shape (n,), log loss of each row of that, in nats.
        counted: float64 of shape (n,), how much each text counts.
    """

    head: TfidfHead
    out_of_fold: NDArray[np.float32]
    losses: NDArray[np.float64]
    counted: NDArray[np.float64]


def terms_of(text: str) -> Iterator[str]:
    """Return the words of a text in lower case, marks of punctuation too, and the pairs that follow each other."""
    words = WORD.findall(text[:LONGEST].lower())
    return chain(words, (f"{one} {other}" for one, other in pairwise(words)))


@dataclass(frozen=True)
class _Counted:
    """How often each term stands in each text: the terms as they were met, and one row of numbers a text."""

    names: dict[str, int]
    columns: NDArray[np.int32]
    counts: NDArray[np.float32]
    starts: NDArray[np.int64]

    def vectors(self, terms: Terms) -> csr_array:
        """Return what `terms.vectors` returns for these texts, which need not be taken apart again."""
        place = np.full(len(self.names), -1, np.int32)
        place[[self.names[name] for name in terms.names]] = np.arange(len(terms.names))
        columns = place[self.columns]
        kept = columns >= 0
        rows = np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))[kept]
        return _weighted(rows, columns[kept], self.counts[kept], len(self.starts) - 1, terms)


def find_terms(texts: Sequence[str]) -> Terms:
    """Return the terms of training texts: those in two texts or more (in one, where no term is in two)."""
    return _commonest(_counted(texts), len(texts))


def _counted(texts: Sequence[str]) -> _Counted:
    names: dict[str, int] = {}
    columns, counts, starts = array("i"), array("f"), array("q", [0])
    for text in texts:
        found = Counter(terms_of(text))
        columns.extend(names.setdefault(term, len(names)) for term in found)
        counts.extend(found.values())
        starts.append(len(columns))
    return _Counted(names, np.array(columns, np.int32), np.array(counts, np.float32), np.array(starts, np.int64))


def _commonest(counted: _Counted, texts: int) -> Terms:
    held = np.bincount(counted.columns, minlength=len(counted.names))
    least = LEAST if (held >= LEAST).any() else 1
    common = [(name, held[at]) for name, at in counted.names.items() if held[at] >= least]
    if len(common) > MOST:
        common = sorted(common, key=lambda one: (-one[1], one[0]))[:MOST]
    common.sort()
    held_in = np.array([count for _, count in common], dtype=np.float64)
    return Terms(tuple(name for name, _ in common), (np.log((1 + texts) / (1 + held_in)) + 1).astype(np.float32))


def fit_terms(texts: Sequence[str], y: NDArray[np.int64], c: int, *, seed: int, folds: int = 3) -> TfidfTrial:
    """Fit logistic regression on TF-IDF and keep the penalty with the least log loss on unseen texts.

    Args:
        texts: to learn from; equal ones stand in one fold.
        y: class ids of shape (n,), in 0..c-1.
        c: number of classes.
        seed: of the folds.
        folds: how many.
    """
    counted_in = _counted(texts)
    terms = _commonest(counted_in, len(texts))
    x = counted_in.vectors(terms)
    present, ids = np.unique(y, return_inverse=True)
    fold_of = _folds(texts, ids, folds, seed)
    counted = (fold_of >= 0).astype(np.float64) if (fold_of >= 0).any() else np.ones(len(ids))

    def unseen(fold: int) -> NDArray[np.float32]:
        kept, out = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
        path = _path(x[kept], ids[kept], len(present), PENALTIES)
        return np.stack([x[out] @ weight + bias for weight, bias in path]) if len(out) else np.empty(0, np.float32)

    scores = np.zeros((len(PENALTIES), len(ids), len(present)), np.float32)
    with ThreadPoolExecutor(cores()) as pool:
        for fold, said in enumerate(pool.map(unseen, range(folds))):
            if said.size:
                scores[:, fold_of == fold] = said
    best = min((_judged(one, ids, counted) for one in zip(PENALTIES, scores, strict=True)), key=lambda one: one[0])
    _, penalty, temperature, losses, own = best
    *_, (weight, bias) = _path(x, ids, len(present), [one for one in PENALTIES if one >= penalty])
    every, every_bias = np.zeros((len(weight), c), np.float32), np.full(c, UNSEEN, np.float32)
    every[:, present], every_bias[present] = weight, bias
    out_of_fold = np.zeros((len(y), c), np.float32)
    out_of_fold[:, present] = softmax(own / np.float32(temperature))
    return TfidfTrial(TfidfHead(terms, every, every_bias, temperature, penalty), out_of_fold, losses, counted)


def _judged(
    tried: tuple[float, NDArray[np.float32]], y: NDArray[np.int64], counted: NDArray[np.float64]
) -> tuple[float, float, float, NDArray[np.float64], NDArray[np.float32]]:
    """Return the log loss of a penalty, the penalty, its temperature, the loss of each text, and its scores."""
    penalty, scores = tried
    temperature = fit_temperature(scores, y, counted)
    losses = log_losses(scores.copy(), y, temperature)
    return float(counted @ losses / counted.sum()), penalty, temperature, losses, scores


def _folds(texts: Sequence[str], y: NDArray[np.int64], folds: int, seed: int) -> NDArray[np.int64]:
    """Return the fold of each text, or -1 where its class stands nowhere else."""
    from headstart.base.hashing import sha256

    number: dict[str, int] = {}
    groups = np.array([number.setdefault(text, len(number)) for text in texts], dtype=np.int64)
    keys = [bytes.fromhex(sha256(text.encode("utf-8", "surrogatepass"))) for text in number]
    return assign_folds(y, groups, keys, folds=folds, seed=seed)


def _path(
    x: csr_array, y: NDArray[np.int64], c: int, penalties: Sequence[float]
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Yield weight (v, c) and bias (c,) for each penalty, strongest first, each started from the one before."""
    n, v = x.shape
    across = x.T.tocsr()
    powers = np.asarray(x.multiply(x).sum(axis=0)).ravel()
    used = np.ones((1, n), np.float32)
    point = np.zeros((v + 1, c))
    for penalty in penalties:
        bend = LOGISTIC.curvature(c)
        units = 1 / np.sqrt(np.append(bend * powers + penalty, bend * n))[:, None]

        def losses(
            flat: NDArray[np.float64], units: NDArray[np.float64] = units, penalty: float = penalty
        ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
            inner = flat.reshape(v + 1, c) * units
            scores = x @ inner[:v].astype(np.float32) + inner[v].astype(np.float32)
            value, slopes = LOGISTIC.loss(np.ascontiguousarray(scores.T)[None], y, used)
            gradient = np.empty((v + 1, c))
            gradient[:v] = across @ np.ascontiguousarray(slopes[0].T) + penalty * inner[:v]
            gradient[v] = slopes[0].sum(axis=1, dtype=np.float64)
            gradient *= units
            return value + penalty / 2 * np.square(inner[:v]).sum(), gradient.reshape(1, -1)

        start = (point / units).reshape(1, -1)
        point = minimise(losses, start, tolerance=TOLERANCE, steps=STEPS, memory=MEMORY).reshape(v + 1, c) * units
        yield point[:v].astype(np.float32), point[v].astype(np.float32)
