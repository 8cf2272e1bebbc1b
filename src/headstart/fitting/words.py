"""What the words of texts add to a fit: the text baseline, its stacking before and after tuning, and what is shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.errors import counted, one_line
from headstart.data.text import texts_at
from headstart.engines.base import as_tokens, stacked
from headstart.features.features import Extraction
from headstart.features.modality import TextSummary
from headstart.heads.linear import LinearHead, softmax
from headstart.heads.select import HeadChoice
from headstart.heads.stacking import Stacking, fit_stacking, stack_heads, stacked_log_loss
from headstart.heads.tfidf import TOKEN, TfidfHead
from headstart.judge.report.fit_page import CandidateRow, ClassWords
from headstart.run.baseline import TextBaseline
from headstart.sources.base import Source, TextPreprocessing
from headstart.sources.layers import select

if TYPE_CHECKING:
    from headstart.run.prepare import PreparedData
    from headstart.tune.problem import TuningProblem

WORDS_SHOWN = 8  # of each class
MIN_TEXTS_WITH_WORD = 3  # training texts that a word must stand in to be shown
MAX_UNKNOWN_SHOWN = 10  # words that are shown of those that a file of vectors does not know
MAX_WORDS_LOOKED_UP = 5_000  # the commonest


@dataclass(frozen=True)
class StackedHead:
    """A head on source features, with the text baseline's stacked on it where that is worth it."""

    head: LinearHead  # on the features; its share is folded in where there is a `text_head`
    text_head: TfidfHead | None  # on the words, its share folded in; None where words add nothing to the source
    stacking: Stacking

    @property
    def log_loss(self) -> float:
        """The log loss of what was chosen: both together, or the source alone."""
        return self.stacking.log_loss if self.text_head is not None else self.stacking.source_log_loss


def stack_text_baseline(choice: HeadChoice, text_baseline: TextBaseline, y: NDArray[np.int64]) -> StackedHead:
    """Return the chosen head with the text baseline stacked on it, if out-of-fold log loss says that it helps."""
    words = text_baseline.choice
    stacking = fit_stacking(choice.out_of_fold, words.out_of_fold, y, words.test_weights)
    return stacked_if_better(choice.head, words.head, stacking)


def stacked_if_better(head: LinearHead, text_head: TfidfHead, stacking: Stacking) -> StackedHead:
    """Return both heads with their shares folded in where stacking improves on the source, else the first alone."""
    if not stacking.improves:
        return StackedHead(head, None, stacking)
    head, text_head = stack_heads(head, text_head, stacking.shares)
    return StackedHead(head, text_head, stacking)


def stacked_candidate(stacking: Stacking, choice: HeadChoice, simple: str) -> CandidateRow:
    """Return the head with that of the baseline called `simple` stacked on it as a row of the report."""
    return CandidateRow(
        head=f"{choice.head.kind} + {simple}",
        layer=f"{choice.layer}, {'TF-IDF' if simple == 'words' else simple}",
        log_loss=stacking.log_loss,
        spread=stacking.standard_error,
        chosen=stacking.improves,
        note=f"both, weighted {stacking.shares[0]:.2f} to {stacking.shares[1]:.2f}",
    )


def truncation_report(extraction: Extraction, source: Source) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return how far the texts were read, for `result.json`, and what a person should be told of it."""
    summary = extraction.summary
    assert isinstance(summary, TextSummary)
    tokens_given, read = (counts[extraction.row_of] for counts in (summary.tokens_given, summary.tokens_used))
    tokens, used, short = (int(numbers.sum(dtype=np.int64)) for numbers in (tokens_given, read, read < tokens_given))
    limit = source.preprocessing.limit if isinstance(source.preprocessing, TextPreprocessing) else 0
    long = source.preprocessing.long if isinstance(source.preprocessing, TextPreprocessing) else "cut"
    report = {"limit": limit, "long": long, "truncated": short if limit else 0, "tokens": tokens, "used": used}
    if source.whole_words:
        return _coverage(report, int((read == 0).sum()), extraction.unknown, source)
    if limit and short:
        advice = " (--long-texts chunks reads them whole)" if long == "cut" else ""
        longer = counted(short, "text is", "texts are")
        return report, (f"{longer} longer than what {source.info.uri} reads: the rest was cut off{advice}.",)
    return report, ()


def _coverage(
    report: dict[str, Any], without: int, unknown: Sequence[tuple[str, int]], source: Source
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return `report` with the share of running words that a file of word vectors knows, and the commonest others."""
    share = report["used"] / max(report["tokens"], 1)
    report |= {"coverage": share, "unknown": [list(pair) for pair in unknown[:MAX_UNKNOWN_SHOWN]], "without": without}
    shown = ", ".join(f"{one_line(word, 40)} ({count})" for word, count in unknown[:MAX_UNKNOWN_SHOWN])
    others = f"; the commonest others: {shown}" if shown else ""
    notes = [f"{source.info.uri} knows {share:.1%} of the running words{others}."]
    if without:
        texts = counted(without, "text holds", "texts hold")
        notes.append(f"{texts} no word that {source.info.uri} knows: all features are zero there.")
    return report, tuple(notes)


def top_words_per_class(
    text_baseline: TextBaseline, classes: Sequence[str], source: Source, head: LinearHead, layer: str
) -> list[ClassWords]:
    """Return the words that speak most for each class: by TF-IDF, and by the vectors where the source is a table."""
    text_head = text_baseline.choice.head
    vocabulary = text_head.vocabulary
    tables = [ClassWords("TF-IDF", _strongest(text_head.weight * vocabulary.idf[:, None], vocabulary.terms, classes))]
    network = source.network()
    if network.lookup is None:
        return tables
    counts: Counter[str] = Counter()
    for text in text_baseline.train:
        counts.update(set(TOKEN.findall(text.lower())))
    words = [word for word, count in counts.most_common(MAX_WORDS_LOOKED_UP) if count >= MIN_TEXTS_WITH_WORD]
    if words:
        tokens = as_tokens(stacked([source.prepare(word.encode()) for word in words]))
        vectors, _ = select(network.lookup()(tokens), network.blocks, layer)
        tables.append(ClassWords("word vectors", _strongest(vectors @ head.weight, words, classes)))
    return tables


def _strongest(
    strength: NDArray[np.floating], words: Sequence[str], classes: Sequence[str]
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return the words whose strength (words, classes) for a class, beyond that for the others, is greatest."""
    beyond = strength - strength.mean(axis=1, keepdims=True)
    best = np.argsort(-beyond, axis=0, kind="stable")[:WORDS_SHOWN]
    return tuple((name, tuple(words[row] for row in best[:, column])) for column, name in enumerate(classes))


@dataclass(frozen=True)
class TunedStackedHead(StackedHead):
    """A tuned source's head with the text baseline's stacked on it, beside the frozen source's."""

    frozen_log_loss: float  # of the frozen source with its words, on the examples that evaluated tuning

    @property
    def improves(self) -> bool:
        """Whether the tuned source is the better one when both have the words beside them."""
        return self.log_loss < self.frozen_log_loss

    @property
    def note(self) -> str:
        """Why the frozen source stands, where its words make it the better one."""
        return (
            f"Tuning was not kept: beside words its log loss is {self.log_loss:.3f} where that of the frozen source is "
            f"{self.frozen_log_loss:.3f}; the model is the frozen one."
        )

    def as_dict(self) -> dict[str, Any]:
        """Return what `result.json` says of it."""
        return {
            "joined": self.text_head is not None,
            "log_loss": {"joined": self.stacking.log_loss, "source": self.stacking.source_log_loss},
            "frozen": self.frozen_log_loss,
        }


def stack_after_tuning(
    prepared: PreparedData,
    problem: TuningProblem,
    text_baseline: TextBaseline,
    frozen: Stacking,
    tuned: tuple[LinearHead, NDArray[np.float32]],
) -> TunedStackedHead:
    """Return a tuned head with the text baseline stacked on it, and the log loss that the frozen one has with it.

    Both sources were fitted without the examples that evaluated tuning, so the shares are fitted on these. `tuned` is
    the tuned head and its probabilities of these, of shape (m, c).
    """
    head, probabilities = tuned
    words, weights = _unseen_probabilities(prepared, problem, text_baseline)
    stacked = stacked_if_better(
        head, text_baseline.choice.head, fit_stacking(probabilities, words, problem.y_validation, weights)
    )
    frozen_head = problem.refitted()
    source = softmax(problem.validation_scores(frozen_head) / np.float32(frozen_head.temperature))
    frozen_loss = stacked_log_loss(frozen.shares, source, words, problem.y_validation, weights)
    return TunedStackedHead(stacked.head, stacked.text_head, stacked.stacking, frozen_loss)


def _unseen_probabilities(
    prepared: PreparedData, problem: TuningProblem, text_baseline: TextBaseline
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return the text baseline's probabilities (m, c) of the examples that evaluate tuning, and their weights (m,).

    Each is by a head that was fitted without that text.
    """
    choice = text_baseline.choice
    if not problem.held_out:
        probabilities = choice.head.predict_proba(texts_at(prepared.scan.dataset, problem.validation_positions))
        return probabilities, np.ones(len(probabilities))
    rows = rows_of_held_out(prepared, problem.validation_positions)
    weights = choice.test_weights[rows] / prepared.distinct(prepared.parts.train).counts[rows]
    return choice.out_of_fold[rows], weights if weights.any() else np.ones(len(rows))


def rows_of_held_out(prepared: PreparedData, positions: Sequence[int]) -> NDArray[np.intp]:
    """Return the row of each of some training examples among the distinct ones, of shape (len(positions),)."""
    row_of = dict(zip(prepared.parts.train, prepared.distinct(prepared.parts.train).row_of.tolist(), strict=True))
    return np.array([row_of[position] for position in positions], dtype=np.intp)
