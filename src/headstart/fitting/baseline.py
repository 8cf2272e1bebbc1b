"""The baseline without a source, which is remembered like the choice of a head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.cache import Arrays
from headstart.data.text import texts_at
from headstart.fitting.choice_cache import choice_key, remembered_choice
from headstart.fitting.words import TextBaseline, fit_text_baseline
from headstart.heads.tfidf import TfidfChoice
from headstart.judge.baselines import SIMPLE_BASELINES
from headstart.run.prepared import PreparedData


@dataclass(frozen=True)
class BaselineResult:
    """What needs no source: raw pixels or TF-IDF with logistic regression.

    Attributes:
        probabilities: float32 of shape (n, c), of the test examples.
    """

    probabilities: NDArray[np.float32]
    text_baseline: TextBaseline | None = None


def fit_baseline(prepared: PreparedData, *, seed: int) -> BaselineResult:
    """Return what the simple baseline of this kind of examples says of the test part; it too is remembered."""
    if prepared.scan.dataset.kind == "text":
        text_baseline = _fit_text_baseline(prepared, seed)
        return BaselineResult(text_baseline.probabilities, text_baseline)
    parts, c = prepared.parts, len(prepared.scan.dataset.classes)
    kind, y = prepared.scan.dataset.kind, prepared.labels(parts.train)
    train, test = prepared.baseline_inputs(parts.train), prepared.baseline_inputs(parts.test)
    key = choice_key(f"simple {kind}", [train, y, test], {"classes": c, "seed": seed})
    baseline = SIMPLE_BASELINES[kind]
    _, arrays = remembered_choice(key, lambda: ({}, {"probabilities": baseline(train, y, test, c=c, seed=seed)}))
    return BaselineResult(arrays["probabilities"])


def _fit_text_baseline(prepared: PreparedData, seed: int) -> TextBaseline:
    parts, dataset, hashes = prepared.parts, prepared.scan.dataset, prepared.scan.hashes
    train, test = texts_at(dataset, parts.train), texts_at(dataset, parts.test)
    y, c = prepared.labels(parts.train), len(dataset.classes)
    positions = {"train": parts.train, "test": parts.test}
    inputs = {name: [hashes[position] for position in part] for name, part in positions.items()}

    def choose() -> tuple[dict[str, Any], Arrays]:
        text_baseline = fit_text_baseline(train, test, y, c, seed=seed)
        plain, arrays = text_baseline.choice.to_parts()
        return plain, {**arrays, "probabilities": text_baseline.probabilities}

    plain, arrays = remembered_choice(choice_key("words", [y], {**inputs, "classes": c, "seed": seed}), choose)
    return TextBaseline(TfidfChoice.from_parts(plain, arrays), train, test, arrays["probabilities"])
