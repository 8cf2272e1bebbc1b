"""The result of a comparison: the benefit with every raw result, `result.json`, and the folder."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from headstart.base.own_folders import RESULT
from headstart.comparison.experiment import UNTRAINED, Experiment
from headstart.comparison.options import ALL
from headstart.data.dataset import Skipped
from headstart.judge.benefit.benefit import Benefit, compute_benefit
from headstart.judge.benefit.gains import SCRATCH, TUNED
from headstart.judge.benefit.results import ArmResults, ComparisonMeta, stack_seeds
from headstart.judge.benefit.sentence import format_points
from headstart.judge.related import relatives_entry
from headstart.run.folder import ARMS, CHECKPOINTS, PAGE, SCHEMA, write_report, writing
from headstart.run.losses import account, losses_file, losses_note

COARSE_DIFFERENCE = 0.1
"""Where only larger differences of accuracy than this could have been shown, the test part is said to be small."""


@dataclass(frozen=True)
class ComparisonResult:
    """The result of a comparison."""

    title: str
    benefit: Benefit
    result: dict[str, Any]
    skipped: tuple[Skipped, ...] = ()

    @property
    def verdict(self) -> str:
        """The benefit as text."""
        return self.benefit.as_text()


def write_comparison(out: Path, comparison: ComparisonResult) -> list[str]:
    """Write the folder of a comparison with the outcomes of its arms, and return lines that name its files.

    The outcomes are moved last: a run after a kill goes on from where they were.
    """
    from headstart.judge.report.comparison_page import render_comparison

    page = render_comparison(comparison.title, comparison.result)
    with writing(out):
        write_report(out, losses_file(comparison.result, comparison.skipped), page, comparison.result)
        shutil.rmtree(out / ARMS, ignore_errors=True)
        (out / CHECKPOINTS).rename(out / ARMS)
    return [f"Report: {out / PAGE}    Result: {out / RESULT}", f"Raw results: {out / ARMS}"]


def build_comparison_result(experiment: Experiment, ranking: dict[str, Any] | None = None) -> ComparisonResult:
    """Measure every benefit on the outcomes of all arms; a ranking that chose the source stands in the result."""
    dataset, splits = experiment.prepared.scan.dataset, experiment.splits
    positions = sorted({position for one in splits.every() for position in one.prepared.parts.test})
    meta = ComparisonMeta(
        experiment.prepared.source.info.uri,
        dataset.modality.baseline,
        dataset.items,
        overlap=0.0 if splits.same_test else len(splits.parts.test) / len(splits.parts.train),
        seed=experiment.options.seed,
        remedy=experiment.remedy,
    )
    benefit = compute_benefit(
        [arm_results(experiment, number, positions) for number in splits.numbers],
        experiment.prepared.labels(tuple(positions)),
        meta,
        ids=[dataset.examples[position].id for position in positions],
        failures=experiment.failures,
        notes=experiment.notes,
    )
    result = _result(experiment, benefit) | ({"ranking": ranking} if ranking is not None else {})
    return ComparisonResult(dataset.name, benefit, result, dataset.skipped)


def arm_results(experiment: Experiment, number: int | None, positions: Sequence[int]) -> ArmResults:
    """Return the results of all arms at one number of labels; `positions` are those that any seed tested, ascending."""
    column_of = {position: column for column, position in enumerate(positions)}
    splits = experiment.splits.of_number(number)
    columns = [
        np.array([column_of[position] for position in split.prepared.parts.test], dtype=np.intp) for split in splits
    ]
    tested, related = (np.zeros((len(splits), len(positions)), np.bool_) for _ in range(2))
    for row, (split, tested_columns) in enumerate(zip(splits, columns, strict=True)):
        tested[row, tested_columns] = True
        related[row, [column_of[position] for position in split.prepared.parts.related]] = True
    results = {}
    for arm in [*UNTRAINED, *(arm for arm in (SCRATCH, TUNED) if arm not in experiment.failures)]:
        outcomes = [
            outcome
            for split in splits
            if (outcome := experiment.outcomes.get(arm, split.labels, split.seed)) is not None
        ]
        if len(outcomes) == len(splits):
            results[arm] = stack_seeds(outcomes, columns, len(positions))
    labels = float(np.mean([len(split.prepared.parts.train) for split in splits]))
    return ArmResults(number, labels, results, tested, experiment.prepared.clusters(tuple(positions)), related)


def _result(experiment: Experiment, benefit: Benefit) -> dict[str, Any]:
    """Return what goes into `result.json`."""
    prepared, options = experiment.prepared, experiment.options
    dataset, plain = prepared.scan.dataset, benefit.as_dict()
    return {
        "schema": SCHEMA,
        "task": dataset.modality.task,
        "source": prepared.source.info.uri,
        "tune": options.tune,
        "seed": options.seed,
        "seeds": {str(number or ALL): len(experiment.splits.seeds) for number in experiment.splits.numbers},
        "budget": options.budget,
        **account(dataset, experiment.splits.parts),
        "classes": list(dataset.classes),
        **plain,
        "relatives": relatives_entry(
            dataset.examples,
            experiment.splits.parts.related,
            plain["arms"][plain["transfer"]]["accuracy_without_relatives"],
        ),
        "engine": prepared.extraction.engine,
        "cache": {"hits": prepared.extraction.hits, "misses": prepared.extraction.misses},
        "warnings": _warnings(experiment, benefit),
        "seconds": experiment.clock.read(),
    }


def _warnings(experiment: Experiment, benefit: Benefit) -> list[str]:
    prepared = replace(experiment.prepared, parts=experiment.splits.parts)
    skipped = losses_note(prepared.scan.dataset)
    return list(dict.fromkeys([*skipped, *prepared.notes, *experiment.notes, *_cut_short(experiment, benefit)]))


def _cut_short(experiment: Experiment, benefit: Benefit) -> list[str]:
    """Return what the budget did not suffice for, one sentence each."""
    done, planned = experiment.splits.dropped
    notes = [f"The budget sufficed for {done} of {planned} seeds: give more with --budget."] if planned else []
    if left_out := experiment.left_out:
        names = " and ".join(ALL if number is None else str(number) for number in left_out)
        notes.append(f"The budget did not suffice for {names} labels per class: give more with --budget.")
    if len(experiment.splits.seeds) == 1:
        notes.append("With one seed the intervals speak of the test examples alone.")
    gap = benefit.asymptote
    if gap is not None and gap.detectable > COARSE_DIFFERENCE:
        seeds, tested = len(benefit.results[-1].tested), int(benefit.results[-1].tested.sum(axis=1).mean())
        notes.append(
            f"With {tested:,} test {benefit.meta.items} and {seeds} seed{'' if seeds == 1 else 's'}, only a "
            f"difference of {format_points(gap.detectable)} or more would have been shown."
        )
    for name in (SCRATCH, TUNED):
        short = [field for field in benefit.results if name in field.arms and field.arms[name].cut]
        if short:
            runs = "; ".join(dict.fromkeys(field.arms[name].note for field in short))
            notes.append(f"{name.capitalize()} ended before it was meant to, so its level is a lower bound: {runs}.")
    return notes
