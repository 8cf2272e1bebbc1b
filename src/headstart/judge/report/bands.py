"""Geometry of a comparison's charts: curves with bands, and benefits on one axis; numbers only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headstart.judge.report.charts import HIGH, WIDE

STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.25)
MOST_TICKS = 6
ROOM = 0.02  # of accuracy, above and below the curves
TITLES = {
    "tuned": "tuned",
    "frozen": "frozen source",
    "scratch": "from scratch",
    "simple": "simple baseline",
}


@dataclass(frozen=True)
class Tick:
    """A number on an axis, in SVG units."""

    place: float
    text: str


@dataclass(frozen=True)
class Line:
    """One curve: its points and its band as SVG writes them; a level has neither dots nor a band."""

    name: str
    title: str
    points: str
    band: str
    dots: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Chart:
    """Curves of accuracy in a frame of WIDE x HIGH units."""

    lines: tuple[Line, ...]
    places: tuple[Tick, ...]
    heights: tuple[Tick, ...]


@dataclass(frozen=True)
class Whisker:
    """One benefit on a common axis, in percent of its width from the left."""

    name: str
    unit: str
    value: float
    low: float
    high: float
    at: float
    left: float
    width: float
    sign: int


Point = tuple[float, float, float, float]
"""Where a point stands, its accuracy, and the ends of its interval."""


def over_epochs(arms: Mapping[str, Any]) -> Chart | None:
    """Return the chart of accuracy over epochs, on a scale of their logarithm; None where no arm has epochs.

    Args:
        arms: as `Benefit.arms` returns them.
    """
    curves = {
        name: [(math.log2(1 + one["epoch"]), one["accuracy"], one["low"], one["high"]) for one in arm["curve"]]
        for name, arm in arms.items()
        if arm.get("curve")
    }
    levels = {
        {"baseline": "simple"}.get(name, name): arm["accuracy"]["value"]
        for name, arm in arms.items()
        if "accuracy" in arm and not arm["curve"]
    }
    if not curves:
        return None
    last = max(arm["epochs"] for arm in arms.values() if arm.get("curve"))
    marks = [0, *(2**power for power in range(12) if 2**power < 0.75 * last), last]
    return _chart(curves, levels, [(math.log2(1 + mark), str(mark)) for mark in marks])


def over_labels(arms: Mapping[str, Any]) -> Chart | None:
    """Return the chart of accuracy over labels, on a scale of their logarithm; None where there is one number of them.

    Args:
        arms: as `Benefit.arms` returns them.
    """
    curves = {
        {"baseline": "simple"}.get(name, name): [
            (math.log2(one["labels"]), *(one["accuracy"][end] for end in ("value", "low", "high")))
            for one in arm["labels"]
        ]
        for name, arm in arms.items()
        if len(arm.get("labels", [])) > 1
    }
    if not curves:
        return None
    every = sorted({one["labels"] for arm in arms.values() for one in arm.get("labels", [])})
    return _chart(curves, {}, [(math.log2(one), f"{one:,.0f}") for one in every])


def whiskers(said: Mapping[str, Any]) -> list[Whisker]:
    """Return the three benefits on one axis that holds 0, as far as they were measured.

    Args:
        said: as `Benefit.as_dict` returns it.
    """
    units = {"start": "points", "slope": "points per epoch", "asymptote": "points"}
    known = {name: said[name] for name in units if said[name]["value"] is not None}
    low = min([0.0, *(one["low"] for one in known.values())])
    high = max([0.0, *(one["high"] for one in known.values())])
    room = 0.06 * (high - low or 1.0)
    low, high = low - room, high + room

    def place(value: float) -> float:
        return round(float(100 * (value - low) / (high - low)), 2)

    return [
        Whisker(
            name,
            units[name],
            100 * one["value"],
            100 * one["low"],
            100 * one["high"],
            place(one["value"]),
            place(one["low"]),
            round(place(one["high"]) - place(one["low"]), 2),
            int(one["low"] > 0) - int(one["high"] < 0),
        )
        for name, one in known.items()
    ] + ([Whisker("", "", 0.0, 0.0, 0.0, place(0.0), 0.0, 0.0, 0)] if known else [])


def _chart(
    curves: Mapping[str, Sequence[Point]], levels: Mapping[str, float], marks: Sequence[tuple[float, str]]
) -> Chart:
    ends = [point[0] for points in curves.values() for point in points]
    values = [value for points in curves.values() for point in points for value in point[1:]] + list(levels.values())
    first, last = min(ends), max(ends)
    low, high, step = _range(min(values), max(values))

    def across(place: float) -> float:
        return round(WIDE * (place - first) / (last - first or 1.0), 1)

    def down(value: float) -> float:
        return round(HIGH * (high - value) / (high - low), 1)

    lines = [
        Line(name, TITLES[name], f"0,{down(level)} {WIDE},{down(level)}", "", ()) for name, level in levels.items()
    ]
    for name, points in curves.items():
        dots = tuple((across(place), down(value)) for place, value, _, _ in points)
        rim = [(across(place), down(top)) for place, _, _, top in points]
        rim += [(across(place), down(bottom)) for place, _, bottom, _ in reversed(points)]
        lines.append(Line(name, TITLES[name], _joined(dots), _joined(rim), dots))
    ticks = [low + at * step for at in range(round((high - low) / step) + 1)]
    return Chart(
        tuple(lines),
        tuple(Tick(across(place), text) for place, text in marks),
        tuple(Tick(down(tick), f"{100 * tick:.0f}") for tick in ticks),
    )


def _range(least: float, most: float) -> tuple[float, float, float]:
    """Return round ends of an axis that holds two accuracies, and the step of its ticks."""
    for step in STEPS:
        low = max(0.0, math.floor((least - ROOM) / step) * step)
        high = min(1.0, math.ceil((most + ROOM) / step) * step)
        if (high - low) / step <= MOST_TICKS:
            return low, max(high, low + step), step
    return 0.0, 1.0, STEPS[-1]


def _joined(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x},{y}" for x, y in points)
