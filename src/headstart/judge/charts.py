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
