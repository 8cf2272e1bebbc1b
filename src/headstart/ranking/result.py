"""The result of a ranking: `result.json`, the table, the sentence, and the folder."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headstart.base.errors import list_some, one_line
from headstart.base.own_folders import RESULT
from headstart.data.dataset import Skipped
from headstart.judge.report.page import percent
from headstart.ranking.candidates import CandidateSource
from headstart.ranking.likeness import describe
from headstart.ranking.measuring import CandidateResult, Ranking, learning_curve, scores_of
from headstart.ranking.options import RankOptions
from headstart.ranking.probe import FOLDS, REPEATS, Unseen, accuracy_of, difference_of
from headstart.run.clock import Clock
from headstart.run.folder import PAGE, SCHEMA, write_report, writing
from headstart.run.losses import account, losses_file, losses_note
from headstart.run.prepare import PreparedData

COLUMNS = 80
DRAWN_CURVES = 3
FEW_LABELS = 5
"""Of a class: with fewer, not even each fold leaves one out."""


@dataclass(frozen=True)
class RankResult:
    """What a ranking measured."""

    title: str
    result: dict[str, Any]  # the content of `result.json`
    skipped: tuple[Skipped, ...] = ()

    @property
    def recommended(self) -> str:
        """The URI of the cheapest source within one standard error of the best."""
        return str(self.result["recommended"])

    @property
    def candidates(self) -> list[dict[str, Any]]:
        """The candidates, the best first, as `result.json` holds them."""
        return list(self.result["candidates"])

    @property
    def verdict(self) -> str:
        """The table of the candidates, at most 80 columns, the recommendation, and what size and likeness suggest."""
        return f"{as_table(self.result)}\n\n{self.result['sentence']}\n{self.result['target']['sentence']}"


def build_rank_result(
    prepared: PreparedData, ranking: Ranking, baseline: Unseen, *, options: RankOptions, clock: Clock
) -> RankResult:
    """Return what goes into `result.json`."""
    dataset, best, chosen = prepared.scan.dataset, ranking.best, ranking.recommended
    plain: dict[str, Any] = {
        "schema": SCHEMA,
        "task": dataset.modality.task,
        "recommended": chosen.candidate.uri,
        "layer": chosen.layer,
        "seed": options.seed,
        "budget": options.budget,
        **account(dataset, prepared.parts),
        "classes": list(dataset.classes),
        "probe": {"head": "ridge", "folds": FOLDS, "splits": REPEATS, "examples": len(best.learned.row_of)},
        "candidates": plain_candidates(prepared, ranking, scores=options.scores),
        "baseline": {
            "name": dataset.modality.baseline,
            "accuracy": accuracy_of(baseline, best.learned.row_of, best.learned.clusters).as_dict(),
            "difference": difference_of(
                baseline, best.unseen, best.learned.row_of, best.learned.clusters
            ).accuracy.as_dict(),
        },
        "target": describe(prepared, ranking),
        "curves": _curves(ranking, prepared, options.seed),
        "engine": prepared.extraction.engine,
        "warnings": _warnings(prepared, ranking, options),
    }
    below = (
        ""
        if plain["baseline"]["difference"]["high"] < 0
        else (f" No source is shown to be better than {plain['baseline']['name']}.")
    )
    plain["sentence"] = f"{recommendation(ranking, dataset.items)}{below}"
    plain["seconds"] = clock.read()
    return RankResult(dataset.name, plain, dataset.skipped)


def plain_candidates(prepared: PreparedData, ranking: Ranking, *, scores: bool = False) -> list[dict[str, Any]]:
    """Return every candidate as `result.json` holds it: the best first, those that were not measured last."""
    return [
        *(_measured(ranking, row) | ({"scores": scores_of(prepared, row)} if scores else {}) for row in ranking.rows),
        *(_unmeasured(candidate) for candidate in ranking.unmeasured),
        *(_entry(failure.uri) | {"error": failure.reason} for failure in ranking.failures),
    ]


def _entry(uri: str, layer: str = "") -> dict[str, Any]:
    """Return the entry of a candidate of which nothing was measured."""
    return {
        "source": uri,
        "layer": layer,
        "accuracy": None,
        "log_loss": None,
        "difference": None,
        "log_loss_difference": None,
        "tied": False,
        "ms_per_example": None,
        "cost": None,
        "parameters": None,
        "licence": None,
        "features": None,
        "examples": 0,
        "error": None,
    }


def _measured(ranking: Ranking, row: CandidateResult) -> dict[str, Any]:
    info, learned, difference = row.candidate.source.info, row.learned, ranking.difference(row)
    return _entry(info.uri, row.layer) | {
        "accuracy": accuracy_of(row.unseen, learned.row_of, learned.clusters).as_dict(),
        "log_loss": row.log_loss,
        "difference": difference.accuracy.as_dict(),
        "log_loss_difference": difference.log_loss.as_dict(),
        "tied": any(row is level for level in ranking.tied()),
        "ms_per_example": row.ms_per_example,
        "cost": row.candidate.cost,
        "parameters": info.parameters,
        "licence": info.licence,
        "features": row.features,
        "examples": len(learned.row_of),
    }


def _unmeasured(candidate: CandidateSource) -> dict[str, Any]:
    info = candidate.source.info
    return _entry(info.uri, "+".join(candidate.layers) if len(candidate.layers) == 1 else "") | {
        "cost": candidate.cost,
        "parameters": info.parameters,
        "licence": info.licence,
        "error": "not measured: the budget had ended; give more with --budget",
    }


def _curves(ranking: Ranking, prepared: PreparedData, seed: int) -> list[dict[str, Any]]:
    """Return the learning curves of the best three candidates: accuracy on unseen examples by number of labels."""
    return [
        {"source": row.candidate.uri, "layer": row.layer, "labels": points}
        for row in ranking.rungs[-1][:DRAWN_CURVES]
        if len(points := learning_curve(prepared, row, seed=seed)) > 1
    ]


def recommendation(ranking: Ranking, items: str) -> str:
    """Return which source to use, and why, in one sentence."""
    chosen, close, others = ranking.recommended, len(ranking.close()), len(ranking.tied()) - 1
    accuracy = accuracy_of(chosen.unseen, chosen.learned.row_of, chosen.learned.clusters)
    figure = f"{percent(accuracy.value)} [{100 * accuracy.low:.1f}, {100 * accuracy.high:.1f}]"
    start = f"Use {chosen.candidate.uri} at layer {chosen.layer}: it classifies {figure} of unseen {items} correctly"
    if len(ranking.rows) == 1:
        return f"{start}, and is the only candidate that was measured."
    if close > 1:
        return f"{start}, and is the cheapest of {close} candidates within one standard error of the least log loss."
    if others:
        return f"{start}, and no other candidate is within one standard error of its log loss."
    return f"{start}, and its log loss is below that of every other candidate beyond the interval."


def _warnings(prepared: PreparedData, ranking: Ranking, options: RankOptions) -> list[str]:
    dataset, learned = prepared.scan.dataset, ranking.best.learned
    notes = losses_note(dataset)
    sizes = np.bincount(learned.y[learned.row_of], minlength=len(dataset.classes))
    few = [f"{one_line(dataset.classes[own], 80)} ({sizes[own]})" for own in np.flatnonzero(sizes < FEW_LABELS)]
    if few:
        notes.append(f"Classes with fewer than {FEW_LABELS} labels make the intervals wide: {list_some(few, 5)}.")
    if ranking.failures:
        notes.append(f"{len(ranking.failures)} of the sources could not be ranked; the table gives the reasons.")
    if ranking.unmeasured:
        notes.append(f"The budget of {options.budget:g} s left {len(ranking.unmeasured)} sources unmeasured.")
    return list(dict.fromkeys([*notes, *prepared.notes]))


def as_table(plain: dict[str, Any], width: int = COLUMNS) -> str:
    """Return the candidates as a table of at most `width` columns, `=` before those that are tied with the best."""
    from rich.console import Console
    from rich.table import Table

    text = io.StringIO()
    console = Console(file=text, width=width, highlight=False, markup=False, no_color=True)
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold", expand=False)
    table.add_column("", no_wrap=True)
    table.add_column("source", overflow="fold")
    table.add_column("layer", overflow="fold", max_width=6)
    for title in ("accuracy, %", "difference", "ms", "M"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("licence", overflow="fold", max_width=10)
    for row in _shown(plain):
        table.add_row(*map(one_line, row[:1]), row[1], *map(one_line, row[2:]))
    console.print(table)
    for row in plain["candidates"]:
        if row["error"]:
            console.print(f"not ranked: {one_line(row['source'])}: {one_line(row['error'])}")
    for name in dict.fromkeys(name for row in plain["candidates"] for name in row.get("scores", ())):
        figures = (row["scores"][name] for row in plain["candidates"] if "scores" in row)
        shown = ", ".join("none" if figure is None else f"{figure:.3f}" for figure in figures)
        console.print(f"{name}, in that order: {shown}")
    console.print("= nothing tells it from the best; ms for an example; M million parameters")
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def _shown(plain: dict[str, Any]) -> Sequence[tuple[str, ...]]:
    rows = []
    for place, row in enumerate(plain["candidates"]):
        if row["accuracy"] is None:
            continue
        name = one_line(row["source"]).replace(":", ":\n", 1) if len(row["source"]) > 18 else one_line(row["source"])
        mark, gap = "=" if row["tied"] else " ", _brackets(row["difference"], "+") if place else "best"
        cost = f"{row['ms_per_example']:.3g}", f"{row['parameters'] / 1e6:.3g}"
        rows.append((mark, name, row["layer"], _brackets(row["accuracy"]), gap, *cost, row["licence"]))
    baseline = plain["baseline"]
    rows.append(
        (" ", baseline["name"], "", _brackets(baseline["accuracy"]), _brackets(baseline["difference"], "+"), "", "", "")
    )
    return rows


def _brackets(interval: dict[str, float], sign: str = "") -> str:
    value, low, high = (100 * interval[end] for end in ("value", "low", "high"))
    return f"{value:{sign}.1f} [{low:{sign}.0f}, {high:{sign}.0f}]"


def write_ranking(out: Path, ranking: RankResult) -> list[str]:
    """Write the folder of a ranking, and return lines that name its files."""
    from headstart.judge.report.ranking_page import render_ranking

    page = render_ranking(ranking.title, ranking.result)
    with writing(out):
        write_report(out, losses_file(ranking.result, ranking.skipped), page, ranking.result)
    return [f"Report: {out / PAGE}    Result: {out / RESULT}"]
