"""The head of a report as a notebook shows it: a sentence and its figures, self-contained and escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from headstart.judge.metrics import METRICS
from headstart.judge.report.page import template


def metric_figures(test: Mapping[str, Mapping[str, float]]) -> list[tuple[str, str, str]]:
    """Return title, value and 95 % interval of each test metric of a result, as text."""
    return [
        (metric.title, metric.format(test[key]["value"]), _interval(*(metric.format(test[key][end]) for end in ENDS)))
        for key, metric in METRICS.items()
        if key in test
    ]


ENDS = ("low", "high")


def points(figure: Mapping[str, Any] | None) -> tuple[str, str] | None:
    """Return a difference of accuracies and its 95 % interval as text, in points; None where there is none."""
    if figure is None or figure.get("value") is None:
        return None
    return f"{100 * figure['value']:+.1f} points", _interval(*(f"{100 * figure[end]:+.1f}" for end in ENDS))


def _interval(low: str, high: str) -> str:
    return f"{low.removesuffix(' %')} to {high}"


def head_of_report(title: str, sentence: str, figures: Iterable[tuple[str, str, str]]) -> str:
    """Return HTML without scripts, styles or addresses of its own: a title, a sentence, and a table of figures.

    Args:
        figures: name, value and 95 % interval of each.
    """
    return template("notebook.html.j2").render(title=title, sentence=sentence, figures=list(figures))
