"""What came of a comparison: the benefit with every raw result, `result.json`, and the folder."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.atomic import write_atomic
from headstart.comparison.experiment import UNTRAINED, Experiment
from headstart.comparison.options import ALL
from headstart.fitting.findings import SCHEMA
from headstart.judge.benefit.benefit import Benefit, compute_benefit
from headstart.judge.benefit.gains import SCRATCH, TUNED
from headstart.judge.benefit.results import ArmResults, ComparisonMeta, Outcome, stack_seeds
from headstart.judge.benefit.sentence import format_points
from headstart.run.folder import ARMS, CHECKPOINTS, RESULT

PAGE = "report.html"
COARSE = 0.1
"""Where only larger differences of accuracy than this could have been shown, the test part is said to be small."""


@dataclass(frozen=True)
class ComparisonResult:
    """What came of a comparison.

    Attributes:
        title: the name of the data.
        benefit: what the source was worth, with every raw result.
        result: what goes into `result.json`.
    """

    title: str
    benefit: Benefit
    result: dict[str, Any]

    @property
    def verdict(self) -> str:
        """What came of it, as text."""
        return self.benefit.as_text()


def write_comparison(out: Path, compared: ComparisonResult) -> list[str]:
    """Write a comparison's folder, what its arms answered included, and return what to say of it.

    `result.json` comes last, so that its presence says that the rest is there.
    """
    from headstart.judge.report.comparison_page import render_comparison

    page = render_comparison(compared.title, compared.result)
    result = json.dumps(compared.result, indent=1, allow_nan=False)
    out.mkdir(parents=True, exist_ok=True)
    write_atomic(out / PAGE, page.encode("utf-8", "backslashreplace"))
    shutil.rmtree(out / ARMS, ignore_errors=True)
    (out / CHECKPOINTS).rename(out / ARMS)
    write_atomic(out / RESULT, result.encode())
    return [f"Report: {out / PAGE}    Result: {out / RESULT}", f"Raw results: {out / ARMS}"]


def build_comparison_result(experiment: Experiment) -> ComparisonResult:
    """Say what came of a comparison: measure every benefit on the outcomes of all arms."""
    dataset, options = experiment.prepared.scan.dataset, experiment.options
    fields, every = fields_of(experiment)
    positions = tuple(int(at) for at in every)
    parts = experiment.parts_of(None, options.seed)
    about = ComparisonMeta(
        experiment.prepared.source.info.uri,
        dataset.modality.baseline,
        dataset.items,
        overlap=0.0 if experiment.given else len(parts.test) / len(parts.train),
        seed=options.seed,
    )
    benefit = compute_benefit(
        fields,
        experiment.prepared.labels(positions),
        about,
        ids=[dataset.examples[at].id for at in positions],
        failures=experiment.failures,
        notes=experiment.notes,
    )
    return ComparisonResult(dataset.name, benefit, _result(experiment, benefit))


def fields_of(experiment: Experiment) -> tuple[list[ArmResults], NDArray[np.intp]]:
    """Return the outcomes of all arms side by side, and the positions of the examples that any seed tested."""
    every = sorted({at for one in experiment.divisions() for at in one.prepared.parts.test})
    place = {position: column for column, position in enumerate(every)}
    arms = [*UNTRAINED, *(arm for arm in (SCRATCH, TUNED) if arm not in experiment.failures)]
    fields = []
    for number in experiment.numbers:
        divisions = [experiment.division(number, seed) for seed in experiment.seeds[number]]
        columns = [np.array([place[at] for at in one.prepared.parts.test], dtype=np.intp) for one in divisions]
        tested = np.zeros((len(divisions), len(every)), np.bool_)
        for row, at in enumerate(columns):
            tested[row, at] = True
        results = {}
        for arm in arms:
            found = [experiment.outcomes.get(arm, one.labels, one.seed) for one in divisions]
            whole: list[Outcome] = [one for one in found if one is not None]
            if len(whole) == len(divisions):
                results[arm] = stack_seeds(whole, columns, len(every))
        labels = float(np.mean([len(one.prepared.parts.train) for one in divisions]))
        fields.append(ArmResults(number, labels, results, tested))
    return fields, np.array(every, dtype=np.intp)


def _result(experiment: Experiment, benefit: Benefit) -> dict[str, Any]:
    """Return what goes into `result.json`."""
    prepared, options = experiment.prepared, experiment.options
    dataset, parts = prepared.scan.dataset, experiment.parts_of(None, options.seed)
    return {
        "schema": SCHEMA,
        "task": dataset.modality.task,
        "source": prepared.source.info.uri,
        "tune": options.tune,
        "seed": options.seed,
        "seeds": {ALL if number is None else str(number): len(found) for number, found in experiment.seeds.items()},
        "budget": options.budget,
        "examples": {
            "train": len(parts.train),
            "validation": len(parts.validation),
            "test": len(parts.test),
            "skipped": len(dataset.skipped),
            "ignored": dataset.ignored,
        },
        "classes": list(dataset.classes),
        **benefit.as_dict(),
        "engine": prepared.extraction.engine,
        "cache": {"hits": prepared.extraction.hits, "misses": prepared.extraction.misses},
        "warnings": _warnings(experiment, benefit),
        "seconds": experiment.clock.read(),
    }


def _warnings(experiment: Experiment, benefit: Benefit) -> list[str]:
    prepared = experiment.prepared
    dataset = prepared.scan.dataset
    skipped = [f"{len(dataset.skipped)} broken examples were skipped."] if dataset.skipped else []
    notes = (
        *prepared.source.info.notes,
        *dataset.notes,
        *prepared.scan.notes,
        *experiment.parts_of(None, experiment.options.seed).notes,
        *prepared.extraction.notes,
        *experiment.notes,
        *_cut_short(experiment, benefit),
    )
    return list(dict.fromkeys([*skipped, *notes]))


def _cut_short(experiment: Experiment, benefit: Benefit) -> list[str]:
    """Return what the budget did not suffice for, one sentence each."""
    done, asked = experiment.dropped
    notes = [f"The budget sufficed for {done} of {asked} seeds: give more with --budget."] if asked else []
    if any(len(found) == 1 for found in experiment.seeds.values()):
        notes.append("With one seed the intervals speak of the test examples alone.")
    gap = benefit.asymptote
    if gap is not None and gap.detectable > COARSE:
        seeds, tested = len(benefit.results[-1].tested), int(benefit.results[-1].tested.sum(axis=1).mean())
        notes.append(
            f"With {tested:,} test {benefit.meta.items} and {seeds} seed{'' if seeds == 1 else 's'}, only a "
            f"difference of {format_points(gap.detectable)} or more would have been shown."
        )
    for name in (SCRATCH, TUNED):
        short = [field for field in benefit.results if name in field.arms and field.arms[name].cut]
        if short:
            how = "; ".join(dict.fromkeys(field.arms[name].note for field in short))
            notes.append(f"{name.capitalize()} ended before it was meant to, its level is a lower bound: {how}.")
    return notes
