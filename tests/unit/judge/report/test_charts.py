"""What the charts draw lies where the numbers say."""

from __future__ import annotations

import re

import numpy as np
import pytest

from headstart.judge.metrics import CalibrationBin
from headstart.judge.report import charts


def test_heat_map_holds_every_cell_once_and_says_what_the_largest_count() -> None:
    counts = np.array([[9, 1, 0], [0, 10, 0], [2, 0, 2]])
    drawn = charts.heat_map(counts, ["ant", "bee", "a class of a long name"])
    cells = [cell for path, _ in (*drawn["correct"], *drawn["wrong"]) for cell in re.findall(r"M(\d+) (\d+)", path)]
    assert sorted((int(y), int(x)) for x, y in cells) == [tuple(at) for at in np.argwhere(counts > 0)]
    assert max(opacity for _, opacity in drawn["correct"]) == 1
    assert drawn["cells"][-1] == (0, 1, "1 of class ant predicted as bee (10.0 %)")
    assert sorted((row, column) for row, column, _ in drawn["cells"]) == [tuple(at) for at in np.argwhere(counts > 0)]
    assert [name for _, name in drawn["labels"]] == ["ant", "bee", "a class of a …"]
    many = charts.heat_map(np.eye(1000, dtype=np.int64), [str(at) for at in range(1000)])
    assert len(many["labels"]) <= charts.MAX_AXIS_NAMES and many["width"] == charts.MAX_HEAT_PIXELS


def test_reliability_places_the_bins() -> None:
    (dot,) = charts.reliability_diagram([CalibrationBin(0.75, 0.5, 10), CalibrationBin(0.1, 0.1, 0)])
    assert (dot["x"], dot["y"]) == (180, 120)
    assert dot["high"] < dot["y"] < dot["low"]


def coordinates(points: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in (point.split(",") for point in points.split())]


def test_losses_fall_from_left_to_right_and_the_dot_is_the_best_epoch() -> None:
    chart = charts.loss_chart({"a": [2.0, 1.0, 0.5, 0.6], "b": [2.0, None, 1.5], "c": [None, None]}, ("frozen", 1.0))
    assert chart is not None
    level, first, second = chart.lines
    assert [line.style for line in chart.lines] == ["level", "s1", "s2"]
    assert {y for _, y in coordinates(level.points)} == {coordinates(first.points)[1][1]}
    assert [x for x, _ in coordinates(first.points)] == [0, 140, 280, 420]
    assert [x for x, _ in coordinates(second.points)] == [0, 280], "what is not finite is left out"
    assert first.dots == (coordinates(first.points)[2],)
    assert [text for _, text in chart.x_ticks] == ["0", "3"]
    assert charts.loss_chart({"c": [None, 1.0]}, ("frozen", 1.0)) is None
    named = charts.loss_chart({"a": [2.0, 1.0]}, ("frozen", 1.0), method="scratch", beside="frozen")
    assert named is not None and [line.style for line in named.lines] == ["level frozen", "scratch"]


def test_a_spike_of_the_loss_does_not_flatten_the_rest() -> None:
    chart = charts.loss_chart({"a": [1.0, 1e6, 0.5]}, ("frozen", 1.0))
    assert chart is not None and float(chart.y_ticks[-1][1]) == pytest.approx(2.1)
    assert coordinates(chart.lines[1].points)[1][1] < 10, "it is cut at the upper rim"


def test_accuracy_has_round_ticks_and_bands_around_the_points() -> None:
    curve = [{"epoch": e, "accuracy": a, "low": a - 0.1, "high": a + 0.1} for e, a in ((0, 0.4), (1, 0.6), (4, 0.7))]
    arms = {
        "baseline": {"accuracy": {"value": 0.5}, "curve": [], "epochs": 0},
        "scratch": {"accuracy": {"value": 0.7}, "curve": curve, "epochs": 4},
        "tuned": {"error": "out of memory"},
    }
    chart = charts.accuracy_over_epochs(arms)
    assert chart is not None
    level, scratch = chart.lines
    assert (level.style, level.band, scratch.style) == ("baseline", "", "scratch")
    assert [text for _, text in chart.y_ticks] == ["20", "40", "60", "80", "100"]
    assert [text for _, text in chart.x_ticks] == ["0", "1", "2", "4"]
    rim = coordinates(scratch.band)
    for (x, y), top, bottom in zip(scratch.dots, rim[:3], reversed(rim[3:]), strict=True):
        assert x == top[0] == bottom[0]
        assert top[1] < y < bottom[1]
    assert charts.accuracy_over_labels(arms) is None


def test_benefits_share_an_axis_that_holds_zero() -> None:
    missing = {"value": None, "low": None, "high": None}
    start = {"value": 0.2, "low": 0.1, "high": 0.3}
    bars = charts.benefit_bars(
        {"start": start, "slope": missing, "asymptote": {"value": 0.0, "low": -0.1, "high": 0.1}}
    )
    assert [(bar["name"], bar["style"]) for bar in bars] == [
        ("initial accuracy (jumpstart)", "gain"),
        ("final accuracy (asymptote)", "unclear"),
    ]
    assert bars[0]["zero"] == bars[1]["zero"] == bars[1]["position"]
    assert bars[0]["left"] > bars[0]["zero"] and 0 < bars[1]["left"] < bars[1]["zero"]
