"""Where no source is named and a kind of examples has several by default: each is tried, and the best kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from headstart.base.config import cache_dir
from headstart.base.errors import UsageError
from headstart.base.progress import Progress
from headstart.features.extract import extract_again
from headstart.fitting.predictor import select_layer_and_head
from headstart.heads.folds import weighted_mean
from headstart.heads.select import HeadChoice
from headstart.judge.metrics import log_losses
from headstart.run.clock import Clock
from headstart.run.options import FitOptions
from headstart.run.prepare import PreparedData, source_for
from headstart.sources.layers import AUTO
from headstart.tune.settings import NONE

Judged = tuple[PreparedData, HeadChoice]


def further_defaults(prepared: PreparedData, options: FitOptions) -> tuple[str, ...]:
    """Return the default sources that are tried beside the first.

    None where a source, a layer or its weights are named, or where tuning or a budget will take the time.
    """
    named = options.source is not None or options.layer != AUTO or str(options.weights) != "pretrained"
    hurried = options.tuning.mode != NONE or options.budget is not None
    return () if named or hurried else prepared.scan.dataset.modality.further_sources


def best_default(first: Judged, options: FitOptions, progress: Progress, clock: Clock) -> Judged:
    """Return the default source with the least log loss on unseen examples, and the head chosen on it.

    A later one replaces those before it where it gains more than one standard error of the paired difference. One that
    cannot be opened here is left out, and said.
    """
    best = first
    for uri in further_defaults(first[0], options):
        try:
            second = _judged_on(uri, first[0], options, progress, clock)
        except UsageError as error:
            progress.say(f"{uri} is not tried: {error}")
            continue
        gain, standard_error = _gain(second, best)
        kept, left = (second, best) if gain > standard_error else (best, second)
        losses = [f"{each[0].source.info.uri} ({each[1].log_loss:.3f})" for each in (kept, left)]
        progress.say(f"By the log loss of unseen examples {losses[0]} is kept, not {losses[1]}")
        best = kept
    return best


def _judged_on(uri: str, prepared: PreparedData, options: FitOptions, progress: Progress, clock: Clock) -> Judged:
    """Return the data with the features of another source, and the layer and head chosen on them."""
    scanned, before = prepared.scan, prepared.extraction
    source = source_for(scanned.dataset, options.changed(source=uri))
    with clock.part("extract"):
        again = extract_again(
            scanned,
            range(len(scanned.dataset)),
            source,
            cache=cache_dir(),
            engine=prepared.engine,
            progress=progress,
        )
    extraction = replace(again, scan=scanned, positions=before.positions, summary=before.summary)
    second = replace(prepared, source=source, extraction=extraction)
    with clock.part("head"):
        return second, select_layer_and_head(second, seed=options.seed)


def _gain(second: Judged, best: Judged) -> tuple[float, float]:
    """Return how much log loss one source gains over another on the same unseen examples, and its standard error."""
    prepared, choice = best
    learned = prepared.distinct(prepared.parts.train)
    y = prepared.labels(learned.positions)
    difference = log_losses(choice.out_of_fold, y) - log_losses(second[1].out_of_fold, y)
    return weighted_mean(difference, learned.counts.astype(np.float64))
