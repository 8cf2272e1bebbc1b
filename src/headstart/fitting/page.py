"""What the page of a `fit` shows."""

from __future__ import annotations

import numpy as np

from headstart.fitting.predictor import Fitted
from headstart.fitting.words import stacked_candidate, top_words_per_class
from headstart.judge.metrics import calibration_bins
from headstart.judge.report import fit_page as report
from headstart.model import Model
from headstart.run.prepare import PreparedData
from headstart.run.shown import PickedExamples
from headstart.sources.providers.simple import NAMES


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


def _candidates(fitted: Fitted) -> tuple[report.CandidateRow, ...]:
    prepared, choice, predictor, baseline = fitted.prepared, fitted.choice, fitted.predictor, fitted.baseline
    simple = predictor.source.any_preprocessing
    name, stacking = NAMES[prepared.scan.dataset.kind], predictor.stacking
    stacked = [stacked_candidate(stacking, choice, name)] if stacking is not None else []
    y = prepared.labels(prepared.distinct(prepared.parts.train).positions)[baseline.rows]
    without = report.CandidateRow(
        head="logistic",
        layer="no network",
        log_loss=baseline.log_loss(y),
        chosen=simple,
        note=prepared.scan.dataset.modality.baseline,
    )
    heads = [
        report.CandidateRow(
            head=candidate.kind,
            layer=candidate.layer,
            penalty=candidate.penalty if "," not in candidate.layer else None,
            log_loss=candidate.log_loss,
            spread=candidate.standard_error,
            chosen=(candidate.kind, candidate.layer) == (choice.head.kind, choice.layer)
            and not (stacking is not None and stacking.improves)
            and not simple,
        )
        for candidate in choice.candidates
    ]
    return (*stacked, *sorted([*heads, without], key=lambda row: row.log_loss or 0.0))


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
