"""How often intervals hold the truth where test examples come in clusters, taken as independent and as clusters.

Usage: python bench/clusters.py

Each of 300 simulated test parts has clusters of 1 to 6 examples (copies of one photo, pictures of one subject).
Members are alike with the given probability: then whether a model is right is drawn once for all of them. Two models
of the same true accuracy are compared, so that each interval of the difference without 0 is a false claim.
"""

from __future__ import annotations

import numpy as np
from machine import machine

from headstart.judge.crossed import difference, proportion
from headstart.judge.intervals import paired_difference, share_of

RUNS = 300


def drawn(random: np.random.Generator, clusters: np.ndarray, alike: float, truth: float) -> np.ndarray:
    count = clusters[-1] + 1
    together = (random.random(count) < alike)[clusters]
    return np.where(together, (random.random(count) < truth)[clusters], random.random(len(clusters)) < truth)


def covered(count: int, alike: float, truth: float, runs: int = RUNS, *, crossed: bool = False) -> np.ndarray:
    """Return how often accuracy and difference are covered, as independent and by cluster: shape (2, 2)."""
    random, hits = np.random.default_rng(0), np.zeros((2, 2))
    for run in range(runs):
        clusters = np.repeat(np.arange(count), random.integers(1, 7, count))
        first, second = (drawn(random, clusters, alike, truth) for _ in range(2))
        for row, known in enumerate((None, clusters)):
            share = proportion(first, clusters=known).interval if crossed else share_of(first, known)
            gap = (
                difference(first, second, clusters=known).interval
                if crossed
                else paired_difference(first, second, seed=run, clusters=known)
            )
            hits[row] += share.low <= truth <= share.high, gap.low <= 0 <= gap.high
    return hits / runs


def main() -> None:
    print(machine())
    print("clusters alike truth | accuracy: independent, by cluster | difference: independent, by cluster")
    for count in (12, 24, 60, 200):
        for alike in (0.0, 0.5, 1.0):
            for truth in (0.5, 0.9):
                (plain, plain_gap), (share, gap) = covered(count, alike, truth)
                print(f"{count:8} {alike:5} {truth:5} | {plain:.3f} {share:.3f} | {plain_gap:.3f} {gap:.3f}")
    (plain, plain_gap), (share, gap) = covered(24, 1.0, 0.5, 300, crossed=True)
    print(f"crossed, 24 clusters alike, truth 0.5 | {plain:.3f} {share:.3f} | {plain_gap:.3f} {gap:.3f}")


if __name__ == "__main__":
    main()
