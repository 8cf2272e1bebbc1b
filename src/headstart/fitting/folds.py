"""Cross-validated figures beside the test figure: every example is tested once, by a head fitted without it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.progress import Progress
from headstart.data.split import Parts, unit_names
from headstart.fitting.predictor import Fitted, select_layer_and_head, shipped_predictor, source_predictor
from headstart.heads.folds import assign_folds, content_groups
from headstart.judge.intervals import share_of
from headstart.run.baseline import fit_baseline
from headstart.run.prepare import PreparedData


def cross_validated(
    prepared: PreparedData, *, folds: int, seed: int, progress: Progress, named: bool = False
) -> dict[str, Any]:
    """Return the accuracy of the frozen source on each of `folds` stratified folds, and its mean and spread.

    Layer, head and calibration are chosen anew without each fold; copies, relatives and groups are left out together.
    Features are those of `prepared`: nothing is extracted again. All parts count, but for what was left out of them.
    """
    scanned, parts = prepared.scan, prepared.parts
    positions = np.array(sorted({*parts.train, *parts.validation, *parts.test}))
    names = unit_names(scanned.dataset.examples, positions.tolist(), scanned.hashes)
    digests = [scanned.hashes[position] for position in positions]
    groups, keys = content_groups((digest.encode() for digest in digests), names)
    y = prepared.labels(tuple(positions.tolist()))
    fold_of = assign_folds(y, groups, keys, folds=folds, seed=seed)
    right = np.zeros(len(positions), np.bool_)
    accuracies = []
    with progress.step("Cross-validating", folds, "folds") as step:
        for fold in range(folds):
            train, test = (tuple(positions[part].tolist()) for part in (fold_of != fold, fold_of == fold))
            if test:
                right[fold_of == fold] = _correct(replace(prepared, parts=Parts(train, (), test, ())), seed, named)
                accuracies.append(float(right[fold_of == fold].mean()))
            step.advance()
    tested = fold_of >= 0
    pooled = share_of(right[tested], prepared.clusters(tuple(positions.tolist()))[tested])
    return {
        "count": len(accuracies),
        "accuracies": accuracies,
        "accuracy": pooled.as_dict(),
        "mean": float(np.mean(accuracies)),
        "spread": float(np.std(accuracies, ddof=1)) if len(accuracies) > 1 else 0.0,
        "tested": int(tested.sum()),
    }


def _correct(prepared: PreparedData, seed: int, named: bool) -> NDArray[np.bool_]:
    """Return which test examples are classified correctly, of shape (n,)."""
    choice = select_layer_and_head(prepared, seed=seed)
    baseline = fit_baseline(prepared, seed=seed)
    fitted = Fitted(prepared, choice, baseline, source_predictor(prepared, choice, baseline))
    predictor = shipped_predictor(fitted, named=named)
    return np.asarray(predictor.probabilities.argmax(axis=1) == prepared.labels(prepared.parts.test))
