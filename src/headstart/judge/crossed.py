"""95 % intervals of figures that both seeds and test examples make uncertain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from headstart.judge.intervals import (
    MAX_RANDOM_NUMBERS,
    RESAMPLES,
    Clusters,
    Interval,
    places_of,
    student_quantile,
)

POWER = 0.8  # share of experiments in which a difference that is called detectable is shown
TINY = 1e-300


class Estimate(NamedTuple):
    """A figure that seeds and test examples both make uncertain."""

    value: float
    low: float
    high: float
    detectable: float  # the smallest true figure that 80 of 100 such experiments would distinguish from 0

    @property
    def sign(self) -> int:
        """1 where the whole interval lies above 0, -1 where it lies below, 0 where it holds 0."""
        return int(self.low > 0) - int(self.high < 0)

    @property
    def interval(self) -> Interval:
        """The figure with its interval alone."""
        return Interval(self.value, self.low, self.high)

    def clipped(self, low: float, high: float = np.inf) -> Estimate:
        """Return the figure with an interval that ends where the figure itself must."""
        return self._replace(low=max(low, self.low), high=min(high, self.high))

    def as_dict(self) -> dict[str, float]:
        """Return the four numbers, ready for JSON."""
        return self._asdict()


Statistics = Callable[[Sequence[NDArray[np.float64]]], NDArray[np.float64]]
"""Computes figures of shape (b, k) from the mean of each arm at each of its points: shape (b, p) for each arm."""


def crossed_bootstrap(
    arms: Sequence[NDArray[Any]],
    statistics: Statistics,
    *,
    tested: NDArray[np.bool_] | None = None,
    clusters: Clusters = None,
    pseudo_results: Sequence[Sequence[float]] = (),
    overlap: float = 0.0,
    simultaneous: int = 1,
    seed: int,
) -> list[Estimate]:
    """Return figures made of the means of paired results, each with its interval over seeds and test examples together.

    Seeds and examples are two crossed samples. Each is resampled by itself, the same draw for every arm (examples with
    smooth weights, Rubin 1981); the two variances are added, and that of single results, which is in both, is taken off
    once (Cameron, Gelbach & Miller 2011). The interval is that of Student's t with as many degrees of freedom as both
    samples give (Satterthwaite 1946). Where the splits of the seeds overlap, the variance between seeds is raised as
    Nadeau & Bengio (2003) say.

    Args:
        arms: one array an arm, of shape (s, p, n): the result of each seed, point and example: whether it is classified
            correctly (bool), or a score.
        tested: bool of shape (s, n): which examples the test part of each seed holds; None for all.
        clusters: the cluster of each of the n examples; a cluster is resampled as a whole.
        pseudo_results: for each pseudo-example, the result that it has in each arm at every seed and point: they add to
            the variance alone, so that arms that never differ are not declared equal for certain.
        overlap: test examples of a split over its training examples, where splits of the same data overlap; else 0.
        simultaneous: how many intervals must hold together, 95 times in 100 (Bonferroni).
    """
    table = _Results.of(arms, tested, clusters)
    values = statistics(table.means())[0]
    padded = table.with_pseudo(pseudo_results)
    seeds, n = table.tested.shape
    rng = np.random.default_rng(seed)
    of_examples = _variance(statistics, padded.by_example(rng)) * (n + 1) / max(1, n - 1)
    of_seeds = added = np.zeros(len(values))
    if seeds > 1:
        of_seeds = _variance(statistics, padded.by_seed(rng)) * seeds / (seeds - 1)
        of_results = _variance(statistics, padded.by_result(rng))
        added = np.maximum(0, of_seeds - of_results) * (1 + seeds * overlap)
    variances = added + of_examples
    squares = np.square(np.maximum(of_seeds, added)) / max(1, seeds - 1) + np.square(of_examples) / max(1, n - 1)
    freedoms = np.square(variances) / np.maximum(squares, TINY)
    return [
        _estimate(float(value), float(np.sqrt(variance)), float(max(1.0, freedom)), simultaneous)
        for value, variance, freedom in zip(values, variances, freedoms, strict=True)
    ]


def difference(
    first: NDArray[Any],
    second: NDArray[Any],
    *,
    tested: NDArray[np.bool_] | None = None,
    clusters: Clusters = None,
    max_difference: float | None = None,
    overlap: float = 0.0,
    simultaneous: int = 1,
    seed: int = 0,
) -> Estimate:
    """Return the mean of `first - second` with its interval over seeds and examples; see `crossed_bootstrap`.

    Args:
        first: results of one model, of shape (n,) or (s, n): whether each example is classified correctly (bool), or a
            score of it.
        max_difference: the largest possible difference of two results: one win and one loss by so much are added to the
            data for the variance (Agresti & Min 2005); None for 1 where both are bool, and else for no addition.
    """
    widest = max_difference if max_difference is not None else float(first.dtype == second.dtype == np.bool_)
    (estimate,) = crossed_bootstrap(
        [np.atleast_2d(results)[:, None, :] for results in (first, second)],
        lambda means: means[0] - means[1],
        tested=tested,
        clusters=clusters,
        pseudo_results=((widest, 0.0), (0.0, widest)) if widest else (),
        overlap=overlap,
        simultaneous=simultaneous,
        seed=seed,
    )
    return estimate


def proportions(
    results: NDArray[Any],
    *,
    tested: NDArray[np.bool_] | None = None,
    clusters: Clusters = None,
    overlap: float = 0.0,
    seed: int = 0,
) -> list[Estimate]:
    """Return the mean of results in 0..1, of shape (s, p, n), at each point, with intervals over seeds and examples."""
    estimates = crossed_bootstrap(
        [results],
        lambda means: means[0],
        tested=tested,
        clusters=clusters,
        pseudo_results=((1.0,), (0.0,)),
        overlap=overlap,
        seed=seed,
    )
    return [estimate.clipped(0.0, 1.0) for estimate in estimates]


def proportion(
    results: NDArray[Any],
    *,
    tested: NDArray[np.bool_] | None = None,
    clusters: Clusters = None,
    overlap: float = 0.0,
    seed: int = 0,
) -> Estimate:
    """Return the mean of results in 0..1, of shape (n,) or (s, n), with its interval over seeds and examples."""
    by_point = np.atleast_2d(results)[:, None, :]
    return proportions(by_point, tested=tested, clusters=clusters, overlap=overlap, seed=seed)[0]


@dataclass(frozen=True)
class _Results:
    """Results of several arms on the same seeds and n examples, or clusters of examples."""

    x: NDArray[np.float64]  # float64 of shape (s, n, p): sums at all points of all arms; 0 where none was tested
    tested: NDArray[np.float64]  # float64 of shape (s, n): how many were
    ends: tuple[int, ...]  # where the points of each arm end but the last

    @classmethod
    def of(cls, arms: Sequence[NDArray[Any]], tested: NDArray[np.bool_] | None, clusters: Clusters) -> Self:
        seeds, _, n = arms[0].shape
        mask = np.ones((seeds, n)) if tested is None else tested.astype(np.float64)
        x = np.concatenate([arm.astype(np.float64) for arm in arms], axis=1).transpose(0, 2, 1)
        ends = np.cumsum([arm.shape[1] for arm in arms])[:-1]
        x = np.where(mask[:, :, None] > 0, x, 0.0)
        if (places := places_of(clusters)) is not None:
            order = np.argsort(places, kind="stable")
            starts = np.flatnonzero(np.diff(places[order], prepend=-1))
            x, mask = (np.add.reduceat(each[:, order], starts, axis=1) for each in (x, mask))
        return cls(x, mask, tuple(ends.tolist()))

    def with_pseudo(self, pseudo_results: Sequence[Sequence[float]]) -> _Results:
        if not pseudo_results:
            return self
        seeds, _, points = self.x.shape
        sizes = np.diff([0, *self.ends, points])
        rows = np.array([np.repeat(result, sizes) for result in pseudo_results], dtype=np.float64)
        size = self.tested.sum() / (self.tested > 0).sum()  # of a cluster on average; 1 where there are none
        x = np.concatenate([self.x, np.tile(size * rows, (seeds, 1, 1))], axis=1)
        return _Results(x, np.concatenate([self.tested, np.full((seeds, len(rows)), size)], axis=1), self.ends)

    def means(self) -> list[NDArray[np.float64]]:
        return self._means(self.x.sum(axis=(0, 1))[None], self.tested.sum()[None])

    def by_seed(self, rng: np.random.Generator) -> list[NDArray[np.float64]]:
        seeds = len(self.x)
        drawn = rng.multinomial(seeds, np.full(seeds, 1 / seeds), RESAMPLES).astype(np.float64)
        return self._means(drawn @ self.x.sum(axis=1), drawn @ self.tested.sum(axis=1))

    def by_example(self, rng: np.random.Generator) -> list[NDArray[np.float64]]:
        return self._drawn(self.x.sum(axis=0), self.tested.sum(axis=0), rng)

    def by_result(self, rng: np.random.Generator) -> list[NDArray[np.float64]]:
        tested = self.tested.ravel() > 0
        return self._drawn(self.x.reshape(len(tested), -1)[tested], self.tested.ravel()[tested], rng)

    def _drawn(
        self, x: NDArray[np.float64], counts: NDArray[np.float64], rng: np.random.Generator
    ) -> list[NDArray[np.float64]]:
        """Weigh each row exponentially; rows that are equal together, by the sum of their weights, a gamma variate."""
        every = np.concatenate([x, counts[:, None]], axis=1).astype(np.float32)
        _, firsts, sizes = np.unique(every, axis=0, return_index=True, return_counts=True)
        order = np.argsort(firsts)  # as they come, so that the order of arms means nothing
        rows, shapes = every[firsts[order]], sizes[order].astype(np.float32)
        k, step = len(rows), max(1, MAX_RANDOM_NUMBERS // len(rows))
        draw = partial(rng.standard_gamma, shapes) if k < len(x) else rng.standard_exponential
        sums = [draw((min(step, RESAMPLES - low), k), np.float32) @ rows for low in range(0, RESAMPLES, step)]
        drawn = np.concatenate(sums).astype(np.float64)
        return self._means(drawn[:, :-1], drawn[:, -1])

    def _means(self, sums: NDArray[np.float64], counts: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        return np.split(sums / np.maximum(counts, TINY)[:, None], self.ends, axis=1)


def _variance(statistics: Statistics, means: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    variance: NDArray[np.float64] = statistics(means).var(axis=0, ddof=1)
    return variance


def _estimate(value: float, error: float, freedom: float, simultaneous: int) -> Estimate:
    quantile, power = (student_quantile(freedom, share) for share in (1 - 0.025 / simultaneous, POWER))
    return Estimate(value, value - quantile * error, value + quantile * error, (quantile + power) * error)
