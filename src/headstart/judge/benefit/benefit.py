"""The transfer benefit of a source: the verdict, three benefits with their intervals, and every result behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.errors import one_line
from headstart.judge.benefit.gains import (
    FROZEN,
    MAJORITY,
    SCRATCH,
    SIMPLE,
    TRANSFER_ARMS,
    TUNED,
    Gains,
    LabelsSaved,
    balance_weights,
    compute_gains,
    compute_labels_saved,
)
from headstart.judge.benefit.results import ArmResults, ComparisonMeta, LearningCurve, is_flat
from headstart.judge.benefit.sentence import sentence, table
from headstart.judge.crossed import Estimate, difference, proportion, proportions
from headstart.judge.metrics import BENEFITS
from headstart.judge.related import without_related

BENEFIT, HARM, NONE, BASELINE, UNANSWERED = "benefit", "harm", "none", "baseline", "unanswered"


@dataclass(frozen=True, repr=False)
class Benefit:
    """The transfer benefit of a source on some data.

    Attributes:
        verdict: `benefit`, `harm`, `none` (no difference shown), `baseline` (no network beats the simple baseline),
            or `unanswered` (scratch was not trained).
        gains: the three benefits at each number of labels, the fewest first; the last one decides the verdict.
        saved: how many labels it saves; None where only one number of labels has both arms.
        last_step: what the last step in labels gained the best arm, where there was one.
        results: the raw results of each arm on each test example, in each seed, after each epoch, by number of labels.
        y: class ids of the test examples of all seeds, int64 of shape (n,).
    """

    verdict: str
    sentence: str
    meta: ComparisonMeta
    gains: tuple[Gains, ...]
    saved: LabelsSaved | None
    last_step: Estimate | None
    results: tuple[ArmResults, ...]
    y: NDArray[np.int64]
    ids: tuple[str, ...]
    failures: Mapping[str, str]
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Return the verdict and its sentence on one line."""
        return f"Benefit({self.verdict}: {one_line(self.sentence)})"

    def _repr_html_(self) -> str:
        """Return the head of the report, for a notebook: the sentence, and the benefits with their intervals."""
        from headstart.judge.report.notebook import head_of_report, points

        plain = self.as_dict()
        shown = ((title.capitalize(), points(plain[name])) for name, title in BENEFITS.items())
        return head_of_report(
            f"Transfer benefit · {self.verdict}", self.sentence, [(title, *figure) for title, figure in shown if figure]
        )

    @property
    def start(self) -> Estimate | None:
        """Accuracy gained before any weight of the network has learned."""
        return self.gains[-1].start

    @property
    def slope(self) -> Estimate | None:
        """Accuracy gained per epoch, over the first part of training; None where the source was not tuned."""
        return self.gains[-1].slope

    @property
    def asymptote(self) -> Estimate | None:
        """Accuracy gained at the end of training."""
        return self.gains[-1].asymptote

    def as_dict(self) -> dict[str, Any]:
        """Return everything but the raw results as plain values, ready for JSON."""
        return self._plain

    @cached_property
    def _plain(self) -> dict[str, Any]:
        last, saved, missing = self.gains[-1].as_dict(), self.saved, dict.fromkeys(Estimate._fields)
        return {
            "verdict": self.verdict,
            "sentence": self.sentence,
            **{name: last[name] for name in ("transfer", "against", "start", "slope", "asymptote", "reach")},
            **{name: last[name] for name in ("balanced_accuracy", "log_loss", "over_simple")},
            "labels_saved": {**missing, "enough": None, "at_least": False} if saved is None else saved.as_dict(),
            "area": missing if saved is None else saved.area.as_dict(),
            "rising": None if self.last_step is None else self.last_step.as_dict(),
            "by_labels": [gains.as_dict() for gains in self.gains],
            "arms": self.arms(),
        }

    def as_text(self) -> str:
        """Return the sentence and a table of the arms, 80 columns wide at most."""
        return "\n".join([self.sentence, "", *table(self.as_dict())])

    def as_svg(self) -> str:
        """Return both learning curves with their bands and the three benefits as the text of one SVG file."""
        from headstart.judge.report.comparison_page import render_svg

        return render_svg(self.as_dict())

    def arms(self) -> dict[str, dict[str, Any]]:
        """Return what each arm reached, as plain values; one that failed says why."""
        networks = {name: self._arm(name) for name in (SCRATCH, FROZEN, TUNED)}
        simple, majority = self._arm(SIMPLE), self._arm(MAJORITY)
        simple |= {"name": self.meta.simple, "majority": majority.get("accuracy", {}).get("value")}
        return {"baseline": simple, **{name: arm for name, arm in networks.items() if arm}}

    def _arm(self, name: str) -> dict[str, Any]:
        if name in self.failures:
            return {"error": self.failures[name]}
        results = [one for one in self.results if name in one.arms]
        if not results:
            return {}
        last, overlap = results[-1], self.meta.overlap
        curve, tested = last.arms[name], last.tested
        labels = [
            {"labels_per_class": one.per_class, "labels": one.labels, "accuracy": self._accuracy(one, name)}
            for one in results
        ]
        zeros = np.zeros_like(curve.final_loss)
        loss = difference(curve.final_loss, zeros, tested=tested, clusters=last.clusters, overlap=overlap)
        return {
            "accuracy": self._accuracy(last, name),
            "accuracy_without_relatives": _accuracy_without(last, name, self.meta),
            "balanced_accuracy": self._accuracy(last, name, balance_weights(self.y, tested)),
            "log_loss": loss.clipped(0.0).interval.as_dict(),
            "seconds": float(np.sum([one.arms[name].seconds[:, -1].sum() for one in results])),
            "seconds_a_run": float(curve.seconds[:, -1].mean()),
            "epochs": int(curve.epochs[-1]),
            "reached": is_flat(curve, tested),
            "how": curve.note,
            "curve": _curve_points(curve, last, self.meta),
            "labels": labels,
            "error": None,
        }

    def _accuracy(self, results: ArmResults, name: str, weight: NDArray[np.float64] | float = 1.0) -> dict[str, float]:
        return _accuracy(results, weight * results.arms[name].final_right, results.tested, self.meta)


def compute_benefit(
    results: Sequence[ArmResults],
    y: NDArray[np.int64],
    meta: ComparisonMeta,
    *,
    ids: Sequence[str] = (),
    failures: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
) -> Benefit:
    """Return the transfer benefit of a source, from the results of every arm by number of labels, the fewest first.

    `y` are the class ids of the test examples of all seeds, `ids` their ids in the data set.
    """
    gains = tuple(compute_gains(one, y, overlap=meta.overlap, seed=meta.seed) for one in results)
    saved = compute_labels_saved(results, gains[-1].transfer, overlap=meta.overlap, seed=meta.seed)
    last_step = last_step_gain(results, overlap=meta.overlap, seed=meta.seed)
    withheld = _withheld(results[-1], gains[-1].transfer, meta)
    verdict = NONE if withheld else decide_verdict(gains[-1])
    text = withheld or sentence(verdict, gains[-1], results[-1], meta, saved=saved, last_step=last_step)
    return Benefit(
        verdict, text, meta, gains, saved, last_step, tuple(results), y, tuple(ids), failures or {}, tuple(notes)
    )


def decide_verdict(gains: Gains) -> str:
    """Return the verdict: the asymptote decides, and where that shows nothing, the start.

    A network that is not shown to beat the simple baseline is worth nothing, whatever it gains on another one. Without
    scratch there is no verdict on the source.
    """
    if gains.over_simple and not any(gap.sign > 0 for gap in gains.over_simple.values()):
        return BASELINE
    if gains.control == SIMPLE:
        return UNANSWERED
    signs = [gap.sign for gap in (gains.asymptote, gains.start) if gap is not None]
    decisive = next((sign for sign in signs if sign), 0)
    return {1: BENEFIT, -1: HARM, 0: NONE}[decisive]


def last_step_gain(results: Sequence[ArmResults], *, overlap: float, seed: int) -> Estimate | None:
    """Return what the last step in labels gained the arm that ends highest; None where there was no step."""
    if len(results) < 2:
        return None
    seeds = min(len(one.tested) for one in results[-2:])
    before, last = (one.first_seeds(seeds) for one in results[-2:])
    both = [name for name in (*TRANSFER_ARMS, SCRATCH) if name in before.arms and name in last.arms]
    best = max(both, key=lambda name: float(last.arms[name].final_right.sum()))
    return difference(
        last.arms[best].final_right,
        before.arms[best].final_right,
        tested=last.tested,
        clusters=last.clusters,
        max_difference=1.0,
        overlap=overlap,
        seed=seed,
    )


def _accuracy(
    results: ArmResults, right: NDArray[np.float64], tested: NDArray[np.bool_], meta: ComparisonMeta
) -> dict[str, float]:
    estimate = proportion(right, tested=tested, clusters=results.clusters, overlap=meta.overlap, seed=meta.seed)
    return estimate.interval.as_dict()


def _accuracy_without(results: ArmResults, name: str, meta: ComparisonMeta) -> dict[str, float] | None:
    """Return an arm's accuracy without test examples that have a copy in the train part; None if all or none have."""
    if results.related is None or not results.related.any() or not (tested := results.tested & ~results.related).any():
        return None
    return _accuracy(results, results.arms[name].final_right, tested, meta)


def _withheld(results: ArmResults, name: str, meta: ComparisonMeta) -> str | None:
    """Return why nothing is claimed of an arm whose accuracy rests on copies of training examples; else None."""
    if results.related is None or not results.related.any():
        return None
    accuracy = _accuracy(results, results.arms[name].final_right, results.tested, meta)
    count, without = int(results.related.any(axis=0).sum()), _accuracy_without(results, name, meta)
    text, believable = without_related(accuracy, {"test": count, "accuracy_without": without})
    interval = f"{100 * accuracy['value']:.1f} % [{100 * accuracy['low']:.1f}, {100 * accuracy['high']:.1f}]"
    return None if believable else f"Nothing is claimed of this source: its accuracy is {interval}{text}."


def _curve_points(curve: LearningCurve, results: ArmResults, meta: ComparisonMeta) -> list[dict[str, float]]:
    """Return each point of a curve, with the band of its accuracy."""
    if len(curve.epochs) < 2:
        return []
    tested = results.tested
    losses = curve.loss.sum(axis=(0, 2), dtype=np.float64) / tested.sum()
    bands = proportions(curve.right, tested=tested, clusters=results.clusters, overlap=meta.overlap, seed=meta.seed)
    return [
        {
            "epoch": int(epoch),
            "accuracy": band.value,
            "low": band.low,
            "high": band.high,
            "log_loss": float(loss),
            "seconds": float(seconds),
        }
        for epoch, band, loss, seconds in zip(curve.epochs, bands, losses, curve.seconds.mean(axis=0), strict=True)
    ]
