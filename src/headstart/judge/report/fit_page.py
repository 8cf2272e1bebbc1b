"""The report: one self-contained page that says what the source was worth, how sure that is, and where it fails."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from headstart.base.errors import one_line
from headstart.data.dataset import Skipped
from headstart.data.modality import modality_of_task
from headstart.judge.metrics import per_class
from headstart.judge.report import charts
from headstart.judge.report.page import percent, template
from headstart.judge.report.usage import how_to_use

TABLE_CLASSES = 12  # a table of more columns than this fits neither a phone nor a printed page
LISTED_PAIRS = 10
SHOWN_ROWS = 20
STEPS = {
    "read": "reading and checking",
    "extract": "features",
    "head": "choosing the head",
    "tune": "tuning",
    "other": "everything else",
}
METRICS = {
    "accuracy": ("Accuracy", "of all test {items} named right"),
    "balanced_accuracy": ("Balanced accuracy", "the mean over classes, each counting the same"),
    "macro_f1": ("Macro F1", "precision and recall in one, mean over classes"),
    "log_loss": ("Log loss", "how wrong the probabilities are; 0 is perfect"),
    "ece": ("Calibration error", "mean gap between stated and true certainty (ECE)"),
}


class IntervalLike(Protocol):
    """A value with its interval."""

    @property
    def value(self) -> float:
        """The estimate."""

    @property
    def low(self) -> float:
        """The lower end."""

    @property
    def high(self) -> float:
        """The upper end."""


@dataclass(frozen=True)
class ShownExample:
    """One test example to look at.

    Attributes:
        id: its id in the data set.
        truth: the class that the data gives.
        predicted: the class that the model gives.
        probability: of the predicted class, 0..1.
        thumbnail: a small JPEG; empty where there is no picture.
        text: the beginning of a text; empty where there is none.
    """

    id: str
    truth: str
    predicted: str
    probability: float
    thumbnail: bytes = b""
    text: str = ""


@dataclass(frozen=True)
class Bin:
    """Test examples of similar stated certainty.

    Attributes:
        confidence: their mean probability of the predicted class, 0..1.
        accuracy: the share of them named right, 0..1.
        count: how many they are.
    """

    confidence: float
    accuracy: float
    count: int


@dataclass(frozen=True)
class CandidateRow:
    """A head that was tried.

    Attributes:
        head: its kind.
        layer: where its features were taken.
        penalty: its strength of regularisation.
        log_loss: out of fold, on training examples; None where only `error` was measured.
        spread: standard error of `log_loss`.
        chosen: whether it is the one in the bundle.
        note: what else is to say, such as a leave-one-out error.
    """

    head: str
    layer: str
    penalty: float | None = None
    log_loss: float | None = None
    spread: float | None = None
    chosen: bool = False
    note: str = ""


@dataclass(frozen=True)
class ClassWords:
    """The words that speak most for each class.

    Attributes:
        by: what says so: `TF-IDF` or `word vectors`.
        classes: each class with its words, strongest first.
    """

    by: str
    classes: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class Note:
    """Something to know about the data or the run: a sentence, and the examples it is about."""

    text: str
    ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """What the page shows, as plain values.

    Attributes:
        title: how to call the data.
        result: the content of `result.json`.
        verdict: the result in one sentence; see `verdict`.
        confusion: int64 of shape (c, c); test examples, rows by true class, columns by predicted class.
        reliability: test examples in bins of stated certainty, ascending.
        mistakes: the most confident mistakes, worst first.
        unsure: the examples whose best class is least probable, least sure first.
        skipped: what was found and could not be used.
        notes: duplicates, conflicts, and what the readers changed or noticed.
        candidates: the heads that were tried, best first.
        words: what speaks for each class, of texts.
        provenance: name and value of what made this: source, licence, sha256, seed, versions, data fingerprint.
        bundle: path of the bundle, for the instructions.
    """

    title: str
    result: dict[str, Any]
    verdict: str
    confusion: NDArray[np.int64]
    reliability: tuple[Bin, ...] = ()
    mistakes: tuple[ShownExample, ...] = ()
    unsure: tuple[ShownExample, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[Note, ...] = ()
    candidates: tuple[CandidateRow, ...] = ()
    words: tuple[ClassWords, ...] = ()
    provenance: tuple[tuple[str, str], ...] = ()
    bundle: str = "bundle"


def verdict(result: dict[str, Any], gap: IntervalLike, *, commonest: str = "") -> str:
    """Return the result in one sentence: test accuracy with its interval, against both baselines.

    Args:
        result: the content of `result.json`.
        gap: accuracy minus that of the simple baseline on the same test examples, -1..1, with its 95 % interval.
        commonest: the class that the majority baseline always names.
    """
    accuracy, items, count = result["test"]["accuracy"], _items(result), result["examples"]["test"]
    simple = modality_of_task(result["task"]).baseline
    always = f"always saying '{one_line(commonest, 80)}'" if commonest else "always naming the commonest class"
    over = 100 * (accuracy["value"] - result["baselines"]["majority"])
    right = round(accuracy["value"] * count)
    start = (
        f"{right:,} of {count:,} test {items} are named right: {percent(accuracy['value'])} "
        f"[{_bare(accuracy['low'])}, {_bare(accuracy['high'])}]"
    )
    interval = f"[{100 * gap.low:+.1f}, {100 * gap.high:+.1f}]"
    if gap.low > 0:
        return f"{start}, {_points(over)} than {always} and {_points(100 * gap.value)} {interval} than {simple}."
    if gap.high < 0:
        return f"{start}; the source does harm: that is {_points(100 * gap.value)} {interval} than {simple}."
    return (
        f"{start}; the source is not shown to be better than {simple}: the difference is "
        f"{100 * gap.value:+.1f} points {interval} ({_points(over)} than {always})."
    )


def bins_of(certainty: NDArray[np.floating], right: NDArray[np.bool_], bins: int = 10) -> tuple[Bin, ...]:
    """Return test examples in bins of equal width by stated certainty, empty ones left out.

    Args:
        certainty: probability of the predicted class, of shape (n,), 0..1.
        right: whether the prediction is right, of shape (n,).
        bins: how many bins divide 0..1.
    """
    at = np.minimum((certainty * bins).astype(np.intp), bins - 1)
    count = np.bincount(at, minlength=bins)
    stated = np.bincount(at, certainty, bins) / np.maximum(count, 1)
    found = np.bincount(at, right, bins) / np.maximum(count, 1)
    return tuple(Bin(float(stated[n]), float(found[n]), int(count[n])) for n in np.flatnonzero(count))


def render(report: Report) -> str:
    """Return the report as one HTML page that needs no other file, no network and no script."""
    return template("report.html.j2").render(
        report=report,
        result=report.result,
        items=_items(report.result),
        figures=_figures(report.result),
        arms=_arms(report),
        reliability=charts.reliability(report.reliability),
        confusion=_confusion(report),
        classes=_per_class(report),
        skipped=_by_reason(report.skipped),
        notes=_notes(report),
        steps=_steps(report.result),
        how=how_to_use(report.result, bundle=report.bundle),
        tuning=_tuning(report.result),
        training=_training(report.result),
        shown_rows=SHOWN_ROWS,
    )


def _bare(value: float) -> str:
    return f"{100 * value:.1f}"


def _points(difference: float) -> str:
    return f"{abs(difference):.1f} points {'better' if difference >= 0 else 'worse'}"


def _items(result: dict[str, Any]) -> str:
    return modality_of_task(result["task"]).plural


def _figures(result: dict[str, Any]) -> list[dict[str, str]]:
    """Return the headline figures: name, value, interval and what it means."""
    test, items = result["test"], _items(result)
    figures = []
    for key, (name, meaning) in METRICS.items():
        if key in test:
            low, value, high = (test[key][end] for end in ("low", "value", "high"))
            share = key != "log_loss"
            figures.append(
                {
                    "name": name,
                    "value": percent(value) if share else f"{value:.3f}",
                    "interval": f"{_bare(low)} to {_bare(high)}" if share else f"{low:.3f} to {high:.3f}",
                    "meaning": meaning.format(items=items),
                }
            )
    return figures


def _arms(report: Report) -> list[dict[str, Any]]:
    """Return the accuracies to compare: the model with its interval, and both baselines."""
    result = report.result
    accuracy, baselines = result["test"]["accuracy"], result["baselines"]
    return [
        {"name": one_line(result["source"]), "ours": True, **accuracy},
        {"name": modality_of_task(result["task"]).baseline, "ours": False, "value": baselines["simple"]},
        {"name": "always the commonest class", "ours": False, "value": baselines["majority"]},
    ]


def _confusion(report: Report) -> dict[str, Any]:
    """Return the confusions as a table for few classes, else as a heat map; and the pairs most often confused."""
    names, counts = report.result["classes"], report.confusion
    few = len(names) <= TABLE_CLASSES
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    largest = np.argsort(-wrong, axis=None, kind="stable")[:LISTED_PAIRS]
    rows, columns = np.unravel_index(largest, counts.shape)
    pairs = [
        {"truth": names[i], "predicted": names[j], "count": int(counts[i, j]), "of": int(counts[i].sum())}
        for i, j in zip(rows, columns, strict=True)
        if wrong[i, j]
    ]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    table = [
        {"name": name, "cells": [{"count": int(n), "share": float(s)} for n, s in zip(row, share, strict=True)]}
        for name, row, share in zip(names, counts, shares, strict=True)
    ]
    return {
        "names": names,
        "table": table if few else None,
        "map": None if few else charts.heat_map(shares),
        "pairs": pairs,
        "wrong": int(wrong.sum()),
    }


def _per_class(report: Report) -> list[dict[str, Any]]:
    """Return precision, recall, F1 and support of each class; the hardest first where the classes are many."""
    rows = per_class(report.confusion, report.result["classes"])
    return rows if len(rows) <= TABLE_CLASSES else sorted(rows, key=lambda row: float(row["f1"]))


def _by_reason(skipped: Sequence[Skipped]) -> list[tuple[str, list[str]]]:
    """Return reasons with the ids skipped for them, the commonest reason first."""
    grouped: dict[str, list[str]] = {}
    for one in skipped:
        grouped.setdefault(one.reason, []).append(one.id)
    return sorted(grouped.items(), key=lambda item: (-len(item[1]), item[0]))


def _notes(report: Report) -> list[Note]:
    """Return the notes, then the warnings of the result that are not among them."""
    known = {note.text for note in report.notes}
    return [*report.notes, *(Note(warning) for warning in report.result["warnings"] if warning not in known)]


def _steps(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the parts of the run with their seconds and where they lie on a bar of length 1."""
    parts = {name: value for name, value in result["seconds"].items() if name != "total"}
    total = max(result["seconds"]["total"], sum(parts.values()), 1e-9)
    parts["other"] = total - sum(parts.values())
    steps: list[dict[str, Any]] = []
    start = 0.0
    for name, value in parts.items():
        if value > 0:
            tone = "rest" if name == "other" else f"step{len(steps) + 1}"
            label, share = STEPS.get(name, name), value / total
            steps.append({"name": label, "seconds": value, "start": start, "share": share, "tone": tone})
            start += value / total
    return steps


def _tuning(result: dict[str, Any]) -> dict[str, Any] | None:
    """Return what came of tuning, with its chart; None where nothing was tuned."""
    said = result.get("tuning")
    if said is None:
        return None
    losses = [[epoch["loss"] for epoch in one["history"]] for one in said["tried"]]
    return {**said, "curves": charts.learning_curves(losses, said["frozen"]["log_loss"])}


def _training(result: dict[str, Any]) -> dict[str, Any] | None:
    """Return what came of training from random weights, with its chart; None where nothing was."""
    said = result.get("training")
    if said is None:
        return None
    losses = [epoch["loss"] for epoch in said["history"]]
    return {**said, "curves": charts.learning_curves([losses], math.log(len(result["classes"])))}
