"""The simple baseline of a run, and what was chosen before for the same numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.cache import Arrays, ResultCache
from headstart.base.config import cache_dir
from headstart.base.hashing import sha256
from headstart.base.mapped import blocks_of
from headstart.data.images.preprocessing import Preprocessing
from headstart.data.text import texts_at
from headstart.heads.folds import weighted_mean
from headstart.heads.linear import LinearHead
from headstart.heads.select import CHOICE_VERSION
from headstart.heads.stacking import unseen_losses
from headstart.heads.tfidf import TfidfChoice, choose_tfidf
from headstart.judge.baselines import fit_simple, plain_numbers
from headstart.run.prepare import DistinctExamples, PreparedData
from headstart.sources.base import TextPreprocessing

Numbers = NDArray[Any] | tuple[NDArray[Any], NDArray[np.intp]]
"""An array, or an array and which of its rows are meant."""


@dataclass(frozen=True)
class TextBaseline:
    """The simple baseline of texts: logistic regression on TF-IDF of words and pairs of words."""

    choice: TfidfChoice  # the head, fitted on the training texts, and its out-of-fold probabilities
    train: tuple[str, ...]  # without copies, as `PreparedData.distinct` gives them; so are the test texts
    test: tuple[str, ...]
    probabilities: NDArray[np.float32]  # of these test texts, float32 of shape (m, c)


@dataclass(frozen=True)
class BaselineResult:
    """What needs no source: raw pixels or TF-IDF with logistic regression."""

    probabilities: NDArray[np.float32]  # float32 of shape (n, c), of the test examples
    rows: NDArray[np.intp]  # which m of the distinct training examples it was fitted on
    out_of_fold: NDArray[np.float32]  # float32 of shape (m, c), of each of these by a head fitted without it
    test_weights: NDArray[np.float64]  # float64 of shape (m,), how much each counts in its error
    preprocessing: Preprocessing | TextPreprocessing  # how the examples were decoded that it reads
    head: LinearHead | None = None  # of photos and recordings, on plain numbers
    text_baseline: TextBaseline | None = None

    def log_loss(self, y: NDArray[np.int64]) -> float:
        """Return the log loss in nats of the m examples, of class ids (m,), by heads fitted without them."""
        return weighted_mean(unseen_losses([self.out_of_fold], [1.0], y), self.test_weights)[0]


def remembered_choice(
    what: str,
    arrays: Sequence[Numbers],
    inputs: Mapping[str, Any],
    choose: Callable[[], tuple[dict[str, Any], Arrays]],
    *,
    version_of_code: int = CHOICE_VERSION,
) -> tuple[dict[str, Any], Arrays]:
    """Return what `choose` returned before for the same numbers, inputs and code that chooses, or what it returns now.

    That is plain values and arrays.
    """
    made_by = {"version": version_of_code, "numpy": version("numpy"), "scipy": version("scipy")}
    numbers = [_numbers_entry(*(each if isinstance(each, tuple) else (each, None))) for each in arrays]
    key = {"what": what, "numbers": numbers, **inputs, **made_by}
    cache = ResultCache(cache_dir() / "choices")
    parts = cache.get(key)
    if parts is None:
        parts = choose()
        cache.put(key, *parts)
    return parts


def _numbers_entry(array: NDArray[Any], rows: NDArray[np.intp] | None) -> list[Any]:
    """Return type, shape and sha256 of some rows of an array, of which no more are copied than fit into memory."""
    if rows is None:
        return [str(array.dtype), list(array.shape), sha256(np.ascontiguousarray(array).data)]
    digest = hashlib.sha256()
    for part in blocks_of(len(rows), array[:1].nbytes):
        digest.update(np.ascontiguousarray(array[rows[part]]).data)
    return [str(array.dtype), [len(rows), *array.shape[1:]], digest.hexdigest()]


def groups_entry(prepared: PreparedData, learned: DistinctExamples) -> dict[str, Any]:
    """Return what a key of remembered choices says of groups: nothing where there are none."""
    groups = prepared.groups(learned.positions)
    return {} if groups is None else {"groups": groups}


def fit_baseline(prepared: PreparedData, *, seed: int) -> BaselineResult:
    """Return what the simple baseline of this kind of examples says of the test part; it too is remembered."""
    if prepared.scan.dataset.kind == "text":
        text_baseline = _fit_text_baseline(prepared, seed)
        rows = prepared.distinct(prepared.parts.test).row_of
        words = text_baseline.choice
        return BaselineResult(
            text_baseline.probabilities[rows],
            np.arange(len(words.out_of_fold)),
            words.out_of_fold,
            words.test_weights,
            prepared.source.preprocessing,
            text_baseline=text_baseline,
        )
    learned, tested = prepared.distinct(prepared.parts.train), prepared.distinct(prepared.parts.test)
    c, kind, y = len(prepared.scan.dataset.classes), prepared.scan.dataset.kind, prepared.labels(learned.positions)
    train, test = prepared.baseline_inputs(learned.positions), prepared.baseline_inputs(tested.positions)

    def choose() -> tuple[dict[str, Any], Arrays]:
        groups = prepared.groups(learned.positions)
        fitted = fit_simple(train, y, c, seed=seed, groups=groups, counts=learned.counts)
        arrays: Arrays = {"weight": fitted.head.weight, "bias": fitted.head.bias, "rows": fitted.rows}
        return fitted.head.plain, {**arrays, "out_of_fold": fitted.out_of_fold, "test_weights": fitted.test_weights}

    numbers = [train, y, learned.counts]
    inputs = {"classes": c, "seed": seed, **groups_entry(prepared, learned)}
    plain, arrays = remembered_choice(f"simple {kind}", numbers, inputs, choose)
    head = LinearHead(**plain, weight=arrays["weight"], bias=arrays["bias"])
    probabilities = head.predict_proba(plain_numbers(test))[tested.row_of]
    out_of_fold, weights, decoded_by = arrays["out_of_fold"], arrays["test_weights"], prepared.source.preprocessing
    return BaselineResult(probabilities, arrays["rows"], out_of_fold, weights, decoded_by, head)


def _fit_text_baseline(prepared: PreparedData, seed: int) -> TextBaseline:
    dataset, hashes = prepared.scan.dataset, prepared.scan.hashes
    learned, tested = prepared.distinct(prepared.parts.train), prepared.distinct(prepared.parts.test)
    train, test = texts_at(dataset, learned.positions), texts_at(dataset, tested.positions)
    y, c = prepared.labels(learned.positions), len(dataset.classes)
    positions = {"train": learned.positions, "test": tested.positions}
    inputs: dict[str, Any] = {name: [hashes[position] for position in part] for name, part in positions.items()}

    def choose() -> tuple[dict[str, Any], Arrays]:
        groups = prepared.groups(learned.positions)
        text_baseline = fit_text_baseline(train, test, y, c, seed=seed, groups=groups, copies=learned.counts)
        plain, arrays = text_baseline.choice.to_parts()
        return plain, {**arrays, "probabilities": text_baseline.probabilities}

    inputs = {**inputs, "classes": c, "seed": seed, **groups_entry(prepared, learned)}
    plain, arrays = remembered_choice("words", [y, learned.counts], inputs, choose)
    return TextBaseline(TfidfChoice.from_parts(plain, arrays), train, test, arrays["probabilities"])


def fit_text_baseline(
    train: tuple[str, ...],
    test: tuple[str, ...],
    y: NDArray[np.int64],
    c: int,
    *,
    seed: int,
    groups: Sequence[str] | None = None,
    copies: NDArray[np.int64] | None = None,
) -> TextBaseline:
    """Fit the baseline on the training texts, each of a group and with so many copies, and predict the test texts."""
    choice = choose_tfidf(train, y, c, seed=seed, groups=groups, copies=copies)
    return TextBaseline(choice, train, test, choice.head.predict_proba(test))
