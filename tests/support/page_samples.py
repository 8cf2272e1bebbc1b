"""Results as each command has them, for tests of the pages that show them."""

from __future__ import annotations

import io
from functools import cache
from typing import Any

import numpy as np
from PIL import Image
from simulated import arms, simulate

from headstart.judge.benefit.benefit import Benefit, compute_benefit
from headstart.judge.benefit.results import ComparisonMeta
from headstart.judge.intervals import Interval
from headstart.judge.report.fit_page import Report, verdict


def jpeg() -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (16, 16), "orange").save(data, "JPEG")
    return data.getvalue()


def result_of(classes: list[str], confusion: np.ndarray[Any, Any], **more: Any) -> dict[str, Any]:
    right = float(np.trace(confusion) / confusion.sum())
    figure = {"value": right, "low": right - 0.05, "high": min(1, right + 0.04)}
    result = {
        "schema": 1,
        "task": "image-classification",
        "source": "packaged:efficientnet-lite0",
        "seed": 0,
        "examples": {"train": 244, "validation": 0, "test": int(confusion.sum()), "skipped": 2, "ignored": 1},
        "classes": classes,
        "test": {
            "accuracy": figure,
            "balanced_accuracy": figure,
            "macro_f1": figure,
            "log_loss": {"value": 0.192, "low": 0.12, "high": 0.27},
            "ece": {"value": 0.023, "low": 0.01, "high": 0.04},
        },
        "baselines": {"majority": 0.5, "simple": 0.625},
        "seconds": {"total": 3.5, "read": 0.25, "extract": 2.0, "head": 0.25, "tune": 0.0},
        "cache": {"hits": 1, "misses": 396},
        "engine": "openvino-bf16",
        "warnings": ["The given split is used."],
    }
    return result | more


def report_of(classes: list[str], confusion: np.ndarray[Any, Any], **more: Any) -> Report:
    result = result_of(classes, confusion)
    said = verdict(result, Interval(0.3, 0.2, 0.4), commonest=classes[0])
    return Report("ants_bees", result, said, confusion, **more)


def many(c: int, per: int = 20, seed: int = 0) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(seed)
    confusion = np.diag(np.full(c, per))
    np.add.at(confusion, (rng.integers(c, size=3 * c), rng.integers(c, size=3 * c)), 1)
    return confusion


TWO = np.array([[35, 5], [3, 37]])


def interval(value: float, half: float = 0.05) -> dict[str, float]:
    return {"value": value, "low": value - half, "high": value + half}


def row(source: str, accuracy: float, ms: float, *, tied: bool, **more: Any) -> dict[str, Any]:
    return {
        "source": source,
        "layer": "pool",
        "accuracy": interval(accuracy),
        "difference": interval(accuracy - 0.9),
        "log_loss": 0.5,
        "tied": tied,
        "ms_per_example": ms,
        "parameters": 3_400_000,
        "licence": "MIT",
        "examples": 120,
        "error": None,
        **more,
    }


def ranking(**more: Any) -> dict[str, Any]:
    curve = [{"labels": n, "accuracy": interval(0.5 + n / 400)} for n in (30, 60, 120)]
    return {
        "task": "image-classification",
        "sentence": "Use packaged:a at layer pool.",
        "recommended": "packaged:a<b>",
        "target": {"sentence": "120 photos are few.", "likeness": {"information": 0.25}},
        "candidates": [
            row("packaged:a<b>", 0.9, 1.0, tied=True),
            row("packaged:c", 0.7, 100.0, tied=False),
            {"source": "packaged:d", "accuracy": None, "error": "no such file", "tied": False},
        ],
        "baseline": {"name": "raw pixels", "accuracy": interval(0.4), "difference": interval(-0.5)},
        "curves": [{"source": "packaged:a<b>", "layer": "pool", "labels": curve}],
        "probe": {"splits": 3, "folds": 5, "examples": 120},
        "examples": {"train": 120, "test": 40, "skipped": 1, "ignored": 0},
        "classes": ["x", "y"],
        "warnings": ["1 broken example was skipped; result.json lists it."],
        "seed": 0,
        "seconds": {"total": 3.2},
        **more,
    }


@cache
def compared(**failures: str) -> Benefit:
    levels = ((25, 5, 0.7, 0.5), (50, 10, 0.8, 0.6), (100, 20, 0.85, 0.7), (200, None, 0.9, 0.8))
    results = [
        simulate(
            arms(start=0.5, tuned=tuned, scratch=(0.3, scratch)), n=200, seed=1, labels=labels, per_class=per_class
        )
        for labels, per_class, tuned, scratch in levels
    ]
    meta = ComparisonMeta("toy:source", "raw pixels with logistic regression", "photos")
    return compute_benefit(results, np.arange(200) % 5, meta, failures=failures)


def comparison(benefit: Benefit, **more: Any) -> dict[str, Any]:
    return {
        "task": "image-classification",
        "source": "toy:source",
        "seed": 0,
        "seeds": {"5": 5, "all": 3},
        "budget": 600.0,
        "examples": {"train": 200, "test": 200, "skipped": 0, "ignored": 1},
        "classes": ["<a>", "b"],
        "engine": "torch",
        "warnings": ["<b>note</b>"],
        "seconds": {"total": 512.0},
        **benefit.as_dict(),
        **more,
    }
