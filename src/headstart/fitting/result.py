"""What a `fit` made: its measures, `result.json`, the model, and the folder that holds them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.own_folders import RESULT
from headstart.fitting.predictor import Fitted
from headstart.fitting.words import truncation_report
from headstart.judge.baselines import majority_baseline
from headstart.judge.intervals import Interval, paired_difference, share_of
from headstart.judge.metrics import METRICS, evaluate
from headstart.judge.neighbours import Neighbours
from headstart.judge.novelty import Novelty
from headstart.judge.related import relatives_entry
from headstart.judge.report import fit_page as report
from headstart.model import Model
from headstart.run.folder import CHECKPOINTS, SCHEMA, write_report, writing
from headstart.run.losses import account, losses_file, losses_note
from headstart.ship.bundle import DataIdentity
from headstart.ship.run_neighbours import write_neighbours
from headstart.sources.layers import POOL
from headstart.sources.providers.simple import NAMES
from headstart.sources.uri import SIMPLE


@dataclass(frozen=True)
class FitResult:
    """What a `fit` made."""

    model: Model
    result: dict[str, Any]
    verdict: str
    report: report.Report


@dataclass(frozen=True)
class TestMeasures:
    """What a predictor and both baselines reach on the test part."""

    metrics: Mapping[str, Any]  # of the predictor, as `judge.metrics.evaluate` returns them
    majority: float  # accuracy of the commonest class of the train part
    majority_class: str
    baseline: float  # accuracy of the baseline without a source
    gain: Interval  # accuracy of the predictor minus that of this baseline, paired
    # accuracy on the test examples without a copy or near copy in the train part; None where all have one
    unrelated: Interval | None = None
    source_alone: float | None = (
        None  # accuracy of the chosen head without the simple baseline; None where both were not tried
    )


def measure(fitted: Fitted, *, seed: int) -> TestMeasures:
    """Measure the predictor and both baselines on the test part."""
    prepared, predictor = fitted.prepared, fitted.predictor
    classes, parts = prepared.scan.dataset.classes, prepared.parts
    y = prepared.labels(parts.test)

    def correct(probabilities: NDArray[np.float32]) -> NDArray[np.bool_]:
        return np.asarray(probabilities.argmax(axis=1) == y)

    majority = majority_baseline(prepared.labels(parts.train), len(classes), len(y))
    by_baseline = correct(fitted.baseline.probabilities)
    right = correct(predictor.probabilities)
    unrelated, clusters = ~np.isin(parts.test, parts.related), prepared.clusters(parts.test)
    alone = None
    if predictor.stacking is not None:
        alone = float(correct(prepared.predict_proba(fitted.choice.head, fitted.choice.layer, parts.test)).mean())
    return TestMeasures(
        metrics=evaluate(predictor.probabilities, y, classes, seed=seed, clusters=clusters),
        majority=float(correct(majority).mean()),
        majority_class=classes[int(majority[0].argmax())],
        baseline=float(by_baseline.mean()),
        gain=paired_difference(right, by_baseline, seed=seed, clusters=clusters),
        unrelated=share_of(right[unrelated], clusters[unrelated]) if unrelated.any() else None,
        source_alone=alone,
    )


def build_result(
    fitted: Fitted, measures: TestMeasures, *, tune: str, seed: int, seconds: Mapping[str, float]
) -> dict[str, Any]:
    """Return what goes into `result.json`."""
    prepared, predictor = fitted.prepared, fitted.predictor
    dataset, extraction = prepared.scan.dataset, prepared.extraction
    return {
        "schema": SCHEMA,
        "task": dataset.modality.task,
        "source": predictor.source.info.uri,
        "layer": predictor.layer,
        "head": predictor.head.kind,
        "tune": tune,
        "seed": seed,
        **account(dataset, prepared.parts),
        "classes": list(dataset.classes),
        "test": {name: measures.metrics[name] for name in METRICS},
        "baselines": {"majority": measures.majority, "simple": measures.baseline},
        "relatives": relatives_entry(
            dataset.examples,
            prepared.parts.related,
            None if measures.unrelated is None else measures.unrelated.as_dict(),
        ),
        "per_class": measures.metrics["per_class"],
        "confusion": measures.metrics["confusion"],
        "seconds": dict(seconds),
        "cache": {"hits": extraction.hits, "misses": extraction.misses},
        "engine": predictor.engine,
        "warnings": _warnings(fitted),
        **({"tuning": predictor.tuning} if predictor.tuning is not None else {}),
        **({"sources_tried": _sources_tried(fitted)} if fitted.tried else {}),
        **_text_entries(fitted),
        **_stacking_entries(fitted, measures),
    }


def _sources_tried(fitted: Fitted) -> list[dict[str, Any]]:
    """Return the default sources that were tried, the simple baseline last, each with whether it is the one shipped."""
    prepared, baseline = fitted.prepared, fitted.baseline
    y = prepared.labels(prepared.distinct(prepared.parts.train).positions)[baseline.rows]
    simple, predictor = f"{SIMPLE}:{NAMES[prepared.scan.dataset.kind]}", fitted.predictor
    rows = [*fitted.tried, {"source": simple, "layer": POOL, "head": "logistic", "log_loss": baseline.log_loss(y)}]
    shipped = predictor.source.info.uri
    if predictor.stacking is not None and predictor.stacking.improves:
        loss = predictor.stacking.log_loss
        rows.append({"source": shipped, "layer": predictor.layer, "head": predictor.head.kind, "log_loss": loss})
    return [{**row, "chosen": row["source"] == shipped} for row in rows]


def _text_entries(fitted: Fitted) -> dict[str, Any]:
    """Return what `result.json` holds of texts alone: how far they were read."""
    prepared = fitted.prepared
    of_texts = prepared.scan.dataset.kind == "text"
    return {"texts": truncation_report(prepared.extraction, prepared.source)[0]} if of_texts else {}


def _stacking_entries(fitted: Fitted, measures: TestMeasures) -> dict[str, Any]:
    """Return what `result.json` says of stacking the simple baseline on the source, by the name of what it reads."""
    stacking = fitted.predictor.stacking
    if stacking is None:
        return {}
    return {
        NAMES[fitted.prepared.scan.dataset.kind]: {
            "joined": stacking.improves,
            "log_loss": {"joined": stacking.log_loss, "source": stacking.source_log_loss},
            "source_alone": measures.source_alone,
        }
    }


def _warnings(fitted: Fitted) -> list[str]:
    prepared = fitted.prepared
    dataset, extraction = prepared.scan.dataset, prepared.extraction
    skipped = losses_note(dataset)
    notes = (
        *prepared.notes,
        *(truncation_report(extraction, prepared.source)[1] if dataset.kind == "text" else ()),
        *fitted.choice.notes,
        *fitted.predictor.notes,
    )
    return list(dict.fromkeys([*skipped, *notes]))


def build_model(
    fitted: Fitted,
    result: dict[str, Any],
    patterns: dict[str, str],
    novelty: Novelty | None = None,
    neighbours: Neighbours | None = None,
) -> Model:
    """Return the classifier, with `result` as its report; `patterns` took labels and groups from names."""
    scanned, predictor = fitted.prepared.scan, fitted.predictor
    table = scanned.dataset.table
    return Model(
        source=predictor.source,
        layer=predictor.layer,
        blocks=predictor.blocks,
        head=predictor.head,
        classes=scanned.dataset.classes,
        report=result,
        data=DataIdentity(
            scanned.dataset.name,
            scanned.fingerprint,
            {depth: list(ends) for depth, ends in scanned.dataset.value_ranges.items()},
            {word: list(names) for word, names in table.columns.items()} if table is not None else {},
            patterns,
        ),
        engine=fitted.prepared.engine,
        terms=predictor.text_head,
        novelty=novelty,
        neighbours=neighbours,
    )


def write_out(out: Path, run: FitResult) -> list[str]:
    """Write a run's folder, and return what to say of it.

    `result.json` comes last, so that its presence says that the rest is there.
    """
    with writing(out):
        run.model.save(out / "bundle")
        write_neighbours(out, run.model.neighbours)
        write_report(out, losses_file(run.result, run.report.skipped), report.render(run.report), run.result)
        shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
    return [f"Report: {out / 'report.html'}", f"Bundle: {out / 'bundle'}    Result: {out / RESULT}"]
