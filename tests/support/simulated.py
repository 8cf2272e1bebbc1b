"""Simulated comparisons: what arms of known skill answer, with examples of unlike difficulty and unlike seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from headstart.judge.benefit.gains import FROZEN, MAJORITY, SCRATCH, SIMPLE, START, TUNED
from headstart.judge.benefit.results import ArmResults, LearningCurve

SHARED, OWN, SEEDS = 0.45, 0.25, 0.01
"""Variance of an example's difficulty for every arm, for one arm, and of a seed; the rest is chance."""
EPOCHS = np.array([0, 1, 2, 3, 4, 6, 8, 12, 16, 20, 24, 28, 32, 36, 40])


def answers(
    accuracies: Mapping[str, Sequence[float]], *, seeds: int, n: int, seed: int, drift: float = 0.02
) -> dict[str, NDArray[np.bool_]]:
    """Return what is right, bool of shape (s, p, n) an arm, given the true accuracy of each arm at each point."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=n) * np.sqrt(SHARED)
    found = {}
    for name, levels in accuracies.items():
        own = rng.normal(size=n) * np.sqrt(OWN)
        of_seed = rng.normal(size=(seeds, 1)) * np.sqrt(SEEDS)
        chance = rng.normal(size=(seeds, n)) * np.sqrt(1 - SHARED - OWN - SEEDS - drift)
        moving = rng.normal(size=(seeds, len(levels), n)) * np.sqrt(drift)
        skill = ndtri(np.clip(np.asarray(levels), 1e-6, 1 - 1e-6))
        found[name] = (common + own + of_seed + chance)[:, None, :] + moving < skill[None, :, None]
    return found


def simulate(
    accuracies: Mapping[str, Sequence[float]],
    *,
    seeds: int = 5,
    n: int = 200,
    seed: int = 0,
    labels: int = 100,
    per_class: int | None = None,
) -> ArmResults:
    """Return simulated results; an arm of one point has no epochs, others are judged at EPOCHS."""
    arms = {}
    for name, right in answers(accuracies, seeds=seeds, n=n, seed=seed).items():
        epochs = EPOCHS if right.shape[1] > 1 else EPOCHS[:1]
        seconds = np.tile(1.0 + epochs, (seeds, 1)).astype(np.float64)
        loss = np.where(right, 0.2, 2.0).astype(np.float32)
        arms[name] = LearningCurve(epochs, right, loss, seconds, cut=False, note=name)
    return ArmResults(per_class, float(labels), arms, np.ones((seeds, n), np.bool_))


def curve(start: float, end: float, pace: float = 4.0) -> list[float]:
    """Return a true learning curve over EPOCHS."""
    return (end - (end - start) * np.exp(-EPOCHS / pace)).tolist()


def arms(
    *, simple: float = 0.5, start: float = 0.7, frozen: float = 0.75, tuned: float = 0.8, scratch: tuple[float, float]
) -> dict[str, Sequence[float]]:
    """Return the true accuracies of every arm."""
    return {
        MAJORITY: [0.2],
        SIMPLE: [simple],
        START: [start],
        FROZEN: [frozen],
        TUNED: curve(start, tuned),
        SCRATCH: curve(*scratch),
    }
