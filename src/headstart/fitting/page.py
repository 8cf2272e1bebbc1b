"""What the page of a `fit` shows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.audio.preview import preview
from headstart.data.dataset import BadExample
from headstart.data.images.preprocessing import thumbnail
from headstart.data.text import text_of
from headstart.fitting.predictor import Fitted
from headstart.fitting.words import stacked_candidate, top_words_per_class
from headstart.judge.metrics import calibration_bins
from headstart.judge.report import fit_page as report
from headstart.model import Model
from headstart.run.prepare import PreparedData

EXAMPLES_SHOWN = 12  # of mistakes, and of unsure examples
THUMBNAIL = 144  # pixels of the longer side
TEXT_SHOWN = 280  # characters


PickedExamples = tuple[tuple[report.ShownExample, ...], tuple[report.ShownExample, ...]]
"""Test examples to look at: the mistakes made with most confidence, and the predictions with the least."""


def pick_examples(prepared: PreparedData, probabilities: NDArray[np.float32]) -> PickedExamples:
    """Return the test examples, of probabilities (n, c), to look at, with a preview of each."""
    dataset, test = prepared.scan.dataset, prepared.parts.test
    y, best, confidence = prepared.labels(test), probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(best != y)

    def shown(rows: NDArray[np.intp]) -> tuple[report.ShownExample, ...]:
        return tuple(
            report.ShownExample(
                id=dataset.examples[test[row]].id,
                truth=dataset.classes[y[row]],
                predicted=dataset.classes[best[row]],
                probability=float(confidence[row]),
                **_preview(prepared, test[row]),
            )
            for row in rows[:EXAMPLES_SHOWN]
        )

    surest = wrong[np.argsort(-confidence[wrong], kind="stable")]
    return shown(surest), shown(np.argsort(confidence, kind="stable"))


def build_page(fitted: Fitted, model: Model, examples: PickedExamples, verdict: str) -> report.Report:
    """Return what the page shows."""
    prepared, probabilities = fitted.prepared, fitted.predictor.probabilities
    dataset, y = prepared.scan.dataset, prepared.labels(prepared.parts.test)
    mistakes, unsure = examples
    return report.Report(
        title=dataset.name,
        result=model.report,
        verdict=verdict,
        confusion=np.array(model.report["confusion"], dtype=np.int64),
        reliability=calibration_bins(probabilities.max(axis=1), probabilities.argmax(axis=1) == y),
        mistakes=mistakes,
        unsure=unsure,
        skipped=dataset.skipped,
        notes=_conflicts(prepared),
        candidates=_candidates(fitted),
        provenance=_provenance(model),
        words=_words(fitted),
    )


def _words(fitted: Fitted) -> tuple[report.ClassWords, ...]:
    prepared, text_baseline = fitted.prepared, fitted.baseline.text_baseline
    if text_baseline is None:
        return ()
    classes, layer = prepared.scan.dataset.classes, fitted.choice.layer
    return tuple(top_words_per_class(text_baseline, classes, prepared.source, fitted.choice.head, layer))


def _conflicts(prepared: PreparedData) -> tuple[report.Note, ...]:
    conflicts = tuple(name for conflict in prepared.scan.conflicts for name in conflict.ids)
    items = prepared.scan.dataset.items.capitalize()
    return (report.Note(f"{items} that stand under several labels", conflicts),) if conflicts else ()


def _preview(prepared: PreparedData, position: int) -> dict[str, Any]:
    """Return a small picture, a recording to hear, or how a text begins; nothing where the file has gone since."""
    try:
        data = prepared.scan.dataset.read(position)
        if prepared.scan.dataset.kind == "text":
            text = " ".join(text_of(data).split())
            return {"text": text if len(text) <= TEXT_SHOWN else f"{text[: TEXT_SHOWN - 1]}…"}
        if prepared.scan.dataset.kind == "sound":
            return {"sound": preview(data)}
        return {"thumbnail": thumbnail(data, THUMBNAIL)}
    except BadExample:
        return {}


def _candidates(fitted: Fitted) -> tuple[report.CandidateRow, ...]:
    choice, predictor = fitted.choice, fitted.predictor
    stacked = [stacked_candidate(predictor.stacking, choice)] if predictor.stacking is not None else []
    heads = [
        report.CandidateRow(
            head=candidate.kind,
            layer=candidate.layer,
            penalty=candidate.penalty if "," not in candidate.layer else None,
            log_loss=candidate.log_loss,
            spread=candidate.standard_error,
            chosen=(candidate.kind, candidate.layer) == (choice.head.kind, choice.layer)
            and predictor.text_head is None,
        )
        for candidate in sorted(choice.candidates, key=lambda candidate: candidate.log_loss)
    ]
    return (*stacked, *heads)


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
