"""What came of a fit: the model, `result.json`, and what the report shows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.dataset import BadExample
from headstart.data.images.preprocessing import thumbnail, to_bytes
from headstart.data.text import text_of
from headstart.engines.base import Block
from headstart.fitting.result import FitResult
from headstart.fitting.words import (
    TextBaseline,
    stack_text_baseline,
    stacked_candidate,
    top_words_per_class,
    truncation_report,
)
from headstart.heads.linear import LinearHead, softmax
from headstart.heads.select import HeadChoice
from headstart.heads.stacking import Stacking
from headstart.heads.tfidf import TfidfHead
from headstart.judge.baselines import majority_baseline
from headstart.judge.intervals import paired_difference
from headstart.judge.metrics import METRICS, calibration_bins, evaluate
from headstart.judge.report import fit_page as report
from headstart.model import Model
from headstart.run.clock import Clock
from headstart.run.prepared import LayerSelection, PreparedData
from headstart.ship.bundle import DataIdentity
from headstart.sources.base import Source

SCHEMA = 1
SHOWN = 12  # thumbnails of mistakes, and of unsure examples
THUMBNAIL = 144  # pixels of the longer side
SENTENCE = 280  # characters of a text that are shown


@dataclass(frozen=True)
class FittedPredictor:
    """What names the classes of the test examples: a source, frozen or tuned, and a head on its features.

    Attributes:
        source: the network.
        head: on its features.
        layer: where they are taken.
        blocks: the columns that the head reads.
        engine: name and precision of the engine that made them.
        probabilities: float32 of shape (n, c), of the test examples.
        tuning: what came of tuning, in plain values; None where nothing was tuned.
        notes: what its user must be told, one sentence each.
        terms: the head on words whose scores are added to those of `head`; None where there is none.
        joined: what joining the two was worth; None where it was not tried.
    """

    source: Source
    head: LinearHead
    layer: str
    blocks: tuple[Block, ...]
    engine: str
    probabilities: NDArray[np.float32]
    tuning: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()
    terms: TfidfHead | None = None
    joined: Stacking | None = None


@dataclass(frozen=True)
class BaselineResult:
    """What needs no source: raw pixels or TF-IDF with logistic regression.

    Attributes:
        probabilities: float32 of shape (n, c), of the test examples.
        text_baseline: more of it, for texts.
    """

    probabilities: NDArray[np.float32]
    text_baseline: TextBaseline | None = None


def frozen_predictor(prepared: PreparedData, layers: LayerSelection, choice: HeadChoice) -> FittedPredictor:
    """Return the predictor of the source as it was, with the chosen head.

    Args:
        prepared: the data and its features.
        layers: the layer that was chosen.
        choice: the head that was chosen.
    """
    test = prepared.features(layers.chosen, prepared.parts.test)
    probabilities = choice.head.predict_proba(test.x)
    return FittedPredictor(
        prepared.source, choice.head, layers.chosen, test.blocks, prepared.extraction.engine, probabilities
    )


def stacked_predictor(
    prepared: PreparedData, frozen: FittedPredictor, choice: HeadChoice, text_baseline: TextBaseline
) -> FittedPredictor:
    """Return the frozen predictor with the text baseline stacked on it where that helps; it tells what that is worth.

    Args:
        prepared: the data and its features.
        frozen: the source as it was, with the chosen head.
        choice: the head that was chosen.
        text_baseline: of the same texts.
    """
    stacked = stack_text_baseline(choice, text_baseline, prepared.labels(prepared.parts.train))
    if stacked.text_head is None:
        return replace(frozen, joined=stacked.stacking)
    test = prepared.features(frozen.layer, prepared.parts.test)
    probabilities = softmax(stacked.head.scores(test.x) + stacked.text_head.scores(text_baseline.test))
    return replace(
        frozen, head=stacked.head, terms=stacked.text_head, joined=stacked.stacking, probabilities=probabilities
    )


def build_fit_result(
    prepared: PreparedData,
    layers: LayerSelection,
    choice: HeadChoice,
    answer: FittedPredictor,
    *,
    tune: str,
    seed: int,
    clock: Clock,
    simple: BaselineResult,
) -> FitResult:
    """Measure the answer on the test part against both baselines, and gather everything worth telling."""
    parts, dataset = prepared.parts, prepared.scan.dataset
    probabilities, y = answer.probabilities, prepared.labels(parts.test)
    train_labels = prepared.labels(parts.train)
    commonest = majority_baseline(train_labels, len(dataset.classes), len(y))
    answers = (probabilities, simple.probabilities, commonest)
    right, simple_right, commonest_right = (found.argmax(axis=1) == y for found in answers)
    measured = evaluate(probabilities, y, dataset.classes, seed=seed)
    result: dict[str, Any] = {
        "schema": SCHEMA,
        "task": dataset.modality.task,
        "source": prepared.source.info.uri,
        "layer": answer.layer,
        "head": answer.head.kind,
        "tune": tune,
        "seed": seed,
        "examples": _counts(prepared),
        "classes": list(dataset.classes),
        "test": {name: measured[name] for name in METRICS},
        "baselines": {"majority": float(commonest_right.mean()), "simple": float(simple_right.mean())},
        "per_class": measured["per_class"],
        "confusion": measured["confusion"],
        "seconds": clock.read(),
        "cache": {"hits": prepared.extraction.hits, "misses": prepared.extraction.misses},
        "engine": answer.engine,
        "warnings": _warnings(prepared, choice, answer),
        **({"tuning": answer.tuning} if answer.tuning is not None else {}),
        **_of_texts(prepared, layers, choice, answer, y),
    }
    gap = paired_difference(right, simple_right, seed=seed)
    name = dataset.classes[int(commonest[0].argmax())]
    sentence = report.verdict(result, gap, commonest=name)
    identity = DataIdentity(dataset.name, prepared.scan.fingerprint)
    model = Model(
        answer.source,
        answer.layer,
        answer.blocks,
        answer.head,
        dataset.classes,
        result,
        identity,
        prepared.engine,
        answer.terms,
    )
    page = _page(prepared, _candidates(layers, choice, answer), model, sentence, probabilities)
    if simple.text_baseline is not None:
        words = top_words_per_class(simple.text_baseline, dataset.classes, prepared.source, choice.head, layers.chosen)
        page = replace(page, words=tuple(words))
    result["seconds"] = clock.read()
    return FitResult(model, result, sentence, page)


def _of_texts(
    prepared: PreparedData, layers: LayerSelection, choice: HeadChoice, answer: FittedPredictor, y: NDArray[np.int64]
) -> dict[str, Any]:
    """Return what `result.json` says of texts alone: how far they were read, and what leaning on words was worth."""
    if prepared.scan.dataset.kind != "text":
        return {}
    said: dict[str, Any] = {"texts": truncation_report(prepared.extraction, prepared.source)[0]}
    if answer.joined is not None:
        test = prepared.features(layers.chosen, prepared.parts.test)
        alone = choice.head.predict_proba(test.x).argmax(axis=1) == y
        said["words"] = {
            "joined": answer.terms is not None,
            "log_loss": {"joined": answer.joined.log_loss, "source": answer.joined.source_log_loss},
            "source_alone": float(alone.mean()),
        }
    return said


def _counts(prepared: PreparedData) -> dict[str, int]:
    dataset, parts = prepared.scan.dataset, prepared.parts
    return {
        "train": len(parts.train),
        "validation": len(parts.validation),
        "test": len(parts.test),
        "skipped": len(dataset.skipped),
        "ignored": dataset.ignored,
    }


def _warnings(prepared: PreparedData, choice: HeadChoice, answer: FittedPredictor) -> list[str]:
    dataset = prepared.scan.dataset
    skipped = (
        [f"{len(dataset.skipped)} broken examples were skipped; the report lists them."] if dataset.skipped else []
    )
    notes = (
        *prepared.source.info.notes,
        *dataset.notes,
        *prepared.scan.notes,
        *prepared.parts.notes,
        *prepared.extraction.notes,
        *(truncation_report(prepared.extraction, prepared.source)[1] if dataset.kind == "text" else ()),
        *choice.notes,
        *answer.notes,
    )
    return list(dict.fromkeys([*skipped, *notes]))


def _page(
    prepared: PreparedData,
    candidates: tuple[report.CandidateRow, ...],
    model: Model,
    sentence: str,
    probabilities: NDArray[np.float32],
) -> report.Report:
    """Return what the HTML page shows."""
    dataset, y = prepared.scan.dataset, prepared.labels(prepared.parts.test)
    best, sure = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(best != y)
    mistakes = wrong[np.argsort(-sure[wrong], kind="stable")][:SHOWN]
    unsure = np.argsort(sure, kind="stable")[:SHOWN]

    def shown(rows: NDArray[np.intp]) -> tuple[report.ShownExample, ...]:
        return tuple(
            report.ShownExample(
                id=dataset.examples[prepared.parts.test[row]].id,
                truth=dataset.classes[y[row]],
                predicted=dataset.classes[best[row]],
                probability=float(sure[row]),
                **_look(prepared, prepared.parts.test[row]),
            )
            for row in rows
        )

    return report.Report(
        title=dataset.name,
        result=model.report,
        verdict=sentence,
        confusion=np.array(model.report["confusion"], dtype=np.int64),
        reliability=calibration_bins(sure, best == y),
        mistakes=shown(mistakes),
        unsure=shown(unsure),
        skipped=dataset.skipped,
        notes=_notes(prepared, model.report["warnings"]),
        candidates=candidates,
        provenance=_provenance(model),
    )


def _notes(prepared: PreparedData, warnings: list[str]) -> tuple[report.Note, ...]:
    conflicts = tuple(name for conflict in prepared.scan.conflicts for name in conflict.ids)
    items = prepared.scan.dataset.items.capitalize()
    listed = [report.Note(f"{items} that stand under several labels", conflicts)] if conflicts else []
    return (*(report.Note(text) for text in warnings), *listed)


def _look(prepared: PreparedData, position: int) -> dict[str, Any]:
    """Return a small picture, or how a text begins; nothing where the file is gone since it was read."""
    try:
        data = prepared.scan.dataset.read(position)
        if prepared.scan.dataset.kind == "text":
            text = " ".join(text_of(data).split())
            return {"text": text if len(text) <= SENTENCE else f"{text[: SENTENCE - 1]}…"}
        if prepared.scan.dataset.kind == "sound":  # its spectrogram, low tones at the bottom
            data = to_bytes(np.asarray(prepared.source.prepare(data))[::-1])
        return {"thumbnail": thumbnail(data, THUMBNAIL)}
    except BadExample:
        return {}


def _candidates(layers: LayerSelection, choice: HeadChoice, answer: FittedPredictor) -> tuple[report.CandidateRow, ...]:
    heads = sorted(choice.candidates, key=lambda tried: tried.log_loss)
    others = [
        report.CandidateRow(
            head="ridge",
            layer=name,
            note=f"leave-one-out squared error {error:.4f} against {layers.errors[layers.chosen]:.4f}",
        )
        for name, error in layers.errors.items()
        if name != layers.chosen
    ]
    joined = [stacked_candidate(answer.joined, choice, layers.chosen)] if answer.joined is not None else []
    return (
        *joined,
        *(
            report.CandidateRow(
                head=tried.kind,
                layer=layers.chosen,
                penalty=tried.penalty,
                log_loss=tried.log_loss,
                spread=tried.standard_error,
                chosen=tried.kind == choice.head.kind and answer.terms is None,
            )
            for tried in heads
        ),
        *others,
    )


def _provenance(model: Model) -> tuple[tuple[str, str], ...]:
    info, result = model.source.info, model.report
    return (
        ("Source", info.uri),
        ("Trained on", info.trained_on),
        ("Licence of the source", info.licence),
        ("Revision", info.revision),
        ("sha256 of the weights", info.sha256),
        ("Layer", result["layer"]),
        ("Engine", result["engine"]),
        ("Seed", str(result["seed"])),
        ("Fingerprint of the data", model.data.fingerprint),
        *((f"Version of {name}", number) for name, number in model.manifest().versions.items()),
    )
