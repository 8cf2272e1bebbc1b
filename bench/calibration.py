"""How much of the calibration error of `headstart fit` is the estimate's own, on the five photo sets.

Usage: python bench/calibration.py DATA     (the folder that holds ants_bees.tar, cats_dogs.tar, …)

At 20 labels a class (three draws) and all of them (seed 0): the expected calibration error; what it is on average where
labels are drawn from the very probabilities, so that the model is perfectly calibrated; and the root of the squared
calibration error without the bias of the estimate (Kumar, Liang & Ma 2019), in 15 bins of equal mass.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from accuracy import ASKED
from machine import machine

from headstart.base.progress import Progress
from headstart.fitting.predictor import Fitted, select_layer_and_head, shipped_predictor, source_predictor
from headstart.judge.metrics import calibration_error
from headstart.run.baseline import fit_baseline
from headstart.run.clock import Clock
from headstart.run.options import FitOptions
from headstart.run.prepare import prepare

BINS, DRAWS = 15, 200


def squared_error(confidences: np.ndarray, right: np.ndarray) -> float:
    total = 0.0
    for rows in np.array_split(np.argsort(confidences), BINS):
        share = right[rows].mean()
        gap = (confidences[rows].mean() - share) ** 2 - share * (1 - share) / (len(rows) - 1)
        total += len(rows) / len(right) * gap
    return total


def measured(data: Path, labels: int | None, seed: int, rng: np.random.Generator) -> list[float]:
    prepared = prepare(data, FitOptions(labels_per_class=labels, seed=seed), Progress(), Clock())
    choice, baseline = select_layer_and_head(prepared, seed=seed), fit_baseline(prepared, seed=seed)
    fitted = Fitted(prepared, choice, baseline, source_predictor(prepared, choice, baseline))
    p, y = shipped_predictor(fitted, named=False).probabilities, prepared.labels(prepared.parts.test)
    places = p.cumsum(axis=1)
    drawn = [(places > rng.random((len(p), 1)) * places[:, -1:]).argmax(axis=1) for _ in range(DRAWS)]
    perfect = float(np.mean([calibration_error(p, each) for each in drawn]))
    return [calibration_error(p, y), perfect, squared_error(p.max(axis=1), (p.argmax(axis=1) == y).astype(float))]


def main() -> None:
    print(machine())
    rng = np.random.default_rng(0)
    for labels in (20, None):
        rows = []
        for name in ASKED:
            path = Path(sys.argv[1]) / f"{name}.tar"
            rows.append(np.mean([measured(path, labels, seed, rng) for seed in range(3 if labels else 1)], axis=0))
        for name, (error, perfect, squared) in zip((*ASKED, "mean"), (*rows, np.mean(rows, axis=0)), strict=True):
            root = np.sqrt(max(squared, 0))
            print(f"{labels or 'all':>3} {name:<12} ece {error:.3f}, perfect {perfect:.3f}, debiased {root:.3f}")


if __name__ == "__main__":
    main()
