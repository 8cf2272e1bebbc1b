"""The page of a comparison: its verdict, the arms, the three transfer benefits, the learning curves, and costs."""

from __future__ import annotations

from typing import Any

from headstart.data.modality import modality_of_task
from headstart.judge.report import charts
from headstart.judge.report.page import template


def render_comparison(title: str, result: dict[str, Any]) -> str:
    """Return the comparison as one HTML page that needs no other file, no network and no script."""
    arms = result["arms"]
    measured = {name: arm for name, arm in arms.items() if "accuracy" in arm}
    return template("comparison.html.j2").render(
        title=title,
        result=result,
        items=modality_of_task(result["task"]).plural,
        names=charts.ARM_TITLES,
        arms=measured,
        failed={name: arm["error"] for name, arm in arms.items() if arm.get("error")},
        tracks={name: {**arm["accuracy"], "tone": name} for name, arm in measured.items()},
        benefits=charts.benefit_bars(result),
        epochs=charts.accuracy_over_epochs(arms),
        labels=charts.accuracy_over_labels(arms),
        most=max((arm["seconds_a_run"] for arm in measured.values()), default=1.0),
    )


def render_svg(result: dict[str, Any]) -> str:
    """Return the learning curves and the benefits of a comparison as the text of one SVG file."""
    epochs, labels = charts.accuracy_over_epochs(result["arms"]), charts.accuracy_over_labels(result["arms"])
    drawn = [("epoch", epochs), ("labels", labels)]
    return template("comparison.svg.j2").render(
        charts=[(name, chart) for name, chart in drawn if chart], benefits=charts.benefit_bars(result)
    )
