"""`--source auto`: the source of a run is the one that a ranking of all that are here recommends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headstart.base.errors import UsageError
from headstart.base.progress import Progress
from headstart.ranking.candidates import CandidateSource, open_candidates
from headstart.ranking.likeness import describe
from headstart.ranking.options import RankOptions
from headstart.ranking.rank import rank_dataset
from headstart.ranking.result import plain_candidates, recommendation
from headstart.run.clock import Clock
from headstart.run.options import FitOptions, ReaderOptions
from headstart.run.prepare import PreparedData, prepare, prepare_dataset, read_dataset, source_for
from headstart.sources.layers import AUTO

WORK_A_SECOND = 2e8
"""What a slow computer is stated to compute, in the unit of `CandidateSource.cost`."""
MOST_WORK = 4.0
"""Times what the cheapest source takes for all examples, what variants of the best may bring the extraction to."""
SHARE_OF_BUDGET = 0.1
"""Of the budget of a run, what extracting features of all candidates may take as it is stated."""


def prepare_by_best_source(
    data: Any, options: FitOptions, progress: Progress, clock: Clock, *, trainable: bool
) -> tuple[PreparedData, dict[str, Any] | None]:
    """Return the data, read and with the features of the source of the run, and the ranking that chose it.

    The ranking is as `result.json` holds it; None where the source was named, or is the default one. A source that is
    to be `trainable` is chosen among those that are.

    UsageError: what is asked for belongs to one source and not to `auto`.
    """
    asked, plain = isinstance(options.source, str) and options.source == AUTO, _is_plain(options)
    if asked and not plain:
        what = "--weights, --arch and --size must belong to one source"
        raise UsageError(what, "--source auto", "leave them out, or name the source")
    if not asked and (options.source is not None or options.budget is None or not plain):
        return prepare(data, options, progress, clock), None
    ranked, dataset = rank_options(options), read_dataset(data, options, clock)
    if not asked:
        candidates, _ = open_candidates(dataset, ranked, trainable=trainable)
        if not affordable(len(dataset), candidates, options.budget or 0.0):
            return prepare_dataset(dataset, source_for(dataset, options), options, progress, clock), None
    measured, ranking = rank_dataset(dataset, ranked, progress, clock, trainable=trainable, most_work=MOST_WORK)
    source = ranking.recommended.candidate.source
    sentence = recommendation(ranking, dataset.items)
    progress.say(sentence)
    target = describe(measured, ranking)
    record = {"sentence": sentence, "target": target, "candidates": plain_candidates(measured, ranking)}
    if source is measured.source and options.layer == AUTO:
        return measured, record
    return prepare_dataset(dataset, source.at(options.layer), options, progress, clock), record


def notes_of(record: dict[str, Any]) -> list[str]:
    """Return what the result of a run says of the ranking that chose its source, a sentence each."""
    return [f"The source was chosen by measuring: {record['sentence']}", record["target"]["sentence"]]


def rank_options(options: FitOptions) -> RankOptions:
    """Return the options of the ranking before a fit; the budget of a fit is for tuning."""
    shared = {name: getattr(options, name) for name in ReaderOptions.model_fields}
    layer = None if options.layer == AUTO else (options.layer,)
    return RankOptions(**shared, labels_per_class=options.labels_per_class, layer=layer)


def affordable(examples: int, candidates: Sequence[CandidateSource], budget: float) -> bool:
    """Return whether there are several candidates, and extracting from all is stated to take a tenth of the budget.

    The rule looks at the number of examples and at stated costs, never at a clock: the same data, sources and budget
    always give the same answer.
    """
    costs = [candidate.cost for candidate in candidates]
    work = examples * (sum(costs) + max((sum(each.cost for each in one.variants()) for one in candidates), default=0))
    return len(candidates) > 1 and work <= SHARE_OF_BUDGET * budget * WORK_A_SECOND


def _is_plain(options: FitOptions) -> bool:
    return options.weights == "pretrained" and options.arch is None and options.size is None
