"""Geometry of the report's charts: numbers only, so that nothing a user names is ever written into a drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from headstart.judge.intervals import wilson

SIDE = 240  # of the reliability diagram, in SVG units
STRIP = 44  # height of the histogram below it
SHADES = 6
WIDE, HIGH = 420, 200  # of the learning curves, in SVG units


class Binned(Protocol):
    """Examples of similar stated certainty."""

    @property
    def confidence(self) -> float:
        """Mean probability of the predicted class, 0..1."""

    @property
    def accuracy(self) -> float:
        """Share named right, 0..1."""

    @property
    def count(self) -> int:
        """How many."""


@dataclass(frozen=True)
class Dot:
    """One bin in the reliability diagram, in SVG units from the upper left; `height` is of its histogram bar."""

    x: float
    y: float
    low: float
    high: float
    radius: float
    height: float
    confidence: float
    accuracy: float
    count: int


@dataclass(frozen=True)
class Shade:
    """The cells of a heat map whose share lies in one range: an SVG path, and how dark it is, 0..1."""

    path: str
    strength: float


@dataclass(frozen=True)
class HeatMap:
    """A square of `side` x `side` cells of one unit each; the diagonal and the rest apart."""

    side: int
    right: tuple[Shade, ...]
    wrong: tuple[Shade, ...]


def reliability(bins: Sequence[Binned]) -> list[Dot]:
    """Return where each bin lies in the reliability diagram (DeGroot and Fienberg 1983)."""
    most = max((one.count for one in bins), default=1)
    dots = []
    for one in bins:
        if one.count:
            _, low, high = wilson(one.accuracy * one.count, one.count)
            share = one.count / most
            dots.append(
                Dot(
                    x=round(SIDE * one.confidence, 1),
                    y=round(SIDE * (1 - one.accuracy), 1),
                    low=round(SIDE * (1 - low), 1),
                    high=round(SIDE * (1 - high), 1),
                    radius=round(2.5 + 5.5 * share**0.5, 1),
                    height=round(max(1.5, STRIP * share), 1),
                    confidence=one.confidence,
                    accuracy=one.accuracy,
                    count=one.count,
                )
            )
    return dots


def heat_map(shares: NDArray[np.float64]) -> HeatMap:
    """Return the cells above zero as few paths: float64 of shape (c, c), rows summing to 1 or 0, in 0..1."""
    diagonal = np.eye(len(shares), dtype=bool)
    return HeatMap(len(shares), _shades(shares * diagonal), _shades(shares * ~diagonal))


@dataclass(frozen=True)
class Curve:
    """One line of a chart: its points as SVG writes them, and where the best one lies."""

    points: str
    best_x: float
    best_y: float


@dataclass(frozen=True)
class Curves:
    """Log losses over epochs, in SVG units from the upper left of a frame of WIDE x HIGH.

    Attributes:
        lines: one a way of tuning, in the order given; one without two finite points is left out.
        frozen: height of the line of the frozen source.
        most: the log loss at the upper rim.
        last: the last epoch.
    """

    lines: tuple[tuple[int, Curve], ...]
    frozen: float
    most: float
    last: int


def learning_curves(losses: Sequence[Sequence[float | None]], frozen: float) -> Curves | None:
    """Return the chart of some ways' validation log losses, epoch by epoch; None where there is nothing to draw.

    Args:
        losses: of each way, its log loss after each epoch, in nats; None where it was not finite.
        frozen: the log loss of the frozen source.
    """
    finite = [[(at, loss) for at, loss in enumerate(one) if loss is not None] for one in losses]
    drawn = [(at, one) for at, one in enumerate(finite) if len(one) > 1]
    if not drawn:
        return None
    last = max(one[-1][0] for _, one in drawn)
    # A spike would flatten everything else: the chart ends at twice what it starts from.
    most = min(max(loss for _, one in drawn for _, loss in one), 2 * max(frozen, *(one[0][1] for _, one in drawn)))
    most = 1.05 * max(most, frozen)

    def place(epoch: int, loss: float) -> tuple[float, float]:
        return round(WIDE * epoch / last, 1), round(HIGH * (1 - min(loss, most) / most), 1)

    lines = []
    for at, one in drawn:
        best = place(*min(one, key=lambda point: point[1]))
        lines.append((at, Curve(" ".join(f"{x},{y}" for x, y in (place(*point) for point in one)), *best)))
    return Curves(tuple(lines), place(0, frozen)[1], most, last)


def _shades(shares: NDArray[np.float64]) -> tuple[Shade, ...]:
    # the square root spreads small shares, which are most of a confusion matrix
    levels = np.ceil(np.sqrt(shares) * SHADES).astype(int)
    shades = []
    for level in range(1, SHADES + 1):
        cells = np.argwhere(levels == level)
        if len(cells):
            path = "".join(f"M{column} {row}h1v1h-1z" for row, column in cells.tolist())
            shades.append(Shade(path, level / SHADES))
    return tuple(shades)
