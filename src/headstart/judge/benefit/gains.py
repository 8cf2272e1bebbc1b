"""The three transfer benefits over training from scratch (start, slope, asymptote), and the labels that they save."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.judge.benefit.results import ArmResults, LearningCurve, accuracies, example_slopes, is_flat, slope_epochs
from headstart.judge.crossed import Estimate, crossed_bootstrap, difference

MAJORITY, SIMPLE, SCRATCH, START, FROZEN, TUNED = "majority", "simple", "scratch", "start", "frozen", "tuned"
"""The arms; `start` is the frozen source with a head in closed form, the others are what their names say."""
TRANSFER_ARMS = (FROZEN, TUNED)  # the arms that use the pretrained source; of two as accurate, the first stands for it
NETWORKS = (SCRATCH, FROZEN, TUNED)


@dataclass(frozen=True)
class TimeToThreshold:
    """When the source reaches the level at which scratch ends (Taylor & Stone 2009)."""

    # the first measured one at which its accuracy is as high; 0 for before any training; None for never
    epoch: int | None
    seconds: float | None  # until then, features and head included; None for never
    scratch_epochs: int  # of scratch, to its end
    scratch_seconds: float


@dataclass(frozen=True)
class Gains:
    """What the source gains at one number of labels; None where an arm for it is missing."""

    per_class: int | None  # labels of each class; None for all
    labels: float
    transfer: str  # the arm that stands for the source: the tuned or the frozen one, whichever ends higher
    control: str  # the arm that it is compared with: `scratch`, or `simple` where scratch could not be run
    start: Estimate | None  # difference of accuracy before any training of the network, both with a head in closed form
    slope: Estimate | None  # difference of accuracy gained per epoch up to epoch `slope_epochs`
    slope_epochs: int  # up to which epoch slopes are taken; 0 where an arm has no epochs
    asymptote: Estimate | None
    reached: bool  # whether both curves are flat there; where not, each level is a lower bound
    balanced: tuple[Estimate | None, Estimate | None]
    loss: tuple[Estimate | None, Estimate | None]  # start and asymptote of log loss, in nats; below 0 is better
    threshold: TimeToThreshold | None
    over_simple: dict[str, Estimate]  # final accuracy of each network minus that of the simple baseline
    asymptotes: dict[str, Estimate]

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain values, ready for JSON."""
        ends = ("start", "asymptote")
        return {
            "labels_per_class": self.per_class,
            "labels": self.labels,
            "transfer": self.transfer,
            "against": self.control,
            "start": _plain(self.start),
            "slope": {**_plain(self.slope), "epochs": self.slope_epochs},
            "asymptote": {**_plain(self.asymptote), "reached": self.reached},
            "balanced_accuracy": {end: _plain(gap) for end, gap in zip(ends, self.balanced, strict=True)},
            "log_loss": {end: _plain(gap) for end, gap in zip(ends, self.loss, strict=True)},
            "reach": None if self.threshold is None else asdict(self.threshold),
            "over_simple": {name: gap.as_dict() for name, gap in self.over_simple.items()},
        }


@dataclass(frozen=True)
class LabelsSaved:
    """How many labels the source saves."""

    count: Estimate  # all labels that scratch had, minus those with which the source is as accurate
    needed: float | None  # with how many labels it is as accurate; None where it never is
    at_least: bool  # whether it is as accurate with the fewest labels that were tried: then it may save more
    area: Estimate  # mean gain in accuracy over the numbers of labels, on a scale of their logarithm

    def as_dict(self) -> dict[str, Any]:
        """Return everything but the area as plain values, ready for JSON."""
        return {**self.count.as_dict(), "enough": self.needed, "at_least": self.at_least}


def _plain(gap: Estimate | None) -> dict[str, float | None]:
    """Return a difference ready for JSON; one that could not be measured has no numbers."""
    return dict.fromkeys(Estimate._fields) if gap is None else dict(gap.as_dict())


def compute_gains(results: ArmResults, y: NDArray[np.int64], *, overlap: float, seed: int) -> Gains:
    """Return what the source gains at one number of labels; at least one arm uses it.

    Start and asymptotes, which decide the verdict, hold together 95 times in 100, and so do the differences from the
    simple baseline; every other interval holds by itself. `overlap` is the number of test examples of a split over that
    of its training examples, where splits overlap; else 0.
    """
    arms, tested = results.arms, results.tested
    control = SCRATCH if SCRATCH in arms else SIMPLE
    networks = [name for name in NETWORKS if name in arms]
    compare = partial(difference, tested=tested, clusters=results.clusters, overlap=overlap, seed=seed)
    final = {name: curve.final_right for name, curve in arms.items()}
    has_start = control == SCRATCH and START in arms
    simultaneous = has_start + sum(name in arms for name in TRANSFER_ARMS)
    asymptotes = {
        name: compare(final[name], final[control], max_difference=1.0, simultaneous=simultaneous)
        for name in TRANSFER_ARMS
        if name in arms
    }
    transfer = max(asymptotes, key=lambda name: asymptotes[name].value)
    ours, theirs = arms[transfer], arms[control]
    weight = balance_weights(y, tested)
    until = slope_epochs(ours, theirs)
    start, balanced_start, start_loss = _starts(arms, weight, compare, simultaneous) if has_start else (None,) * 3
    return Gains(
        per_class=results.per_class,
        labels=results.labels,
        transfer=transfer,
        control=control,
        start=start,
        slope=compare(example_slopes(ours, until), example_slopes(theirs, until), max_difference=1 / until)
        if until
        else None,
        slope_epochs=until,
        asymptote=asymptotes[transfer],
        reached=is_flat(ours, tested) and is_flat(theirs, tested),
        balanced=(balanced_start, compare(weight * final[transfer], weight * final[control], max_difference=1.0)),
        loss=(start_loss, compare(ours.final_loss, theirs.final_loss)),
        threshold=time_to_threshold(ours, theirs, tested) if control == SCRATCH else None,
        over_simple={
            name: compare(final[name], final[SIMPLE], max_difference=1.0, simultaneous=len(networks))
            for name in networks
            if SIMPLE in arms
        },
        asymptotes=asymptotes,
    )


def _starts(
    arms: Any, weight: NDArray[np.float64], compare: Callable[..., Estimate], simultaneous: int
) -> tuple[Estimate, Estimate, Estimate]:
    """Return the differences before any training: of accuracy, balanced accuracy and log loss."""
    ours, theirs = arms[START], arms[SCRATCH]
    right = ours.right[:, 0], theirs.right[:, 0]
    return (
        compare(*right, simultaneous=simultaneous),
        compare(*(weight * one for one in right), max_difference=1.0),
        compare(ours.loss[:, 0], theirs.loss[:, 0]),
    )


def time_to_threshold(curve: LearningCurve, scratch: LearningCurve, tested: NDArray[np.bool_]) -> TimeToThreshold:
    """Return when an arm reaches the level at which scratch ends."""
    threshold = accuracies(scratch, tested)[scratch.tail].mean()
    points = np.flatnonzero(accuracies(curve, tested) >= threshold)
    epoch = int(curve.epochs[points[0]]) if len(points) else None
    seconds = float(curve.seconds[:, points[0]].mean()) if len(points) else None
    return TimeToThreshold(epoch, seconds, int(scratch.epochs[-1]), float(scratch.seconds[:, -1].mean()))


def balance_weights(y: NDArray[np.int64], tested: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the weight of each test example with which accuracy becomes balanced accuracy, float64 of shape (n,)."""
    counts = np.bincount(y, tested.sum(axis=0), minlength=int(y.max()) + 1)
    weights: NDArray[np.float64] = (tested.sum() / ((counts > 0).sum() * np.maximum(counts, 1.0)))[y]
    return weights


def compute_labels_saved(
    results: Sequence[ArmResults], transfer: str, *, overlap: float, seed: int
) -> LabelsSaved | None:
    """Return how many labels an arm saves against scratch; None where that cannot be told.

    That takes both arms at two numbers of labels, in two seeds, and curves that are flat. `results` are by number of
    labels, the fewest first.
    """
    both = [one for one in results if {transfer, SCRATCH} <= one.arms.keys()]
    seeds = min((len(one.tested) for one in both), default=0)
    if len(both) < 2 or seeds < 2:
        return None
    if not all(is_flat(one.arms[name], one.tested) for one in both for name in (transfer, SCRATCH)):
        return None
    both = [one.first_seeds(seeds) for one in both]
    tested, labels = both[-1].tested, np.array([one.labels for one in both])
    ours, theirs = ([one.arms[name].final_right for one in both] for name in (transfer, SCRATCH))

    def statistic(means: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        count: NDArray[np.float64] = labels[-1] - labels_to_reach(means[0], means[1][:, 0], labels)
        return count[:, None]

    (saved,) = crossed_bootstrap(
        [np.stack(ours, axis=1), theirs[-1][:, None]],
        statistic,
        tested=tested,
        clusters=both[-1].clusters,
        pseudo_results=((1.0, 0.0), (0.0, 1.0)),
        overlap=overlap,
        seed=seed,
    )
    widths = _trapezoid_weights(np.log2(labels))
    area = difference(
        sum(width * right for width, right in zip(widths, ours, strict=True)),
        sum(width * right for width, right in zip(widths, theirs, strict=True)),
        tested=tested,
        clusters=both[-1].clusters,
        max_difference=1.0,
        overlap=overlap,
        seed=seed,
    )
    accuracy = np.array([right.sum() / tested.sum() for right in ours])
    threshold = theirs[-1].sum() / tested.sum()
    needed = float(labels[-1] - saved.value) if (accuracy >= threshold).any() else None
    return LabelsSaved(saved.clipped(0.0, float(labels[-1] - labels[0])), needed, bool(accuracy[0] >= threshold), area)


def labels_to_reach(
    curves: NDArray[np.float64], thresholds: NDArray[np.float64], labels: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return with how many labels a curve first reaches its threshold, between two points along their logarithm.

    It is float64 of shape (b,): the fewest labels where the curve begins above, and the most where it never gets there.
    Curves are accuracies of shape (b, k), thresholds of shape (b,), and labels ascending, of shape (k,).
    """
    places = np.log2(labels)
    crossing = np.full(len(curves), places[-1])
    for index in range(len(labels) - 1, 0, -1):
        low, high = curves[:, index - 1], curves[:, index]
        crosses = (low < thresholds) & (high >= thresholds)
        along = np.where(crosses, (thresholds - low) / np.where(crosses, high - low, 1.0), 0.0)
        crossing = np.where(crosses, places[index - 1] + along * (places[index] - places[index - 1]), crossing)
    return np.asarray(2 ** np.where(curves[:, 0] >= thresholds, places[0], crossing))


def _trapezoid_weights(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weights of a mean over a range by the trapezoidal rule, summing to 1."""
    steps = np.diff(places)
    weights = np.zeros(len(places))
    weights[:-1] += steps / 2
    weights[1:] += steps / 2
    mean: NDArray[np.float64] = weights / steps.sum()
    return mean
