"""The page of a run: test metrics beside the baselines, calibration, errors, and how the model was made."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.errors import one_line
from headstart.data.audio.preview import SoundPreview
from headstart.data.dataset import Skipped
from headstart.data.modality import modality_of_task
from headstart.judge.intervals import Interval
from headstart.judge.metrics import METRICS, CalibrationBin, per_class
from headstart.judge.related import without_related
from headstart.judge.report import charts
from headstart.judge.report.notebook import metric_figures
from headstart.judge.report.page import percent, render_page
from headstart.sources.providers.simple import NAMES
from headstart.sources.uri import SIMPLE

MAX_TABLE_CLASSES = 12  # a confusion matrix of more columns is drawn as a heat map
MAX_CONFUSED_PAIRS = 10
MAX_SHOWN_CLASSES = 20  # the others are folded away
STEP_TITLES = {
    "read": "reading and checking the data",
    "extract": "extracting features",
    "head": "fitting the head",
    "tune": "tuning",
    "other": "everything else",
}
TRAINING_TITLES = {
    "extract": "testing the network",
    "head": "fitting the simple baseline",
    "tune": "training the network",
}
INSTALL = "# once, in a checkout of headstart: pip install ."
PYTHON = ("import headstart as hs", "")
MARKS = {"pretrain": "training", "evaluate": "when_fitted"}
"""The command that a result is of, by a key that no other has; `fit` has neither."""


@dataclass(frozen=True)
class ShownExample:
    """One test example to look at."""

    id: str
    truth: str
    predicted: str
    probability: float  # of the predicted class, 0..1
    thumbnail: bytes = b""  # a small JPEG; empty where there is no picture
    text: str = ""  # the beginning of a text; empty where there is none
    sound: SoundPreview | None = None  # a recording to look at and to hear; None where there is none


@dataclass(frozen=True)
class CandidateRow:
    """A head that was compared with the others."""

    head: str
    layer: str
    penalty: float | None = None
    log_loss: float | None = None  # out of fold, on training examples; None where it was not measured
    spread: float | None = None  # standard error of `log_loss`
    chosen: bool = False  # whether it is the one in the bundle
    note: str = ""  # a remark, such as its leave-one-out error


@dataclass(frozen=True)
class ClassWords:
    """The words with the largest weights for each class."""

    by: str  # the features that the weights belong to: `TF-IDF` or `word vectors`
    classes: tuple[tuple[str, tuple[str, ...]], ...]  # each class with its words, strongest first


@dataclass(frozen=True)
class Note:
    """A remark on the data or the run: a sentence, and the ids of the examples it is about."""

    text: str
    ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """What the page shows, as plain values."""

    title: str
    result: dict[str, Any]  # the content of `result.json`
    verdict: str
    confusion: NDArray[np.int64]  # int64 of shape (c, c); test examples, rows by true class, columns by predicted class
    reliability: tuple[CalibrationBin, ...] = ()
    mistakes: tuple[ShownExample, ...] = ()  # the most confident mistakes, worst first
    unsure: tuple[ShownExample, ...] = ()  # the least confident predictions, the lowest confidence first
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[Note, ...] = ()  # beside the warnings of the result
    candidates: tuple[CandidateRow, ...] = ()  # the heads that were compared, best first
    words: tuple[ClassWords, ...] = ()
    # names and values: source, licence, sha256, seed, versions, data fingerprint
    provenance: tuple[tuple[str, str], ...] = ()
    bundle: str = "bundle"


def verdict(result: dict[str, Any], gap: Interval, *, commonest: str = "") -> str:
    """Return the result in one sentence: test accuracy with its interval, against both baselines.

    `gap` is the accuracy minus that of the simple baseline on the same test examples, -1..1; `commonest` is the class
    that the majority baseline always predicts.
    """
    claim = _claim(result, gap, commonest)
    if "folds" not in result:
        return claim
    folds, items = result["folds"], items_of(result)
    return (
        f"{claim} On {folds['count']} folds of all {items} the accuracy is {percent(folds['mean'])} on average, "
        f"with a standard deviation of {100 * folds['spread']:.1f} points."
    )


def _claim(result: dict[str, Any], gap: Interval, commonest: str) -> str:
    accuracy, items, count = result["test"]["accuracy"], items_of(result), result["examples"]["test"]
    simple = modality_of_task(result["task"]).baseline
    always = "always predicting " + (f"'{one_line(commonest, 80)}'" if commonest else "the most frequent class")
    over = 100 * (accuracy["value"] - result["baselines"]["majority"])
    correct = round(accuracy["value"] * count)
    start = (
        f"{correct:,} of {count:,} test {items} are classified correctly: an accuracy of {percent(accuracy['value'])} "
        f"[{100 * accuracy['low']:.1f}, {100 * accuracy['high']:.1f}]"
    )
    more, believable = without_related(accuracy, result.get("relatives"))
    start += more
    if not believable:
        return f"{start}, so that nothing is claimed of the source."
    gain = f"{100 * gap.value:+.1f} points [{100 * gap.low:+.1f}, {100 * gap.high:+.1f}]"
    known = f"{over:+.1f} points compared with {always}"
    if result["source"].startswith("simple:"):
        return f"{start}, {known}. This is {simple}: it needs no network, and none was better."
    if gap.low > 0:
        return f"{start}, {known} and {gain} compared with {simple}."
    if gap.high < 0:
        better = f"{SIMPLE}:{NAMES[modality_of_task(result['task']).kind]}"
        return f"{start}; this is {gain} compared with {simple}, which `--source {better}` gives."
    return (
        f"{start}; the source is not shown to be better than {simple}: the difference in accuracy is "
        f"{gain}. It is {known}."
    )


def render(report: Report) -> str:
    """Return the report as one HTML page that needs no other file and no network."""
    what = "source" if "training" in report.result else "model"
    return render_page(
        "report.html.j2",
        f"How to use the {what}",
        _how_to_use(report),
        report=report,
        result=report.result,
        items=items_of(report.result),
        figures=_figures(report.result),
        arms=_arms(report),
        reliability=charts.reliability_diagram(report.reliability),
        confusion=_confusion(report),
        classes=_class_rows(report),
        skipped=_group_by_reason(report.skipped),
        notes=[*map(Note, report.result["warnings"]), *report.notes],
        steps=_steps(report.result),
        tuning=_tuning(report.result),
        training=_training(report.result),
        command=next((key for key, mark in MARKS.items() if mark in report.result), "fit"),
        shown_rows=MAX_SHOWN_CLASSES,
    )


def items_of(result: dict[str, Any]) -> str:
    """Return the noun of the examples of a result, in the plural."""
    return modality_of_task(result["task"]).plural


def _figures(result: dict[str, Any]) -> list[dict[str, str]]:
    """Return name, value, interval and meaning of each test metric."""
    test, items = result["test"], items_of(result)
    meanings = [metric.meaning.format(items=items) for key, metric in METRICS.items() if key in test]
    return [
        {"name": name, "value": value, "interval": interval, "meaning": meaning}
        for (name, value, interval), meaning in zip(metric_figures(test), meanings, strict=True)
    ]


def _arms(report: Report) -> list[dict[str, Any]]:
    """Return the accuracies to compare: the model with its interval, another, the baselines, and what it was."""
    result = report.result
    accuracy, baselines = result["test"]["accuracy"], result["baselines"]
    tone = _method(result)
    names = {"simple": modality_of_task(result["task"]).baseline, "majority": "always the most frequent class"}
    others = [{"name": names[key], "tone": "baseline", "value": baselines[key]} for key in names if key in baselines]
    if (against := result.get("against")) is not None:
        others.insert(0, {"name": one_line(against["bundle"]), "tone": "s1", **against["test"]["accuracy"]})
    if (before := result.get("when_fitted")) is not None:
        others.append({"name": f"when fitted, on {one_line(before['data'])}", "tone": tone, **before["accuracy"]})
    name = result["bundle"] if "bundle" in result else result["source"]
    return [{"name": one_line(name), "tone": tone, **accuracy}, *others]


def _method(result: dict[str, Any]) -> str:
    """Return what made the model, of the methods that have one colour on every page."""
    if "training" in result:
        return "scratch"
    if result["source"].startswith("simple:"):
        return "baseline"
    return "tuned" if (result.get("tuning") or {}).get("kept") else "frozen"


def _confusion(report: Report) -> dict[str, Any]:
    """Return the confusion matrix as a table for few classes, else as a heat map; and the most frequent errors."""
    names, counts = report.result["classes"], report.confusion
    few = len(names) <= MAX_TABLE_CLASSES
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    largest = np.argsort(-wrong, axis=None, kind="stable")[:MAX_CONFUSED_PAIRS]
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
        "map": None if few else charts.heat_map(counts, [one_line(name) for name in names]),
        "pairs": pairs,
        "wrong": int(wrong.sum()),
    }


def _class_rows(report: Report) -> list[dict[str, Any]]:
    """Return precision, recall, F1 and support of each class; where the classes are many, the lowest F1 first."""
    rows = per_class(report.confusion, report.result["classes"])
    return rows if len(rows) <= MAX_TABLE_CLASSES else sorted(rows, key=lambda row: float(row["f1"]))


def _group_by_reason(skipped: Sequence[Skipped]) -> list[tuple[str, list[str]]]:
    """Return reasons with the ids skipped for them, the most frequent reason first."""
    grouped: dict[str, list[str]] = {}
    for example in skipped:
        grouped.setdefault(example.reason, []).append(example.id)
    return sorted(grouped.items(), key=lambda item: (-len(item[1]), item[0]))


def _steps(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the parts of the run with their seconds and where they lie on a bar of length 1."""
    parts = {name: value for name, value in result["seconds"].items() if name != "total"}
    total = max(result["seconds"]["total"], sum(parts.values()), 1e-9)
    parts["other"] = total - sum(parts.values())
    titles = STEP_TITLES | (TRAINING_TITLES if "training" in result else {})
    steps: list[dict[str, Any]] = []
    start = 0.0
    for name, value in parts.items():
        if value > 0:
            tone = "rest" if name == "other" else f"step{len(steps) + 1}"
            label, share = titles.get(name, name), value / total
            steps.append({"name": label, "seconds": value, "start": start, "share": share, "tone": tone})
            start += value / total
    return steps


def _tuning(result: dict[str, Any]) -> dict[str, Any] | None:
    """Return the results of tuning, with their chart; None where nothing was tuned."""
    tuning = result.get("tuning")
    if tuning is None:
        return None
    losses = {trial["name"]: [epoch["loss"] for epoch in trial["history"]] for trial in tuning["tried"]}
    level = "frozen source", tuning["frozen"]["log_loss"]
    return {**tuning, "chart": charts.loss_chart(losses, level, beside="frozen")}


def _training(result: dict[str, Any]) -> dict[str, Any] | None:
    """Return the results of training from random weights, with their chart; None where nothing was trained."""
    training = result.get("training")
    if training is None:
        return None
    losses = {"training": [epoch["loss"] for epoch in training["history"]]}
    uniform = "uniform probabilities", math.log(len(result["classes"]))
    return {**training, "chart": charts.loss_chart(losses, uniform, method="scratch")}


def _how_to_use(report: Report) -> list[list[str]]:
    """Return the lines for a shell and for Python that use a bundle, or the source that was trained."""
    result, modality = report.result, modality_of_task(report.result["task"])
    data, bundle = f"YOUR_{modality.plural.upper()}", shlex.quote(report.bundle)
    if "training" in result:
        if not result["gate"]["passed"] and not result["gate"].get("forced"):
            return [
                [
                    "# the source is refused where it is opened; to use it all the same, without training again:",
                    f"{result['command']} --force",
                ]
            ]
        return [
            [INSTALL, f"headstart fit {data} --source {shlex.quote(result['source'])}"],
            [*PYTHON, f"source = hs.open_source({result['source']!r})", f"source.encode([{modality.sample_item!r}])"],
        ]
    alone = "when_fitted" in result or result["source"].startswith("simple:")
    worth = [] if alone else [f"headstart compare {data} --source {shlex.quote(result['source'])}"]
    return [
        [
            INSTALL,
            f"headstart predict {bundle} {modality.sample_file}",
            f"headstart evaluate {bundle} NEW_{modality.plural.upper()}",
            *worth,
        ],
        [*PYTHON, f"model = hs.load({report.bundle!r})", f"model.predict([{modality.sample_item!r}])"],
    ]
