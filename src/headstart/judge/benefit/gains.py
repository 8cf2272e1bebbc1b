"""What carrying a source over gains on training from scratch: start, slope and asymptote, and what labels it saves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.judge.benefit.results import ArmResults, Results, accuracies, first_part, gained, is_flat
from headstart.judge.intervals import Difference, crossed, difference

MAJORITY, SIMPLE, SCRATCH, START, FROZEN, TUNED = "majority", "simple", "scratch", "start", "frozen", "tuned"
"""The arms; `start` is the frozen source with a head in closed form, the others are what their names say."""
CARRIED = (TUNED, FROZEN)
"""The arms that carry the source over."""
NETWORKS = (SCRATCH, FROZEN, TUNED)


@dataclass(frozen=True)
class Reach:
    """When the source carried over reaches the level that scratch ends at.

    Attributes:
        epoch: the first judged one at which its accuracy is as high; 0 for before any weight has learned; None for
            never.
        seconds: until then, features and head included; None for never.
        epochs: of scratch, to its end.
        scratch_seconds: to its end.
    """

    epoch: int | None
    seconds: float | None
    epochs: int
    scratch_seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers, ready for JSON."""
        return {
            "epoch": self.epoch,
            "seconds": self.seconds,
            "scratch_epochs": self.epochs,
            "scratch_seconds": self.scratch_seconds,
        }


@dataclass(frozen=True)
class Gains:
    """What the source carried over gains at one number of labels; None where an arm for it is missing.

    Attributes:
        per_class: labels of each class; None for all.
        labels: in all.
        carried: the arm that carries the source over: the tuned or the frozen one, whichever ends higher.
        control: what the gains are over: `scratch`, or `simple` where scratch could not be run.
        start: of accuracy, before any weight of the network has learned, both with a head in closed form.
        slope: of accuracy per epoch up to epoch `first`.
        first: up to which epoch slopes are taken; 0 where an arm has no epochs.
        asymptote: of the level at which the curve ends.
        reached: whether both curves are flat there; where not, each level is "at least".
        balanced: start and asymptote of balanced accuracy.
        loss: start and asymptote of log loss, in nats; below 0 is better.
        reach: when it reaches the level of scratch.
        over_simple: level of each network minus that of the simple baseline.
        ends: asymptote of each arm that carries the source over.
    """

    per_class: int | None
    labels: float
    carried: str
    control: str
    start: Difference | None
    slope: Difference | None
    first: int
    asymptote: Difference | None
    reached: bool
    balanced: tuple[Difference | None, Difference | None]
    loss: tuple[Difference | None, Difference | None]
    reach: Reach | None
    over_simple: dict[str, Difference]
    ends: dict[str, Difference]

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain values, ready for JSON."""
        named = ("start", "asymptote")
        return {
            "labels_per_class": self.per_class,
            "labels": self.labels,
            "transfer": self.carried,
            "against": self.control,
            "start": plain(self.start),
            "slope": {**plain(self.slope), "epochs": self.first},
            "asymptote": {**plain(self.asymptote), "reached": self.reached},
            "balanced_accuracy": {name: plain(one) for name, one in zip(named, self.balanced, strict=True)},
            "log_loss": {name: plain(one) for name, one in zip(named, self.loss, strict=True)},
            "reach": None if self.reach is None else self.reach.as_dict(),
            "over_simple": {name: one.as_dict() for name, one in self.over_simple.items()},
        }


@dataclass(frozen=True)
class LabelsSaved:
    """What labels the source saves.

    Attributes:
        saved: labels of all that scratch had, minus those with which the source is as good.
        enough: with how many labels it is as good; None where it never is.
        at_least: whether it is as good with the fewest labels that were tried: then it may save more.
        area: accuracy gained on average over the numbers of labels, on a scale of their logarithm.
    """

    saved: Difference
    enough: float | None
    at_least: bool
    area: Difference

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain values, ready for JSON."""
        return {**self.saved.as_dict(), "enough": self.enough, "at_least": self.at_least}


def plain(one: Difference | None) -> dict[str, float | None]:
    """Return a difference ready for JSON; one that could not be measured has no numbers."""
    return dict.fromkeys(Difference._fields) if one is None else dict(one.as_dict())


def gains_of(field: ArmResults, y: NDArray[np.int64], *, overlap: float, seed: int) -> Gains:
    """Return what carrying the source over gains at one number of labels.

    Start and asymptotes, which decide the verdict, hold together 95 times in 100, and so do the differences from the
    simple baseline; every other interval holds by itself.

    Args:
        field: what every arm answered; one at least that carries the source over.
        y: class ids of the n test examples of all seeds, of shape (n,).
        overlap: test examples of a split over its training examples, where splits overlap; else 0.
        seed: of the intervals.
    """
    arms, tested = field.arms, field.tested
    control = SCRATCH if SCRATCH in arms else SIMPLE
    networks = [name for name in NETWORKS if name in arms]

    def apart(one: NDArray[Any], other: NDArray[Any], range_of: float | None, at_once: int = 1) -> Difference:
        return difference(one, other, tested=tested, range_of=range_of, overlap=overlap, at_once=at_once, seed=seed)

    levels = {name: one.level for name, one in arms.items()}
    started = _begun(arms, control)
    together = (started is not None) + sum(name in arms for name in CARRIED)
    ends = {name: apart(levels[name], levels[control], 1.0, together) for name in CARRIED if name in arms}
    carried = max(ends, key=lambda name: ends[name].value)
    one, other = arms[carried], arms[control]
    weight = balance(y, tested)
    until = first_part(one, other)
    losses = one.final_loss, other.final_loss
    return Gains(
        per_class=field.per_class,
        labels=field.labels,
        carried=carried,
        control=control,
        start=apart(started[0].right[:, 0], started[1].right[:, 0], None, together) if started else None,
        slope=apart(gained(one, until), gained(other, until), 1 / until) if until else None,
        first=until,
        asymptote=ends[carried],
        reached=is_flat(one, tested) and is_flat(other, tested),
        balanced=(
            apart(weight * started[0].right[:, 0], weight * started[1].right[:, 0], 1.0) if started else None,
            apart(weight * levels[carried], weight * levels[control], 1.0),
        ),
        loss=(apart(started[0].loss[:, 0], started[1].loss[:, 0], None) if started else None, apart(*losses, None)),
        reach=reach_of(one, other, tested) if control == SCRATCH else None,
        over_simple={
            name: apart(levels[name], levels[SIMPLE], 1.0, len(networks)) for name in networks if SIMPLE in arms
        },
        ends=ends,
    )


def _begun(arms: Any, control: str) -> tuple[Results, Results] | None:
    """Return both arms whose first points are the start, where both are there."""
    return (arms[START], arms[SCRATCH]) if control == SCRATCH and START in arms else None


def reach_of(one: Results, scratch: Results, tested: NDArray[np.bool_]) -> Reach:
    """Return when an arm reaches the level that scratch ends at."""
    wanted = accuracies(scratch, tested)[scratch.tail].mean()
    there = np.flatnonzero(accuracies(one, tested) >= wanted)
    epoch = int(one.epochs[there[0]]) if len(there) else None
    seconds = float(one.seconds[:, there[0]].mean()) if len(there) else None
    return Reach(epoch, seconds, int(scratch.epochs[-1]), float(scratch.seconds[:, -1].mean()))


def balance(y: NDArray[np.int64], tested: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the weight of each test example with which accuracy becomes balanced accuracy, float64 of shape (n,)."""
    counts = np.bincount(y, tested.sum(axis=0), minlength=int(y.max()) + 1)
    found: NDArray[np.float64] = (tested.sum() / ((counts > 0).sum() * np.maximum(counts, 1.0)))[y]
    return found


def saved_by(fields: Sequence[ArmResults], carried: str, *, overlap: float, seed: int) -> LabelsSaved | None:
    """Return what labels an arm saves against scratch; None where fewer than two numbers of labels have both arms.

    Args:
        fields: by number of labels, the fewest first.
        carried: the arm that carries the source over.
        overlap: as in `gains_of`.
        seed: of the intervals.
    """
    known = [field for field in fields if {carried, SCRATCH} <= field.arms.keys()]
    if len(known) < 2:
        return None
    seeds = min(len(field.tested) for field in known)
    known = [field.first(seeds) for field in known]
    tested, labels = known[-1].tested, np.array([field.labels for field in known])
    ours, theirs = ([field.arms[name].level for field in known] for name in (carried, SCRATCH))

    def statistic(means: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        found: NDArray[np.float64] = labels[-1] - enough_labels(means[0], means[1][:, 0], labels)
        return found[:, None]

    (saved,) = crossed(
        [np.stack(ours, axis=1), theirs[-1][:, None]],
        statistic,
        tested=tested,
        imagined=((1.0, 0.0), (0.0, 1.0)),
        overlap=overlap,
        seed=seed,
    )
    most = float(labels[-1] - labels[0])
    width = _trapezoids(np.log2(labels))
    area = difference(
        sum(share * one for share, one in zip(width, ours, strict=True)),
        sum(share * one for share, one in zip(width, theirs, strict=True)),
        tested=tested,
        range_of=1.0,
        overlap=overlap,
        seed=seed,
    )
    curve = np.array([one.sum() / tested.sum() for one in ours])
    wanted = theirs[-1].sum() / tested.sum()
    enough = float(labels[-1] - saved.value) if (curve >= wanted).any() else None
    held = saved._replace(low=max(0.0, saved.low), high=min(most, saved.high))
    return LabelsSaved(held, enough, bool(curve[0] >= wanted), area)


def enough_labels(
    curves: NDArray[np.float64], wanted: NDArray[np.float64], labels: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return with how many labels a curve first reaches what is wanted, between two points along their logarithm.

    Args:
        curves: accuracies of shape (b, k).
        wanted: of shape (b,).
        labels: ascending, of shape (k,).

    Returns:
        float64 of shape (b,): the fewest labels where the curve begins above, and the most where it never gets there.
    """
    places = np.log2(labels)
    found = np.full(len(curves), places[-1])
    for at in range(len(labels) - 1, 0, -1):
        low, high = curves[:, at - 1], curves[:, at]
        crosses = (low < wanted) & (high >= wanted)
        along = np.where(crosses, (wanted - low) / np.where(crosses, high - low, 1.0), 0.0)
        found = np.where(crosses, places[at - 1] + along * (places[at] - places[at - 1]), found)
    return np.asarray(2 ** np.where(curves[:, 0] >= wanted, places[0], found))


def _trapezoids(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weights of a mean over a range by the rule of trapezoids, summing to 1."""
    steps = np.diff(places)
    weights = np.zeros(len(places))
    weights[:-1] += steps / 2
    weights[1:] += steps / 2
    mean: NDArray[np.float64] = weights / steps.sum()
    return mean
