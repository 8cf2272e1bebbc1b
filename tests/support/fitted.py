"""The steps of `fit` up to a chosen head, for tests of what comes after them."""

from __future__ import annotations

from typing import Any

from headstart.base.progress import Progress
from headstart.fitting.predictor import Fitted, select_layer_and_head, source_predictor
from headstart.run.baseline import fit_baseline
from headstart.run.clock import Clock
from headstart.run.options import FitOptions
from headstart.run.prepare import PreparedData, prepare
from headstart.sources.base import Source


def prepared_on(data: Any, source: Source | str, **options: Any) -> PreparedData:
    """Return data that is read, split and turned into the features of a source at `pool`, by torch."""
    options = {"layer": "pool", "engine": "torch", **options}
    return prepare(data, FitOptions(source=source, **options), Progress(), Clock())


def fitted_on(prepared: PreparedData, *, seed: int = 0) -> Fitted:
    """Return what the frozen source makes of prepared data."""
    choice = select_layer_and_head(prepared, seed=seed)
    baseline = fit_baseline(prepared, seed=seed)
    return Fitted(prepared, choice, baseline, source_predictor(prepared, choice, baseline))
