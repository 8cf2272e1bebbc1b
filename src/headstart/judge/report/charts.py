"""Geometry of the charts: numbers only, so that nothing a user names is ever written into a drawing unescaped."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.errors import one_line
from headstart.judge.intervals import wilson
from headstart.judge.metrics import BENEFITS, CalibrationBin
from headstart.judge.report.page import percent

RELIABILITY_SIZE = 240  # side of the reliability diagram, in SVG units
HISTOGRAM_HEIGHT = 44  # of the histogram below it
SHADES = 6  # of a heat map
MAX_AXIS_NAMES, AXIS_NAME = 90, 14  # names beside a heat map, and the characters of each
MAX_TOLD_CELLS = 2000  # cells of a heat map that say what they count where the pointer rests
CELL_PIXELS, MAX_HEAT_PIXELS = 10, 1600  # of a heat map, which is scrolled where the screen is narrower
WIDTH, HEIGHT = 420, 200  # of the frame of a line chart, in SVG units
TICK_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.25)  # of accuracy
MAX_TICK_STEPS = 6
MARGIN = 0.02  # of accuracy, above and below the curves
LOSS_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)  # shares of the largest log loss that is drawn
LINE_STYLES = 4
ARM_TITLES = {
    "baseline": "simple baseline",
    "scratch": "from scratch",
    "frozen": "frozen source",
    "tuned": "tuned source",
}
ENDS = ("value", "low", "high")
BENEFIT_UNITS = {"start": "points", "slope": "points per epoch", "asymptote": "points"}


@dataclass(frozen=True)
class ChartLine:
    """One line of a chart: its points and its band as SVG writes them; `style` names its class in the style sheet.

    A line without a title is not in the legend.
    """

    style: str
    title: str
    points: str
    band: str = ""
    dots: tuple[tuple[float, float], ...] = ()
    label: str = ""  # what stands beside the first dot


@dataclass(frozen=True)
class LineChart:
    """Lines in a frame of WIDTH x HEIGHT units, from the upper left; ticks are positions and texts."""

    lines: tuple[ChartLine, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]


def reliability_diagram(bins: Sequence[CalibrationBin]) -> list[dict[str, Any]]:
    """Return where each bin lies in the reliability diagram (DeGroot and Fienberg 1983), in units from the upper left.

    `low` and `high` are the ends of its interval; `height` is that of its bar in the histogram.
    """
    largest = max((bar.count for bar in bins), default=1)
    points = []
    for bar in bins:
        if bar.count:
            _, low, high = wilson(bar.accuracy * bar.count, bar.count)
            share = bar.count / largest
            points.append(
                {
                    "x": round(RELIABILITY_SIZE * bar.confidence, 1),
                    "y": round(RELIABILITY_SIZE * (1 - bar.accuracy), 1),
                    "low": round(RELIABILITY_SIZE * (1 - low), 1),
                    "high": round(RELIABILITY_SIZE * (1 - high), 1),
                    "radius": round(2.5 + 5.5 * share**0.5, 1),
                    "height": round(max(1.5, HISTOGRAM_HEIGHT * share), 1),
                    "bin": bar,
                }
            )
    return points


def heat_map(counts: NDArray[np.int64], names: Sequence[str]) -> dict[str, Any]:
    """Return the cells above zero of a confusion matrix as few paths: counts (c, c), rows by true class; c names.

    Each cell is a square of one unit; those on the diagonal and the errors are apart. A path comes with its opacity.
    `cells` are the largest ones with what each says, and `labels` the names beside every `step`-th row and column.
    """
    side, diagonal = len(counts), np.eye(len(counts), dtype=bool)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    step = -(-side // MAX_AXIS_NAMES)
    largest = np.argsort(-counts, axis=None, kind="stable")[:MAX_TOLD_CELLS]
    cells = [
        (row, column, f"{counts[row, column]:,} of class {names[row]} predicted as {names[column]} ({percent(shown)})")
        for row, column in zip(*(at.tolist() for at in np.unravel_index(largest, counts.shape)), strict=True)
        if (shown := shares[row, column])
    ]
    return {
        "side": side,
        "step": step,
        "width": min(CELL_PIXELS * side, MAX_HEAT_PIXELS),
        "correct": _shades(shares * diagonal),
        "wrong": _shades(shares * ~diagonal),
        "cells": cells,
        "labels": [(row, one_line(names[row], AXIS_NAME)) for row in range(0, side, step)],
    }


def _shades(shares: NDArray[np.float64]) -> list[tuple[str, float]]:
    # the square root spreads small shares, which are most of a confusion matrix
    levels = np.ceil(np.sqrt(shares) * SHADES).astype(int)
    shades = []
    for level in range(1, SHADES + 1):
        cells = np.argwhere(levels == level)
        if len(cells):
            path = "".join(f"M{column} {row}h1v1h-1z" for row, column in cells.tolist())
            shades.append((path, level / SHADES))
    return shades


def loss_chart(
    losses: Mapping[str, Sequence[float | None]], reference: tuple[str, float], *, method: str = "", beside: str = ""
) -> LineChart | None:
    """Return the chart of log losses by run, epoch by epoch, in nats; None where no run has two finite ones.

    A loss is None where it was not finite. The dot of each line is its best epoch; `reference` is a level beside.
    `method` names what every run is and `beside` what the level is, of `ARM_TITLES`; without it runs are told apart.
    """
    finite = [[(epoch, loss) for epoch, loss in enumerate(run) if loss is not None] for run in losses.values()]
    drawn = [(index, name, run) for index, (name, run) in enumerate(zip(losses, finite, strict=True)) if len(run) > 1]
    if not drawn:
        return None
    title, level = reference
    last = max(run[-1][0] for _, _, run in drawn)
    # A spike would flatten everything else: the chart ends at twice what it starts from.
    top = min(max(loss for *_, run in drawn for _, loss in run), 2 * max(level, *(run[0][1] for *_, run in drawn)))
    top = 1.05 * max(top, level)

    def place(epoch: int, loss: float) -> tuple[float, float]:
        return round(WIDTH * epoch / last, 1), round(HEIGHT * (1 - min(loss, top) / top), 1)

    lines = [ChartLine(f"level {beside}".strip(), title, _joined([place(0, level), place(last, level)]))]
    for index, name, run in drawn:
        best = place(*min(run, key=lambda point: point[1]))
        points = _joined([place(*point) for point in run])
        lines.append(ChartLine(method or f"s{index % LINE_STYLES + 1}", name, points, dots=(best,)))
    y_ticks = tuple((HEIGHT * (1 - share), f"{top * share:.2f}") for share in LOSS_TICKS)
    return LineChart(tuple(lines), ((0, "0"), (WIDTH, str(last))), y_ticks)


def accuracy_over_epochs(arms: Mapping[str, Any]) -> LineChart | None:
    """Return the chart of accuracy over epochs, on a scale of their logarithm; None where no arm has epochs."""
    curves = {
        name: [(math.log2(1 + one["epoch"]), one["accuracy"], one["low"], one["high"]) for one in arm["curve"]]
        for name, arm in arms.items()
        if arm.get("curve")
    }
    levels = {name: arm["accuracy"]["value"] for name, arm in arms.items() if "accuracy" in arm and not arm["curve"]}
    if not curves:
        return None
    last = max(arm["epochs"] for arm in arms.values() if arm.get("curve"))
    ticks = [0, *(2**power for power in range(12) if 2**power < 0.75 * last), last]
    return _accuracy_chart(curves, levels, [(math.log2(1 + tick), str(tick)) for tick in ticks])


def accuracy_over_labels(arms: Mapping[str, Any]) -> LineChart | None:
    """Return the chart of accuracy over labels, on a logarithmic scale; None where there is one number of them."""
    curves = {
        name: [(math.log2(one["labels"]), *(one["accuracy"][end] for end in ENDS)) for one in arm["labels"]]
        for name, arm in arms.items()
        if len(arm.get("labels", [])) > 1
    }
    if not curves:
        return None
    numbers = sorted({one["labels"] for arm in arms.values() for one in arm.get("labels", [])})
    return _accuracy_chart(curves, {}, [(math.log2(labels), f"{labels:,.0f}") for labels in numbers])


def accuracy_over_cost(candidates: Sequence[Mapping[str, Any]], baseline: float) -> LineChart | None:
    """Return the chart of accuracy over the milliseconds of an example, on a logarithmic scale; None for no candidate.

    Each source is a dot at the best of its layers, with its number and its interval; those tied with the best have a
    style of their own. The accuracy of the simple baseline is a level, where it does not flatten everything else.
    """
    if not candidates:
        return None
    numbers = {row["source"]: number for number, row in reversed([*enumerate(candidates, start=1)])}
    candidates = [candidates[number - 1] for number in sorted(numbers.values())]
    places = [math.log10(max(row["ms_per_example"], 1e-3)) for row in candidates]
    low, high = math.floor(min(places) * 2) / 2, math.ceil(max(places) * 2 + 0.01) / 2
    ends = [row["accuracy"][end] for row in candidates for end in ("low", "high")]
    drawn = min(ends) - baseline < 2 * (max(ends) - min(ends))
    values = [baseline, *ends] if drawn else ends
    y_ticks, down = _accuracy_ticks(*_axis_range(min(values), max(values)))
    level = ChartLine("level baseline", "simple baseline", _joined([(0, down(baseline)), (WIDTH, down(baseline))]))
    lines = [level] if drawn else []
    styles = {True: ("gain", "tied with the best"), False: ("unclear", "behind the best")}
    for row, place in zip(candidates, places, strict=True):
        x, (style, title) = round(WIDTH * (place - low) / (high - low), 1), styles[bool(row["tied"])]
        accuracy = row["accuracy"]
        titled = title if title not in {line.title for line in lines} else ""
        whisker = _joined([(x, down(accuracy["low"])), (x, down(accuracy["high"]))])
        lines.append(
            ChartLine(style, titled, whisker, dots=((x, down(accuracy["value"])),), label=str(numbers[row["source"]]))
        )
    ticks = [low + step / 2 for step in range(round(2 * (high - low)) + 1)]
    x_ticks = tuple(
        (round(WIDTH * (at - low) / (high - low), 1), f"{10**at:,.0f}" if at >= 1 else f"{10**at:.2g}") for at in ticks
    )
    return LineChart(tuple(lines), x_ticks, y_ticks)


def curves_of_candidates(curves: Sequence[Mapping[str, Any]]) -> LineChart | None:
    """Return the chart of the accuracy of a few candidates over labels, on a logarithmic scale; None for none."""
    if not curves:
        return None
    points = {
        f"s{place}": [(math.log2(at["labels"]), *(at["accuracy"][end] for end in ENDS)) for at in curve["labels"]]
        for place, curve in enumerate(curves, start=1)
    }
    titles = {f"s{place}": f"{curve['source']}, {curve['layer']}" for place, curve in enumerate(curves, start=1)}
    numbers = sorted({at["labels"] for curve in curves for at in curve["labels"]})
    return _accuracy_chart(points, {}, [(math.log2(labels), f"{labels:,}") for labels in numbers], titles)


def benefit_bars(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the three benefits on one axis that holds 0, as far as they were measured.

    `value`, `low` and `high` are in `unit`; the positions are percentages of the axis from the left.
    """
    measured = {name: result[name] for name in BENEFIT_UNITS if result[name]["value"] is not None}
    low = min([0.0, *(gap["low"] for gap in measured.values())])
    high = max([0.0, *(gap["high"] for gap in measured.values())])
    margin = 0.06 * (high - low or 1.0)
    low, high = low - margin, high + margin

    def place(value: float) -> float:
        return round(float(100 * (value - low) / (high - low)), 2)

    return [
        {
            "name": BENEFITS[name].removesuffix(", per epoch"),
            "unit": BENEFIT_UNITS[name],
            **{end: 100 * gap[end] for end in ("value", "low", "high")},
            "position": place(gap["value"]),
            "left": place(gap["low"]),
            "width": round(place(gap["high"]) - place(gap["low"]), 2),
            "zero": place(0.0),
            "style": "gain" if gap["low"] > 0 else "loss" if gap["high"] < 0 else "unclear",
        }
        for name, gap in measured.items()
    ]


def _accuracy_chart(
    curves: Mapping[str, Sequence[tuple[float, float, float, float]]],
    levels: Mapping[str, float],
    ticks: Sequence[tuple[float, str]],
    titles: Mapping[str, str] = ARM_TITLES,
) -> LineChart:
    """Return lines with bands, and levels, under an axis of accuracy with round ends.

    The points of a curve are position, accuracy, and the ends of its interval.
    """
    positions = [point[0] for points in curves.values() for point in points]
    values = [value for points in curves.values() for point in points for value in point[1:]] + list(levels.values())
    first, last = min(positions), max(positions)
    y_ticks, down = _accuracy_ticks(*_axis_range(min(values), max(values)))

    def across(position: float) -> float:
        return round(WIDTH * (position - first) / (last - first or 1.0), 1)

    lines = [
        ChartLine(name, titles[name], _joined([(0, down(level)), (WIDTH, down(level))]))
        for name, level in levels.items()
    ]
    for name, points in curves.items():
        dots = tuple((across(position), down(value)) for position, value, _, _ in points)
        band = [(across(position), down(top)) for position, _, _, top in points]
        band += [(across(position), down(bottom)) for position, _, bottom, _ in reversed(points)]
        lines.append(ChartLine(name, titles[name], _joined(dots), _joined(band), dots))
    return LineChart(tuple(lines), tuple((across(position), text) for position, text in ticks), y_ticks)


def _accuracy_ticks(
    low: float, high: float, step: float
) -> tuple[tuple[tuple[float, str], ...], Callable[[float], float]]:
    """Return the ticks of an axis of accuracy, and where on it an accuracy lies."""

    def down(value: float) -> float:
        return round(HEIGHT * (high - value) / (high - low), 1)

    values = [low + at * step for at in range(round((high - low) / step) + 1)]
    return tuple((down(value), f"{100 * value:.0f}") for value in values), down


def _axis_range(least: float, most: float) -> tuple[float, float, float]:
    """Return round ends of an axis that holds two accuracies, and the step of its ticks."""
    for step in TICK_STEPS:
        low = max(0.0, math.floor((least - MARGIN) / step) * step)
        high = min(1.0, math.ceil((most + MARGIN) / step) * step)
        if (high - low) / step <= MAX_TICK_STEPS:
            return low, max(high, low + step), step
    return 0.0, 1.0, TICK_STEPS[-1]


def _joined(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x},{y}" for x, y in points)
