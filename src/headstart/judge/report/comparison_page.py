"""The page of a comparison: its verdict, the arms, the three transfer benefits, the learning curves, and costs."""

from __future__ import annotations

import shlex
from typing import Any

from headstart.data.modality import modality_of_task
from headstart.judge.report import charts
from headstart.judge.report.page import render_page, template


def render_comparison(title: str, result: dict[str, Any]) -> str:
    """Return the comparison as one HTML page that needs no other file and no network."""
    arms = result["arms"]
    measured = {name: arm for name, arm in arms.items() if "accuracy" in arm}
    return render_page(
        "comparison.html.j2",
        "Next commands",
        [_next(result)],
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


def _next(result: dict[str, Any]) -> list[str]:
    """Return the commands that follow from the verdict."""
    data = f"YOUR_{modality_of_task(result['task']).plural.upper()}"
    source = f"--source {shlex.quote(result['source'])}"
    if result["verdict"] == "benefit":
        budget = " --budget 10m" if result["transfer"] == "tuned" else ""
        return ["# fit a model on the source that was measured", f"headstart fit {data} {source}{budget}"]
    return [
        "# measure whether another source is worth more",
        f"headstart rank {data}",
        "# measure this one once more, with more time",
        f"headstart compare {data} {source} --budget 30m",
    ]


def render_svg(result: dict[str, Any]) -> str:
    """Return the learning curves and the benefits of a comparison as the text of one SVG file."""
    epochs, labels = charts.accuracy_over_epochs(result["arms"]), charts.accuracy_over_labels(result["arms"])
    drawn = [("epoch", epochs), ("labels", labels)]
    return template("comparison.svg.j2").render(
        charts=[(name, chart) for name, chart in drawn if chart], benefits=charts.benefit_bars(result)
    )
