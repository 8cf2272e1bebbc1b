"""What came of tuning, and how it is said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.heads.linear import LinearHead
from headstart.judge.intervals import Interval
from headstart.sources.base import Source
from headstart.tune.evaluation import EvaluatedTrial, gain, joined
from headstart.tune.training.task import EpochResult


@dataclass(frozen=True)
class TriedConfig:
    """One way of tuning, and what came of it on the examples that judge.

    Attributes:
        name: of the way.
        log_loss: in nats, after calibration.
        accuracy: 0..1.
        gain: of log loss against the frozen source, with its paired interval; above 0 is better.
        alpha: how far from start to end the weights stand (WiSE-FT).
        settled: whether the head was fitted anew on what the body says there.
        why: why its last run ended.
        history: its epochs, over all its runs.
        images_per_second: learned from.
        kept: whether its epochs ran from kept activations.
    """

    name: str
    log_loss: float
    accuracy: float
    gain: Interval
    alpha: float
    settled: bool
    why: str
    history: tuple[EpochResult, ...]
    images_per_second: float
    kept: bool


@dataclass(frozen=True)
class Confirmed:
    """What examples say of the best way that had no say in its choice.

    Attributes:
        parts: sets of training examples that were held out in turn.
        examples: in all of them.
        frozen: log loss in nats and accuracy, 0..1, of the frozen source on them.
        tuned: the same of the best way, learned each time from all the others.
        gain: of log loss, with its paired interval; above 0 is better.
    """

    parts: int
    examples: int
    frozen: tuple[float, float]
    tuned: tuple[float, float]
    gain: Interval

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values, ready for JSON."""
        measured = {
            name: {"log_loss": one[0], "accuracy": one[1]}
            for name, one in (("frozen", self.frozen), ("tuned", self.tuned))
        }
        return {"parts": self.parts, "examples": self.examples, **measured, "gain": self.gain.as_dict()}


@dataclass(frozen=True)
class Tuning:
    """What came of tuning.

    Attributes:
        source: the tuned source; None unless it is better than the frozen one beyond the interval.
        head: its head; None without it.
        layer: where the head takes its features; empty without it.
        way: the name of the best way; empty where nothing could be tried.
        frozen: log loss and accuracy of the frozen source on the examples that judge.
        tried: every way that was tried, best first.
        confirmed: what further examples say of the best way; None where none were asked.
        notes: what its user must be told, one sentence each.
        device: where it computed.
        said: class probabilities of the examples that judge, float32 of shape (m, c), by the model as it was judged;
            None without a tuned source.
    """

    source: Source | None
    head: LinearHead | None
    layer: str
    way: str
    frozen: tuple[float, float]
    tried: tuple[TriedConfig, ...]
    confirmed: Confirmed | None
    notes: tuple[str, ...]
    device: str
    said: NDArray[np.float32] | None = None

    @property
    def kept(self) -> bool:
        """Whether the tuned source is the answer."""
        return self.source is not None

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values, ready for JSON."""
        return {
            "kept": self.kept,
            "way": self.way,
            "frozen": {"log_loss": self.frozen[0], "accuracy": self.frozen[1]},
            "device": self.device,
            "confirmed": None if self.confirmed is None else self.confirmed.as_dict(),
            "tried": [
                {**asdict(one), "gain": one.gain.as_dict(), "history": [epoch.as_dict() for epoch in one.history]}
                for one in self.tried
            ],
        }


def ending(one: TriedConfig) -> str:
    """Return what must be said of a way whose last run had to end early."""
    if one.why == "short":
        return f"{one.name}: the budget is too short for one epoch; the frozen source stands."
    return (
        f"{one.name}: the loss exploded or was not finite, and the last good weights stand;"
        " give a smaller --learning-rate."
    )


def confirmation(frozen: Sequence[EvaluatedTrial], tuned: Sequence[EvaluatedTrial], *, seed: int) -> Confirmed:
    """Return what several parts say together of the frozen source and of the best way."""
    before, after = joined(frozen), joined(tuned)
    return Confirmed(
        len(frozen),
        len(before.right),
        (before.log_loss, before.accuracy),
        (after.log_loss, after.accuracy),
        gain(before, after, seed=seed),
    )


def not_kept(tried: Sequence[TriedConfig], confirmed: Confirmed | None, *, picked: bool) -> str:
    """Return why the frozen source stands; `picked` where the best of several ways needs a second look."""
    if not tried:
        return "Nothing could be tuned within the budget: the model is the frozen one."
    best = tried[0]
    gained = best.gain if confirmed is None else confirmed.gain
    where = "" if confirmed is None else f" on {confirmed.examples:,} examples that had no say in the search"
    why = "no gain beyond the interval"
    if gained.low > 0:
        due = picked and confirmed is None
        why = "and there was no time for a second look (give a larger --budget)" if due else "but names fewer right"
    return (
        f"Tuning was not kept: {best.name} changed the validation log loss by {-gained.value:+.3f} "
        f"[{-gained.high:+.3f}, {-gained.low:+.3f}]{where}, {why}; the model is the frozen one."
    )


def learned_again(way: str, examples: int | None) -> str:
    """Return what the final model has learned from: `examples`, or None where it is the one that was judged."""
    if examples is None:
        return f"{way}: the budget had no time to learn again from all examples; the model is the one that was judged."
    return f"{way}: judged on examples held out, then learned again from all {examples:,} training examples."
