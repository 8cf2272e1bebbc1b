"""95 % intervals: how far a figure may lie from the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

Z = 1.959963984540054  # two-sided 95 % of the normal distribution
RESAMPLES = 1000
MAX_RANDOM_NUMBERS = 2**22  # held in memory at a time
POWER = 0.8  # share of experiments in which a difference that is called detectable is shown
TINY = 1e-300


class Interval(NamedTuple):
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float]:
        """Return the three numbers, ready for JSON."""
        return self._asdict()


def wilson(successes: float, n: int) -> Interval:
    """Return `successes` (0..n) of n >= 1 as a proportion with its score interval (Wilson 1927).

    It keeps its rate for few examples and near 0 and 1. `scipy.stats.binomtest(k, n).proportion_ci(method="wilson")`
    gives the same to 1e-12 (`tests/golden`), but importing scipy.stats costs 1.4 s of CPU, which is as long as a whole
    `fit` on cached features, and each call 1.7 ms.
    """
    share = successes / n
    shrunk = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * np.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return Interval(share, float(max(0, min(shrunk - half, share))), float(min(1, max(shrunk + half, share))))


def mean_of_proportions(successes: NDArray[np.integer], n: NDArray[np.integer]) -> Interval:
    """Return the mean of c independent proportions, such as recalls of classes, with its interval.

    The distances to the Wilson limits of each are added in squares (MOVER, Zou & Donner 2008), which holds where every
    proportion is 1 and a bootstrap would claim certainty. Each has at least one trial.
    """
    parts = np.array([wilson(float(s), int(m)) for s, m in zip(successes, n, strict=True)])
    value = parts[:, 0].mean()
    below = np.sqrt(np.square(parts[:, 0] - parts[:, 1]).sum()) / len(parts)
    above = np.sqrt(np.square(parts[:, 2] - parts[:, 0]).sum()) / len(parts)
    return Interval(float(value), float(max(0, value - below)), float(min(1, value + above)))


def resample_counts(
    strata: NDArray[np.integer], *, seed: int, resamples: int = RESAMPLES
) -> Iterator[NDArray[np.float32]]:
    """Yield how often each example is drawn in each bootstrap resample, some at a time: float32 of shape (b, n).

    Examples are redrawn within their stratum (`strata`, of shape (n,)), so that no class vanishes.
    """
    rng = np.random.default_rng(seed)
    n = len(strata)
    order = np.argsort(strata, kind="stable")
    _, first, sizes = np.unique(strata[order], return_index=True, return_counts=True)
    start, size = np.repeat(first, sizes), np.repeat(sizes, sizes).astype(np.float32)
    step = max(1, MAX_RANDOM_NUMBERS // n)
    for low in range(0, resamples, step):
        rows = min(step, resamples - low)
        # The product may round up to the size of the stratum itself.
        drawn = start + np.minimum(
            (rng.random((rows, n), np.float32) * size).astype(np.int64), size.astype(np.int64) - 1
        )
        drawn += np.arange(rows)[:, None] * n
        counts = np.empty((rows, n), np.float32)
        counts[:, order] = np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n)
        yield counts


def bias_corrected(value: float, resampled: NDArray[np.floating]) -> Interval:
    """Return `value` with the bias-corrected percentile interval (Efron 1987) of its resampled values, shape (b,).

    Figures that resampling shifts, such as calibration error, are shifted back. The interval always holds `value`.
    """
    normal = NormalDist()
    b = len(resampled)
    below = float(np.mean(resampled < value) + np.mean(resampled == value) / 2)
    shift = normal.inv_cdf(min(max(below, 0.5 / b), 1 - 0.5 / b))
    low, high = np.quantile(resampled, [normal.cdf(2 * shift - Z), normal.cdf(2 * shift + Z)])
    return Interval(float(value), float(min(low, value)), float(max(high, value)))


def bootstrap_mean(values: NDArray[np.floating], *, seed: int, resamples: int = RESAMPLES) -> Interval:
    """Return the mean of `values` (n,) with its bootstrap interval."""
    drawn = resample_counts(np.zeros(len(values), np.int64), seed=seed, resamples=resamples)
    means = np.concatenate([counts @ values for counts in drawn]) / len(values)
    return bias_corrected(float(values.mean()), means)


def paired_difference(
    first: NDArray[np.bool_] | NDArray[np.floating], second: NDArray[np.bool_] | NDArray[np.floating], *, seed: int
) -> Interval:
    """Return the mean of `first - second`, of shape (n,), on the same examples, with its interval.

    Both say whether each example is classified correctly (bool), or give a score of it. For bool one win and one loss
    are added to the resampled data (Agresti & Min 2005), so that two models that never differ are not declared equal
    for certain.
    """
    difference = first.astype(np.float64) - second.astype(np.float64)
    value = float(difference.mean())
    if first.dtype == second.dtype == np.bool_:
        difference = np.append(difference, [1.0, -1.0])
    _, low, high = bootstrap_mean(difference, seed=seed)
    return Interval(value, min(low, value), max(high, value))


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
        pseudo_results: for each pseudo-example, the result that it has in each arm at every seed and point: they add to
            the variance alone, so that arms that never differ are not declared equal for certain.
        overlap: test examples of a split over its training examples, where splits of the same data overlap; else 0.
        simultaneous: how many intervals must hold together, 95 times in 100 (Bonferroni).
    """
    table = _Results.of(arms, tested)
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
        pseudo_results=((widest, 0.0), (0.0, widest)) if widest else (),
        overlap=overlap,
        simultaneous=simultaneous,
        seed=seed,
    )
    return estimate


def proportions(
    results: NDArray[Any], *, tested: NDArray[np.bool_] | None = None, overlap: float = 0.0, seed: int = 0
) -> list[Estimate]:
    """Return the mean of results in 0..1, of shape (s, p, n), at each point, with intervals over seeds and examples."""
    estimates = crossed_bootstrap(
        [results], lambda means: means[0], tested=tested, pseudo_results=((1.0,), (0.0,)), overlap=overlap, seed=seed
    )
    return [estimate.clipped(0.0, 1.0) for estimate in estimates]


def proportion(
    results: NDArray[Any], *, tested: NDArray[np.bool_] | None = None, overlap: float = 0.0, seed: int = 0
) -> Estimate:
    """Return the mean of results in 0..1, of shape (n,) or (s, n), with its interval over seeds and examples."""
    return proportions(np.atleast_2d(results)[:, None, :], tested=tested, overlap=overlap, seed=seed)[0]


@dataclass(frozen=True)
class _Results:
    """Results of several arms on the same seeds and examples."""

    x: NDArray[np.float64]  # float64 of shape (s, n, p): all points of all arms; 0 where an example was not tested
    tested: NDArray[np.float64]  # float64 of shape (s, n): 1 where it was
    ends: tuple[int, ...]  # where the points of each arm end but the last

    @classmethod
    def of(cls, arms: Sequence[NDArray[Any]], tested: NDArray[np.bool_] | None) -> Self:
        seeds, _, n = arms[0].shape
        mask = np.ones((seeds, n)) if tested is None else tested.astype(np.float64)
        x = np.concatenate([arm.astype(np.float64) for arm in arms], axis=1).transpose(0, 2, 1)
        ends = np.cumsum([arm.shape[1] for arm in arms])[:-1]
        return cls(np.where(mask[:, :, None] > 0, x, 0.0), mask, tuple(ends.tolist()))

    def with_pseudo(self, pseudo_results: Sequence[Sequence[float]]) -> _Results:
        if not pseudo_results:
            return self
        seeds, _, points = self.x.shape
        sizes = np.diff([0, *self.ends, points])
        rows = np.array([np.repeat(result, sizes) for result in pseudo_results], dtype=np.float64)
        x = np.concatenate([self.x, np.tile(rows, (seeds, 1, 1))], axis=1)
        return _Results(x, np.concatenate([self.tested, np.ones((seeds, len(rows)))], axis=1), self.ends)

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
        n, step = len(x), max(1, MAX_RANDOM_NUMBERS // len(x))
        both = np.concatenate([x, counts[:, None]], axis=1).astype(np.float32)
        sums = [
            rng.standard_exponential((min(step, RESAMPLES - low), n), np.float32) @ both
            for low in range(0, RESAMPLES, step)
        ]
        drawn = np.concatenate(sums).astype(np.float64)
        return self._means(drawn[:, :-1], drawn[:, -1])

    def _means(self, sums: NDArray[np.float64], counts: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        return np.split(sums / np.maximum(counts, TINY)[:, None], self.ends, axis=1)


def _variance(statistics: Statistics, means: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    variance: NDArray[np.float64] = statistics(means).var(axis=0, ddof=1)
    return variance


def _estimate(value: float, error: float, freedom: float, simultaneous: int) -> Estimate:
    from scipy.special import stdtrit

    quantile, power = (float(stdtrit(freedom, share)) for share in (1 - 0.025 / simultaneous, POWER))
    return Estimate(value, value - quantile * error, value + quantile * error, (quantile + power) * error)
