"""A bundle on new labelled data: its figures, those of another bundle beside them, and the page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headstart.base.own_folders import RESULT
from headstart.base.progress import Progress
from headstart.data.dataset import Skipped
from headstart.data.split import Parts
from headstart.evaluating.options import EvaluateOptions
from headstart.judge.baselines import majority_baseline
from headstart.judge.evaluation import Evaluation, difference
from headstart.judge.intervals import Interval
from headstart.judge.metrics import METRICS, calibration_bins
from headstart.judge.novelty import FALSE_ALARMS
from headstart.judge.related import relatives_entry
from headstart.judge.report import fit_page as report
from headstart.judge.report.page import percent
from headstart.model import Model, load
from headstart.run.clock import Clock
from headstart.run.folder import SCHEMA, write_report, writing
from headstart.run.losses import account, losses_file, losses_note
from headstart.run.shown import pick_examples


@dataclass(frozen=True)
class EvaluateResult:
    """What an `evaluate` made."""

    evaluation: Evaluation
    result: dict[str, Any]
    verdict: str
    page: report.Report

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """The examples that could not be read."""
        return self.evaluation.scan.dataset.skipped


def run_evaluate(bundle: Path, data: Any, options: EvaluateOptions, progress: Progress) -> EvaluateResult:
    """Load a bundle, or the two to compare, and measure it on labelled data."""
    clock = Clock()
    model = load(bundle, engine=options.engine)
    rival = load(options.against, engine=options.engine) if options.against is not None else None

    def judged(by: Model) -> Evaluation:
        shared: dict[str, Any] = {"allow_broken": options.allow_broken, "seed": options.seed, "progress": progress}
        return by.evaluate(data, **options.reading, **shared)

    with clock.part("extract"):
        mine = judged(model)
        theirs = judged(rival) if rival is not None else None
    with progress.step("Measuring"):
        gain = difference(mine, theirs, seed=options.seed) if theirs is not None else None
        result = build_result(bundle, model, mine, seed=options.seed)
        if theirs is not None and gain is not None and rival is not None:
            result["against"] = {
                "bundle": str(options.against),
                "source": rival.source.info.uri,
                "test": {name: theirs.metrics[name] for name in METRICS},
                "difference": gain.as_dict(),
            }
    result["seconds"] = clock.read()
    sentence = result["sentence"] = verdict(result, gain)
    return EvaluateResult(mine, result, sentence, build_page(model, mine, result, sentence))


def build_result(bundle: Path, model: Model, evaluation: Evaluation, *, seed: int) -> dict[str, Any]:
    """Return what goes into `result.json`, save the other bundle and the seconds."""
    dataset, metrics = evaluation.scan.dataset, evaluation.metrics
    majority = majority_baseline(evaluation.y, len(model.classes), len(evaluation.y))
    hits, misses = evaluation.cached
    return {
        "schema": SCHEMA,
        "task": dataset.modality.task,
        "bundle": str(bundle),
        "source": model.source.info.uri,
        "layer": model.layer,
        "head": model.head.kind,
        "seed": seed,
        **account(dataset, Parts((), (), evaluation.positions, ())),
        "classes": list(model.classes),
        "test": {name: metrics[name] for name in METRICS},
        "baselines": {"majority": float((majority.argmax(axis=1) == evaluation.y).mean())},
        "when_fitted": {"data": model.data.name, "accuracy": model.report["test"]["accuracy"]},
        "relatives": relatives_entry(dataset.examples, (), None),
        "unlike": evaluation.unlike,
        "per_class": metrics["per_class"],
        "confusion": metrics["confusion"],
        "cache": {"hits": hits, "misses": misses},
        "engine": evaluation.engine,
        "warnings": list(_notes(model, evaluation)),
    }


def _notes(model: Model, evaluation: Evaluation) -> list[str]:
    scanned = evaluation.scan
    dataset, items = scanned.dataset, scanned.dataset.items
    notes = [*dataset.notes, *scanned.notes]
    in_part = len(evaluation.positions) < len(dataset)
    if scanned.fingerprint == model.data.fingerprint and not in_part:
        notes.insert(
            0,
            f"The model was fitted on these very data: most of these {items} may be its training examples, and the "
            "figures are then too good.",
        )
    if in_part:
        notes.append(f"Of {len(dataset):,} {items} the {len(evaluation.positions):,} of the test part are judged.")
    if evaluation.unlike:
        count = len(evaluation.positions)
        notes.append(
            f"Of {count:,} {items} {evaluation.unlike:,} ({percent(evaluation.unlike / count)}) are unlike the "
            f"training data of the model, where {percent(FALSE_ALARMS)} would be by chance."
        )
    if absent := len(model.classes) - len(dataset.classes):
        notes.append(f"The data holds no example of {absent} of the {len(model.classes)} classes of the model.")
    return list(dict.fromkeys([*notes, *losses_note(dataset)]))


def verdict(result: dict[str, Any], gain: Interval | None) -> str:
    """Return the result in one sentence or two: the accuracy with its interval, what it was, and which is better."""
    accuracy, count = result["test"]["accuracy"], result["examples"]["test"]
    items = report.items_of(result)
    before = result["when_fitted"]["accuracy"]
    text = (
        f"{round(accuracy['value'] * count):,} of {count:,} {items} are classified correctly: an accuracy of "
        f"{percent(accuracy['value'])} [{100 * accuracy['low']:.1f}, {100 * accuracy['high']:.1f}]; when the model was "
        f"fitted it was {percent(before['value'])} [{100 * before['low']:.1f}, {100 * before['high']:.1f}]."
    )
    if gain is None:
        return text
    span = f"{100 * gain.value:+.1f} points [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]"
    rival = result["against"]["bundle"]
    if gain.low > 0:
        return f"{text} It is better than {rival}: {span}."
    if gain.high < 0:
        return f"{text} It is worse than {rival}: {span}."
    return f"{text} It is not shown to differ from {rival}: {span}."


def build_page(model: Model, evaluation: Evaluation, result: dict[str, Any], sentence: str) -> report.Report:
    """Return what the page shows."""
    dataset, y, probabilities = evaluation.scan.dataset, evaluation.y, evaluation.probabilities
    mistakes, unsure = pick_examples(dataset, evaluation.positions, y, probabilities, model.classes)
    info = model.source.info
    return report.Report(
        title=dataset.name,
        result=result,
        verdict=sentence,
        confusion=np.array(result["confusion"], dtype=np.int64),
        reliability=calibration_bins(probabilities.max(axis=1), evaluation.correct),
        mistakes=mistakes,
        unsure=unsure,
        skipped=dataset.skipped,
        provenance=(
            ("Bundle", result["bundle"]),
            ("Fitted on", f"{model.data.name}, fingerprint {model.data.fingerprint}"),
            ("Source", info.uri),
            ("Licence of the source", info.licence),
            ("Engine", result["engine"]),
            ("Seed", str(result["seed"])),
            ("Fingerprint of the data", evaluation.scan.fingerprint),
        ),
        bundle=result["bundle"],
    )


def write_evaluation(out: Path, run: EvaluateResult) -> list[str]:
    """Write the folder of an evaluation, `result.json` last, and return what to say of it."""
    with writing(out):
        write_report(out, losses_file(run.result, run.skipped), report.render(run.page), run.result)
    return [f"Report: {out / 'report.html'}", f"Result: {out / RESULT}"]
