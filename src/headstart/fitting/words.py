"""What the words of texts add to a fit: the simple baseline, a head that leans on them, and what a report shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.errors import one_line
from headstart.data.dataset import Dataset
from headstart.data.text import texts_at
from headstart.engines.base import as_tokens
from headstart.features.extraction import Extraction
from headstart.features.modality import TextSummary
from headstart.heads.linear import LinearHead
from headstart.heads.select import Choice
from headstart.heads.stacking import Joined, join, try_joined
from headstart.heads.tfidf import WORD, TfidfHead, TfidfTrial, fit_terms
from headstart.judge.report.fit_page import CandidateRow, ClassWords
from headstart.sources.base import Source, TextPreprocessing
from headstart.sources.layers import select

SPEAKING = 8  # words shown of each class
KNOWN = 3  # training texts that a word must stand in to be shown
UNKNOWN = 10  # words that are shown of those that a file of vectors does not know
WORDS = 5_000  # the commonest words that are looked at


@dataclass(frozen=True)
class TextBaseline:
    """What words alone say: TF-IDF of words and pairs with logistic regression, the simple baseline of texts.

    Attributes:
        trial: fitted on the training texts.
        train: the training texts.
        test: the test texts.
        probabilities: of the test texts, float32 of shape (m, c).
    """

    trial: TfidfTrial
    train: tuple[str, ...]
    test: tuple[str, ...]
    probabilities: NDArray[np.float32]

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        train: Sequence[int],
        test: Sequence[int],
        trial: TfidfTrial,
        probabilities: NDArray[np.float32],
    ) -> TextBaseline:
        """Return what is known already of the texts at some positions, with the texts."""
        return cls(trial, texts_at(dataset, train), texts_at(dataset, test), probabilities)


def fit_text_baseline(
    dataset: Dataset, train: Sequence[int], test: Sequence[int], y: NDArray[np.int64], *, seed: int
) -> TextBaseline:
    """Fit the words of the training texts and ask them about the test texts.

    Args:
        dataset: of texts.
        train: positions to learn from.
        test: positions to name.
        y: class ids of the training texts.
        seed: of the folds.
    """
    learn, asked = texts_at(dataset, train), texts_at(dataset, test)
    trial = fit_terms(learn, y, len(dataset.classes), seed=seed)
    return TextBaseline(trial, learn, asked, trial.head.predict_proba(asked))


def stacked_heads(
    choice: Choice, words: TextBaseline, y: NDArray[np.int64]
) -> tuple[Joined, tuple[LinearHead, TfidfHead] | None]:
    """Return what joining the chosen head with the words gains, and the two heads where it is worth it."""
    joined = try_joined(choice.out_of_fold, words.trial, y)
    return joined, join(choice.head, words.trial.head, joined) if joined.better else None


def stacked_candidate(joined: Joined, choice: Choice, layer: str) -> CandidateRow:
    """Return the joined head as a row of the report."""
    return CandidateRow(
        head=f"{choice.head.kind} + words",
        layer=f"{layer}, TF-IDF",
        log_loss=joined.log_loss,
        spread=joined.standard_error,
        chosen=joined.better,
        note=f"both, weighted {joined.shares[0]:.2f} to {joined.shares[1]:.2f}",
    )


def truncation_report(extraction: Extraction, source: Source) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return how far the texts were read, for `result.json`, and what a person should be told of it."""
    summary = extraction.summary
    assert isinstance(summary, TextSummary)
    given, used = (int(tokens.sum(dtype=np.int64)) for tokens in (summary.tokens_given, summary.tokens_used))
    short = int((summary.tokens_used < summary.tokens_given).sum())
    limit = source.preprocessing.limit if isinstance(source.preprocessing, TextPreprocessing) else 0
    long = source.preprocessing.long if isinstance(source.preprocessing, TextPreprocessing) else "cut"
    said = {"limit": limit, "long": long, "truncated": short if limit else 0, "tokens": given, "used": used}
    if source.whole_words:
        return _coverage(said, int((summary.tokens_used == 0).sum()), extraction.unknown, source)
    if limit and short:
        advice = " (--long-texts chunks reads them whole)" if long == "cut" else ""
        return said, (f"{short} texts are longer than what {source.info.uri} reads and were cut{advice}.",)
    return said, ()


def _coverage(
    said: dict[str, Any], without: int, unknown: Sequence[tuple[str, int]], source: Source
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return `said` with the share of running words that a file of word vectors knows, and the commonest others."""
    share = said["used"] / max(said["tokens"], 1)
    said |= {"coverage": share, "unknown": [list(one) for one in unknown[:UNKNOWN]], "without": without}
    shown = ", ".join(f"{one_line(word, 40)} ({count})" for word, count in unknown[:UNKNOWN])
    others = f"; the commonest others: {shown}" if shown else ""
    notes = [f"{source.info.uri} knows {share:.1%} of the running words{others}."]
    if without:
        notes.append(f"{without} texts hold no word that {source.info.uri} knows: their features are zeros.")
    return said, tuple(notes)


def top_words_per_class(
    words: TextBaseline, classes: Sequence[str], source: Source, head: LinearHead, layer: str
) -> list[ClassWords]:
    """Return the words that speak most for each class: by TF-IDF, and by the vectors where the source is a table."""
    term = words.trial.head
    strength = term.weight * term.terms.idf[:, None]
    found = [ClassWords("TF-IDF", rows) for rows in [_strongest(strength, term.terms.names, classes)]]
    network = source.network()
    if network.lookup is None:
        return found
    counts: Counter[str] = Counter()
    for text in words.train:
        counts.update(set(WORD.findall(text.lower())))
    known = [word for word, count in counts.most_common(WORDS) if count >= KNOWN]
    if known:
        tokens = as_tokens([source.prepare(word.encode()) for word in known])  # type: ignore[misc]
        vectors, _ = select(network.lookup()(tokens), network.blocks, layer)
        found.append(ClassWords("word vectors", _strongest(vectors @ head.weight, known, classes)))
    return found


def _strongest(
    strength: NDArray[np.floating], names: Sequence[str], classes: Sequence[str]
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return the names whose strength for a class, beyond that for the others, is greatest."""
    beyond = strength - strength.mean(axis=1, keepdims=True)
    best = np.argsort(-beyond, axis=0, kind="stable")[:SPEAKING]
    return tuple((name, tuple(names[at] for at in best[:, column])) for column, name in enumerate(classes))
