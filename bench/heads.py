"""Heads that are fitted by steps: L-BFGS that keeps one memory per fold, against `scipy.optimize.minimize`.

Usage: python bench/heads.py DATA     (the folder that holds flowers5.tar)

Each line is one cross-validation of one kind of head along its path of penalties, on the same folds. `stacked` gives
scipy the sum of the losses of all folds as one function; `fold by fold` calls it once for each fold. Both stop at the
same relative descent as ours. The gap is that of the log loss to a path that is followed to 1e-8.
"""

from __future__ import annotations

import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

import headstart as hs
from headstart.heads import convex, cross_validation
from headstart.heads.convex import FoldHeads
from headstart.heads.lbfgs import minimise
from headstart.heads.losses import CONVEX_LOSSES
from machine import machine

FIT_CONVEX = cross_validation.fit_convex
Case = tuple[str, NDArray[np.float32], NDArray[np.int64]]


def scipy_minimise(losses: Any, start: Any, *, tolerance: float, steps: int) -> Any:
    """Return what `lbfgs.minimise` returns, by scipy on the sum of the functions."""

    def summed(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        values, gradients = losses(flat.reshape(start.shape))
        return values.sum(), gradients.ravel()

    limits = {"maxcor": 10, "ftol": tolerance, "gtol": 0, "maxiter": steps, "maxfun": 20 * steps}
    return minimize(summed, start.ravel(), jac=True, method="L-BFGS-B", options=limits).x.reshape(start.shape)


def fold_by_fold(loss: Any, principal: Any, y: Any, c: int, *, weights: Any, **options: Any) -> Iterator[FoldHeads]:
    """Yield what `convex.fit_convex` yields, one fold after the other."""
    paths = [FIT_CONVEX(loss, principal, y, c, weights=row[None], **options) for row in weights]
    for heads in zip(*paths, strict=True):
        yield FoldHeads(
            np.concatenate([head.coefficients for head in heads]), np.concatenate([head.intercept for head in heads])
        )


def photos(data: Path) -> Iterator[Case]:
    with tempfile.TemporaryDirectory() as work:
        with tarfile.open(data / "flowers5.tar") as archive:
            archive.extractall(work, filter="data")
        paths = sorted(Path(work).glob("flowers5/train/*/*.jpg"))
        y = np.unique([path.parent.name for path in paths], return_inverse=True)[1].astype(np.int64)
        for layer in ("pool", "joined"):
            yield f"flowers5 {layer}", hs.SourceFeatures(layer=layer).fit_transform(paths), y


def drawn() -> Iterator[Case]:
    """Yield classes that overlap, with columns of falling deviation as features have."""
    for n, d, c in ((2_000, 1_280, 10), (5_000, 3_656, 5), (5_000, 256, 77), (5_000, 1_280, 77)):
        rng = np.random.default_rng(0)
        y = rng.permutation(np.arange(n) % c).astype(np.int64)
        x = (rng.normal(size=(c, d)) * 0.15)[y] + rng.normal(size=(n, d))
        mixed = np.maximum(x / np.sqrt(1 + np.arange(d)) @ rng.normal(size=(d, d)), 0)
        yield f"drawn {n:,} x {d:,}, {c} classes", mixed.astype(np.float32), y


def path(task: Any, kind: str, *, scipy: bool, stacked: bool, tolerance: float = 1e-4) -> tuple[float, float]:
    """Return CPU seconds of one path of penalties, and the least log loss on it."""
    convex.minimise = scipy_minimise if scipy else minimise
    cross_validation.fit_convex = FIT_CONVEX if stacked else fold_by_fold
    start = time.process_time()
    trial = cross_validation.cross_validate(task, kind, CONVEX_LOSSES[kind].penalties[1::2], tolerance=tolerance)
    return time.process_time() - start, trial.log_loss


def main() -> None:
    print(machine())
    for cases in (photos(Path(sys.argv[1])), drawn()):
        for name, x, y in cases:
            task = cross_validation.cross_validation_task(x, y, seed=0, folds=5)
            for kind in ("svm", "logistic"):
                least = path(task, kind, scipy=False, stacked=True, tolerance=1e-8)[1]
                ours, loss = path(task, kind, scipy=False, stacked=True)
                print(
                    f"{name}, {kind}: log loss {least:.4f}; ours {ours:.2f} s of CPU, gap {loss - least:+.5f}", end=""
                )
                for label, stacked in (("stacked", True), ("fold by fold", False)):
                    seconds, loss = path(task, kind, scipy=True, stacked=stacked)
                    print(f"; scipy {label} {seconds / ours:.1f} times, gap {loss - least:+.5f}", end="")
                print(flush=True)


if __name__ == "__main__":
    main()
