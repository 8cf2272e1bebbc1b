"""The page of a ranking: the recommendation, accuracy against cost, the candidates, and learning curves."""

from __future__ import annotations

import shlex
from typing import Any

from headstart.data.modality import modality_of_task
from headstart.judge.report import charts
from headstart.judge.report.page import render_page
from headstart.sources.uri import MEAN, MIRRORED


def render_ranking(title: str, result: dict[str, Any]) -> str:
    """Return the ranking as one HTML page that needs no other file and no network."""
    measured = [row for row in result["candidates"] if row["accuracy"] is not None]
    trains = not str(result["recommended"]).startswith((f"{MEAN}:", f"{MIRRORED}:"))
    data, source = modality_of_task(result["task"]).plural.upper(), shlex.quote(str(result["recommended"]))
    return render_page(
        "ranking.html.j2",
        "Next commands",
        [
            [
                "# fit a model on the source that is recommended",
                f"headstart fit YOUR_{data} --source {source}",
                "# measure what it is worth against training from scratch",
                f"headstart compare YOUR_{data} --source {source if trains else 'auto'}",
            ]
        ],
        title=title,
        result=result,
        items=modality_of_task(result["task"]).plural,
        item=modality_of_task(result["task"]).singular,
        measured=measured,
        unmeasured=[row for row in result["candidates"] if row["accuracy"] is None],
        cost=charts.accuracy_over_cost(measured, result["baseline"]["accuracy"]["value"]),
        curves=charts.curves_of_candidates(result["curves"]),
        scores=list(dict.fromkeys(name for row in measured for name in row.get("scores", {}))),
    )
