"""The page of a ranking: the recommendation, accuracy against cost, the candidates, and learning curves."""

from __future__ import annotations

from typing import Any

from headstart.data.modality import modality_of_task
from headstart.judge.report import charts
from headstart.judge.report.page import template


def render_ranking(title: str, result: dict[str, Any]) -> str:
    """Return the ranking as one HTML page that needs no other file, no network and no script."""
    measured = [row for row in result["candidates"] if row["accuracy"] is not None]
    return template("ranking.html.j2").render(
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
