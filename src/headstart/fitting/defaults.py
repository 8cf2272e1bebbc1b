"""Where no source is named and a kind of examples has several by default: each is tried, and the best kept."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.config import cache_dir
from headstart.base.errors import UsageError
from headstart.base.progress import Progress
from headstart.features.extract import extract_again
from headstart.fitting.predictor import select_layer_and_head
from headstart.heads.folds import weighted_mean
from headstart.heads.select import HeadChoice
from headstart.heads.stacking import unseen_losses
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


def best_default(
    first: Judged, options: FitOptions, progress: Progress, clock: Clock
) -> tuple[Judged, tuple[dict[str, Any], ...]]:
    """Return the default source with the least unseen log loss and the head chosen on it, and what was tried.

    A later one replaces those before it where it gains more than one standard error of the paired difference. One that
    cannot be opened here is left out, and said. What was tried is empty where there is but one, else for each source
    its URI, layer, head and log loss in nats, or the reason why it was left out.
    """
    best, tried = first, [_row(first)]
    for uri in further_defaults(first[0], options):
        try:
            second = _judged_on(uri, first[0], options, progress, clock)
        except UsageError as error:
            progress.say(f"{uri} is not tried: {error}")
            tried.append({"source": uri, "reason": str(error)})
            continue
        tried.append(_row(second))
        gain, standard_error = weighted_mean(_unseen(best)[0] - _unseen(second)[0], _unseen(best)[1])
        kept, left = (second, best) if gain > standard_error else (best, second)
        losses = ["{source} ({log_loss:.3f})".format(**_row(each)) for each in (kept, left)]
        progress.say(f"By the log loss of unseen examples {losses[0]} is kept, not {losses[1]}")
        best = kept
    return best, tuple(tried) if len(tried) > 1 else ()


def _row(judged: Judged) -> dict[str, Any]:
    prepared, choice = judged
    loss = weighted_mean(*_unseen(judged))[0]
    return {"source": prepared.source.info.uri, "layer": choice.layer, "head": choice.head.kind, "log_loss": loss}


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
    extraction = replace(again, scan=scanned, positions=before.positions)
    second = replace(prepared, source=source, extraction=extraction)
    with clock.part("head"):
        return second, select_layer_and_head(second, seed=options.seed)


def _unseen(judged: Judged) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the log loss of each training example by heads fitted without it, and its copies, float64 of shape (n,).

    It is measured as that of the simple baseline is.
    """
    prepared, choice = judged
    learned = prepared.distinct(prepared.parts.train)
    losses = unseen_losses([choice.out_of_fold], [1.0], prepared.labels(learned.positions))
    return losses, learned.counts.astype(np.float64)
