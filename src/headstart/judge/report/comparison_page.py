"""The page of a comparison: the sentence, the arms, the three benefits, both learning curves, and costs."""

from __future__ import annotations

from typing import Any

from headstart.data.modality import modality_of_task
from headstart.judge.report.bands import over_epochs, over_labels, whiskers
from headstart.judge.report.page import template

NAMES = {"baseline": "simple baseline", "scratch": "from scratch", "frozen": "frozen source", "tuned": "tuned source"}


def render_comparison(title: str, result: dict[str, Any]) -> str:
    """Return the comparison as one HTML page that needs no other file, no network and no script.

    Args:
        title: the name of the data.
        result: what goes into `result.json`.
    """
    arms = result["arms"]
    measured = {name: arm for name, arm in arms.items() if "accuracy" in arm}
    return template("comparison.html.j2").render(
        title=title,
        result=result,
        items=modality_of_task(result["task"]).plural,
        names=NAMES,
        arms=measured,
        failed={name: arm["error"] for name, arm in arms.items() if arm.get("error")},
        tracks={name: {**arm["accuracy"], "ours": name in ("frozen", "tuned")} for name, arm in measured.items()},
        benefits=whiskers(result),
        epochs=over_epochs(arms),
        labels=over_labels(arms),
        most=max((arm["seconds_a_run"] for arm in measured.values()), default=1.0),
    )
