"""What a source was worth: the verdict, the three benefits with their intervals, and every raw result behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headstart.judge.benefit.gains import (
    CARRIED,
    FROZEN,
    MAJORITY,
    SCRATCH,
    SIMPLE,
    TUNED,
    Gains,
    LabelsSaved,
    balance,
    gains_of,
    saved_by,
)
from headstart.judge.benefit.results import ArmResults, ComparisonMeta, Results, is_flat
from headstart.judge.benefit.sentence import sentence
from headstart.judge.intervals import Difference, crossed, difference, share

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BENEFIT, HARM, NONE, BASELINE = "benefit", "harm", "none", "baseline"


@dataclass(frozen=True)
class Benefit:
    """What a source was worth on some data.

    Attributes:
        verdict: `benefit`, `harm`, `none` (no difference shown), or `baseline`: no network beats the simple baseline.
        sentence: what to do, with the figures.
        about: what was compared.
        gains: the three benefits at each number of labels, the fewest first; the last one decides the verdict.
        saved: what labels it saves; None where only one number of labels has both arms.
        rising: what the last step in labels gained the best arm, where there was one.
        fields: the raw results: what each arm answered on each test example, in each seed, after each epoch.
        y: class ids of the test examples of all seeds, int64 of shape (n,).
        ids: their ids in the data set.
        failures: why an arm failed, by its name.
        notes: what its reader must be told, one sentence each.
    """

    verdict: str
    sentence: str
    about: ComparisonMeta
    gains: tuple[Gains, ...]
    saved: LabelsSaved | None
    rising: Difference | None
    fields: tuple[ArmResults, ...]
    y: NDArray[np.int64]
    ids: tuple[str, ...]
    failures: Mapping[str, str]
    notes: tuple[str, ...] = ()

    @property
    def start(self) -> Difference | None:
        """Accuracy gained before any weight of the network has learned."""
        return self.gains[-1].start

    @property
    def slope(self) -> Difference | None:
        """Accuracy gained per epoch, over the first part of training; None where the source was not tuned."""
        return self.gains[-1].slope

    @property
    def asymptote(self) -> Difference | None:
        """Accuracy gained at the end of training."""
        return self.gains[-1].asymptote

    def as_dict(self) -> dict[str, Any]:
        """Return everything but the raw results as plain values, ready for JSON."""
        return self._plain

    @cached_property
    def _plain(self) -> dict[str, Any]:
        last = self.gains[-1].as_dict()
        saved = self.saved
        return {
            "verdict": self.verdict,
            "sentence": self.sentence,
            **{name: last[name] for name in ("transfer", "against", "start", "slope", "asymptote", "reach")},
            **{name: last[name] for name in ("balanced_accuracy", "log_loss", "over_simple")},
            "labels_saved": _none_saved() if saved is None else saved.as_dict(),
            "area": dict.fromkeys(Difference._fields) if saved is None else saved.area.as_dict(),
            "rising": None if self.rising is None else self.rising.as_dict(),
            "by_labels": [one.as_dict() for one in self.gains],
            "arms": self.arms(),
        }

    def arms(self) -> dict[str, dict[str, Any]]:
        """Return what each arm reached, as plain values; one that failed says why."""
        found = {name: self._arm(name) for name in (SCRATCH, FROZEN, TUNED)}
        simple, common = self._arm(SIMPLE), self._arm(MAJORITY)
        simple |= {"name": self.about.simple, "majority": common.get("accuracy", {}).get("value")}
        return {"baseline": simple, **{name: one for name, one in found.items() if one}}

    def as_text(self) -> str:
        """Return the sentence and a table of the arms, 80 columns wide at most."""
        from headstart.judge.benefit.sentence import table

        return "\n".join([self.sentence, "", *table(self.as_dict())])

    def plot(self) -> Figure:
        """Return both learning curves with their bands, and the three benefits, as a figure of matplotlib.

        Raises:
            MissingExtra: matplotlib is not installed.
        """
        from headstart.judge.report.plots import plot

        return plot(self.as_dict())

    def _arm(self, name: str) -> dict[str, Any]:
        if name in self.failures:
            return {"error": self.failures[name]}
        with_it = [field for field in self.fields if name in field.arms]
        if not with_it:
            return {}
        last = with_it[-1]
        one = last.arms[name]
        labels = [
            {"labels_per_class": field.per_class, "labels": field.labels, "accuracy": self._share(field, name)}
            for field in with_it
        ]
        weight = balance(self.y, last.tested)
        loss = difference(one.final_loss, np.zeros_like(one.final_loss), tested=last.tested, overlap=self.about.overlap)
        return {
            "accuracy": self._share(last, name),
            "balanced_accuracy": self._share(last, name, weight),
            "log_loss": {"value": loss.value, "low": max(0.0, loss.low), "high": loss.high},
            "seconds": float(np.sum([field.arms[name].seconds[:, -1].sum() for field in with_it])),
            "seconds_a_run": float(one.seconds[:, -1].mean()),
            "epochs": int(one.epochs[-1]),
            "reached": is_flat(one, last.tested),
            "how": one.note,
            "curve": _curve(one, last.tested, self.about),
            "labels": labels,
            "error": None,
        }

    def _share(self, field: ArmResults, name: str, weight: NDArray[np.float64] | None = None) -> dict[str, float]:
        level = field.arms[name].level
        found = share(
            level if weight is None else weight * level,
            tested=field.tested,
            overlap=self.about.overlap,
            seed=self.about.seed,
        )
        return {"value": found.value, "low": found.low, "high": found.high}


def benefit_of(
    fields: Sequence[ArmResults],
    y: NDArray[np.int64],
    about: ComparisonMeta,
    *,
    ids: Sequence[str] = (),
    failures: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
) -> Benefit:
    """Return what a source was worth, given what every arm answered.

    Args:
        fields: by number of labels, the fewest first; each with an arm that carries the source over.
        y: class ids of the test examples of all seeds, of shape (n,).
        about: what was compared.
        ids: of those examples.
        failures: why an arm failed, by its name.
        notes: what is to be told beside.
    """
    gains = tuple(gains_of(field, y, overlap=about.overlap, seed=about.seed) for field in fields)
    saved = saved_by(fields, gains[-1].carried, overlap=about.overlap, seed=about.seed)
    rising = rise(fields, overlap=about.overlap, seed=about.seed)
    verdict = decided(gains[-1])
    said = sentence(verdict, gains[-1], fields[-1], about, saved=saved, rising=rising)
    return Benefit(
        verdict, said, about, gains, saved, rising, tuple(fields), y, tuple(ids), failures or {}, tuple(notes)
    )


def decided(gains: Gains) -> str:
    """Return the verdict: where it ends decides, and where that shows nothing, where it starts.

    A network that is not shown to beat the simple baseline is worth nothing, whatever it gains on another one.
    """
    if gains.over_simple and not any(one.sign > 0 for one in gains.over_simple.values()):
        return BASELINE
    signs = [gains.asymptote.sign if gains.asymptote else 0, gains.start.sign if gains.start else 0]
    decisive = next((sign for sign in signs if sign), 0)
    return {1: BENEFIT, -1: HARM, 0: NONE}[decisive]


def rise(fields: Sequence[ArmResults], *, overlap: float, seed: int) -> Difference | None:
    """Return what the last step in labels gained the arm that ends highest; None where there was no step."""
    if len(fields) < 2:
        return None
    seeds = min(len(field.tested) for field in fields[-2:])
    before, last = (field.first(seeds) for field in fields[-2:])
    both = [name for name in (*CARRIED, SCRATCH) if name in before.arms and name in last.arms]
    best = max(both, key=lambda name: float(last.arms[name].level.sum()))
    return difference(
        last.arms[best].level,
        before.arms[best].level,
        tested=last.tested,
        range_of=1.0,
        overlap=overlap,
        seed=seed,
    )


def _curve(one: Results, tested: NDArray[np.bool_], about: ComparisonMeta) -> list[dict[str, float]]:
    """Return each point of a curve, with the band of its accuracy."""
    if len(one.epochs) < 2:
        return []
    loss = one.loss.sum(axis=(0, 2), dtype=np.float64) / tested.sum()
    seconds = one.seconds.mean(axis=0)
    bands = crossed(
        [one.right],
        lambda means: means[0],
        tested=tested,
        imagined=((1.0,), (0.0,)),
        overlap=about.overlap,
        seed=about.seed,
    )
    return [
        {
            "epoch": int(epoch),
            "accuracy": band.value,
            "low": max(0.0, band.low),
            "high": min(1.0, band.high),
            "log_loss": float(lost),
            "seconds": float(took),
        }
        for epoch, band, lost, took in zip(one.epochs, bands, loss, seconds, strict=True)
    ]


def _none_saved() -> dict[str, Any]:
    return {**dict.fromkeys(Difference._fields), "enough": None, "at_least": False}
