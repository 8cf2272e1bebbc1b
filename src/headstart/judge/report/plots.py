"""A comparison as a figure of matplotlib, which is imported when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headstart.base.errors import missing_extra
from headstart.judge.report.bands import TITLES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {"tuned": "#12706a", "frozen": "#d09a3c", "scratch": "#b8472a", "simple": "#9a9ea3"}


def plot(said: dict[str, Any]) -> Figure:
    """Return accuracy over epochs, accuracy over labels, and the three benefits, side by side.

    Args:
        said: a comparison in plain values, as `Benefit.as_dict` returns it.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        raise missing_extra("plot", "matplotlib", extra="plot") from error
    figure: Any = Figure(figsize=(13, 4), layout="constrained")
    epochs, labels, benefits = figure.subplots(1, 3)
    _over_epochs(epochs, said["arms"])
    _over_labels(labels, said["arms"])
    _benefits(benefits, said)
    return figure  # type: ignore[no-any-return]


def _over_epochs(axes: Axes, arms: dict[str, Any]) -> None:
    for key, arm in arms.items():
        name = "simple" if key == "baseline" else key
        curve = arm.get("curve")
        if curve:
            x, y, low, high = ([one[part] for one in curve] for part in ("epoch", "accuracy", "low", "high"))
            axes.plot(x, y, color=COLOURS[name], label=TITLES[name])
            axes.fill_between(x, low, high, color=COLOURS[name], alpha=0.16, linewidth=0)
        elif "accuracy" in arm:
            axes.axhline(arm["accuracy"]["value"], color=COLOURS[name], linestyle="--", label=TITLES[name])
    axes.set(xscale="symlog", xlim=(0, None), xlabel="epoch", ylabel="accuracy")
    axes.legend()


def _over_labels(axes: Axes, arms: dict[str, Any]) -> None:
    for key, arm in arms.items():
        name = "simple" if key == "baseline" else key
        points = arm.get("labels", [])
        x, y, low, high = (
            [one["labels"] for one in points],
            *([one["accuracy"][part] for one in points] for part in ("value", "low", "high")),
        )
        axes.plot(x, y, color=COLOURS[name], marker="o", label=TITLES[name])
        axes.fill_between(x, low, high, color=COLOURS[name], alpha=0.16, linewidth=0)
    marks = sorted({one["labels"] for arm in arms.values() for one in arm.get("labels", [])})
    axes.set(xscale="log", xlabel="labels", ylabel="accuracy")
    axes.minorticks_off()
    axes.set_xticks(marks, [f"{mark:,.0f}" for mark in marks])


def _benefits(axes: Axes, said: dict[str, Any]) -> None:
    known = [name for name in ("asymptote", "slope", "start") if said[name]["value"] is not None]
    for at, name in enumerate(known):
        value, low, high = (100 * said[name][part] for part in ("value", "low", "high"))
        axes.errorbar(value, at, xerr=[[value - low], [high - value]], fmt="o", color=COLOURS["tuned"], capsize=4)
    axes.axvline(0, color="#5d6166", linestyle=":")
    axes.set(yticks=range(len(known)), yticklabels=known, xlabel="points of accuracy (slope: per epoch)")
