"""Heads that are fitted by steps, against `scipy.optimize.minimize`; heads on words, against scikit-learn.

Usage: python bench/heads.py DATA [features] [words]     (the folder that holds flowers5.tar, trec6.tar, …)

`features`: each line is one cross-validation of one kind of head along its path of penalties, on the same folds.
`stacked` gives scipy the sum of the losses of all folds as one function; `fold by fold` calls it once for each fold.
Both stop at the same relative descent as ours. The gap is that of the log loss to a path that is followed to 1e-8.
`words`: CPU seconds of counting words and fitting heads on them, and as many times that as the others take.
"""

from __future__ import annotations

import csv
import io
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

import headstart as hs
from headstart.heads import convex, cross_validation, tfidf
from headstart.heads.convex import CONVEX_LOSSES, FoldHeads, minimise
from machine import machine

FIT_CONVEX = cross_validation.fit_convex
Case = tuple[str, NDArray[np.float32], NDArray[np.int64]]


def scipy_minimise(losses: Any, start: Any, *, tolerance: float, steps: int, memory: int = 10) -> Any:
    """Return what `convex.minimise` returns, by scipy on the sum of the functions."""

    def summed(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        values, gradients = losses(flat.reshape(start.shape))
        return values.sum(), gradients.ravel()

    limits = {"maxcor": memory, "ftol": tolerance, "gtol": 0, "maxiter": steps, "maxfun": 20 * steps}
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


def labelled_texts(data: Path, name: str) -> tuple[list[str], NDArray[np.int64]]:
    """Return the training texts of a set (all, where it has no parts) and their class ids."""
    with tarfile.open(data / f"{name}.tar") as archive:
        part = next(path for path in archive.getnames() if path.endswith(("/train.csv", "/all.csv")))
        table = archive.extractfile(part)
        assert table is not None
        rows = list(csv.DictReader(io.TextIOWrapper(table, "utf-8", newline="")))
    y = np.unique([row["label"] for row in rows], return_inverse=True)[1]
    return [row["text"] for row in rows], y.astype(np.int64)


def cpu_seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def regression(x: Any, y: NDArray[np.int64], folds: int = 3) -> NDArray[np.float64]:
    """Return out-of-fold log losses by penalty of scikit-learn's logistic regression, and fit the best on all rows."""
    from sklearn.linear_model import LogisticRegression

    fold_of, model = np.arange(len(y)) % folds, LogisticRegression(warm_start=True, max_iter=300)
    losses = np.zeros((len(tfidf.TFIDF_PENALTIES), len(y)))
    for rows in [*(fold_of != fold for fold in range(folds)), np.ones(len(y), bool)]:
        for number, penalty in enumerate(tfidf.TFIDF_PENALTIES):
            model.set_params(C=1 / penalty).fit(x[rows], y[rows])
            if not rows.all():
                probabilities = model.predict_proba(x[~rows])
                losses[number, ~rows] = -np.log(probabilities[np.arange((~rows).sum()), y[~rows]])
    return losses.mean(axis=1)


def vectors(texts: list[str]) -> Any:
    counts = tfidf.count_terms(texts)
    return counts.vectors(counts.vocabulary(np.ones(len(texts), np.int64)))


def words(data: Path) -> None:
    start = time.process_time()
    from sklearn.feature_extraction.text import TfidfVectorizer

    print(f"importing TfidfVectorizer: {time.process_time() - start:.2f} s of CPU")
    vectoriser = TfidfVectorizer(
        token_pattern=tfidf.TOKEN.pattern, ngram_range=(1, 2), min_df=2, sublinear_tf=True, dtype=np.float32
    )
    for name in ("trec6", "sst2", "sms_spam", "banking77"):
        texts, y = labelled_texts(data, name)
        ours, x = cpu_seconds(lambda texts=texts: vectors(texts))
        theirs, _ = cpu_seconds(lambda texts=texts: vectoriser.fit_transform(texts))
        tfidf.minimise = minimise
        whole, choice = cpu_seconds(lambda texts=texts, y=y: tfidf.choose_tfidf(texts, y, int(y.max()) + 1, seed=0))
        loss = -np.log(choice.out_of_fold[np.arange(len(y)), y]).mean()
        tfidf.minimise = scipy_minimise
        scipy, other = cpu_seconds(lambda texts=texts, y=y: tfidf.choose_tfidf(texts, y, int(y.max()) + 1, seed=0))
        scipy_loss = -np.log(other.out_of_fold[np.arange(len(y)), y]).mean()
        print(
            f"{name}: {x.shape[1]:,} terms; vectors {ours:.2f} s, scikit-learn "
            f"{theirs / ours:.1f} times; all {whole:.2f} s, log loss {loss:.4f}; with scipy's L-BFGS "
            f"{scipy / whole:.1f} times, {scipy_loss:.4f}",
            flush=True,
        )
        with threadpool_limits(1):
            seconds, losses = cpu_seconds(lambda x=x, y=y: regression(x, y))
        heads = whole - ours
        print(
            f"{name}: LogisticRegression {seconds / heads:.1f} times our heads, {losses.min():.4f} uncalibrated",
            flush=True,
        )


def features(data: Path) -> None:
    for cases in (photos(data), drawn()):
        for name, x, y in cases:
            task = cross_validation.cross_validation_task(x, y, int(y.max()) + 1, seed=0, folds=5)
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


def main() -> None:
    print(machine())
    parts = sys.argv[2:] or ["features", "words"]
    for part in parts:
        {"features": features, "words": words}[part](Path(sys.argv[1]))


if __name__ == "__main__":
    main()
