"""Which source? The command `rank`: each source measured on the data, and the cheapest of the best recommended."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import inf
from pathlib import Path
from typing import Any

from headstart.base.config import cache_dir
from headstart.base.errors import MissingExtra, SourceError
from headstart.base.progress import Progress, progress_in_python
from headstart.data.dataset import Dataset
from headstart.features.extract import extract_again
from headstart.ranking.candidates import CandidateSource, Failure, open_candidates
from headstart.ranking.combining import with_combinations, with_variants
from headstart.ranking.measuring import Learned, Ranking, learned_of, measure, measure_baseline, measure_candidates
from headstart.ranking.options import RankOptions
from headstart.ranking.result import RankResult, build_rank_result, write_ranking
from headstart.run.baseline import fit_baseline
from headstart.run.clock import Clock
from headstart.run.from_python import from_python, warn
from headstart.run.prepare import PreparedData, prepare_dataset, read_dataset
from headstart.scale.ray_cluster import on_its_cluster
from headstart.sources.base import Source


@from_python(RankOptions)
def rank(  # noqa: PLR0913
    data: Any,
    *,
    path_column: str | None = None,
    text_column: str | Sequence[str] | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
    group_column: str | None = None,
    time_column: str | None = None,
    id_column: str | None = None,
    columns: Mapping[str, str] | Sequence[str] | str | None = None,
    root: str | Path | None = None,
    label_from: str | None = None,
    group_by: str | None = None,
    follow_links: bool = False,
    labels_per_class: int | None = None,
    long_texts: str = "cut",
    window: float | None = None,
    hop: float | None = None,
    drop_test_duplicates: bool = False,
    allow_broken: bool = False,
    sources: str | Source | Sequence[str | Source] | None = None,
    layer: str | Sequence[str] | None = None,
    scores: bool = False,
    out: str | Path | None = None,
    budget: str | float | None = None,
    seed: int = 0,
    engine: str = "auto",
    cluster: str | None = None,
    shards: str | None = None,
    resume: bool = False,
    progress: Progress | bool = True,
) -> RankResult:
    """Measure which source is worth most on your data, and recommend the cheapest of the best.

    The options are those of `headstart rank`, under the same names; `sources` is its `--source`.

    Args:
        data: a path in any of the accepted forms, a pair (items, labels), or a data set of the library `datasets`.
        OPTIONS
        progress: where progress is shown; by default in a terminal or notebook, and with False nowhere.

    Returns:
        The ranking: `recommended`, `candidates` and everything else in `result`.

    Raises:
        UsageError: the data or an option cannot be used, or no source can; the message says what to do.
    """
    result = run_rank(data, RankOptions.for_run(locals()), progress_in_python(progress))
    if out is not None:
        write_ranking(Path(out), result)
    warn(result.result["warnings"], RankOptions)
    return result


@on_its_cluster
def run_rank(data: Any, options: RankOptions, progress: Progress) -> RankResult:
    """Do the whole ranking: read, open the candidates, measure them on more and more examples, and recommend one."""
    clock = Clock()
    prepared, ranking = rank_dataset(read_dataset(data, options, clock), options, progress, clock)
    with clock.part("head"):
        baseline = measure_baseline(prepared, ranking.best.learned, seed=options.seed)
    keep_all_features(prepared, ranking, progress, clock)
    return build_rank_result(prepared, ranking, baseline, options=options, clock=clock)


def rank_dataset(
    dataset: Dataset,
    options: RankOptions,
    progress: Progress,
    clock: Clock,
    *,
    trainable: bool = False,
    most_work: float | None = None,
) -> tuple[PreparedData, Ranking]:
    """Return the data, prepared by the cheapest candidate, and what was measured of all of them.

    Variants of the best are measured as far as all extraction is stated to take at most `most_work` times what the
    cheapest takes for all examples, and a mean costs at most as many times what that one does; None for all of them.
    """
    start = time.perf_counter()
    candidates, failures = open_candidates(dataset, options, trainable=trainable)
    prepared, candidates, unable = _prepared_by_the_cheapest(dataset, candidates, options, progress, clock)
    words = fit_baseline(prepared, seed=options.seed).text_baseline if dataset.kind == "text" else None
    learned = learned_of(prepared, None if words is None else words.choice.out_of_fold, options.seed)

    def out_of_time() -> bool:
        return options.budget is not None and time.perf_counter() - start > options.budget

    with clock.part("head"):
        ranking = measure_candidates(
            prepared, candidates, learned, seed=options.seed, out_of_time=out_of_time, progress=progress
        )
        if options.sources is None and options.layer is None and not trainable:
            own = partial(measure, prepared, learned=ranking.best.learned, seed=options.seed, progress=progress)
            variants = within_work(ranking.best.candidate.variants(), candidates, prepared, learned, most_work)
            ranking = with_variants(ranking, variants, own, out_of_time)
    if options.layer is None and not trainable:
        ranking = with_combinations(ranking, most_cost=(most_work or inf) * candidates[0].cost)
    return prepared, replace(ranking, failures=(*failures, *unable, *ranking.failures))


def within_work(
    variants: Sequence[CandidateSource],
    candidates: Sequence[CandidateSource],
    prepared: PreparedData,
    learned: Learned,
    most_work: float | None,
) -> list[CandidateSource]:
    """Return the variants that are measured, in their order, by stated costs; arguments as of `rank_dataset`."""
    first, *others = candidates
    measured = len(learned.positions) / len(prepared.scan.dataset)
    work, affordable = 1 + measured * sum(each.cost for each in others) / first.cost, []
    for variant in variants:
        more = measured * variant.cost / first.cost
        if most_work is None or work + more <= most_work:
            work += more
            affordable.append(variant)
    return affordable


def _prepared_by_the_cheapest(
    dataset: Dataset, candidates: Sequence[CandidateSource], options: RankOptions, progress: Progress, clock: Clock
) -> tuple[PreparedData, list[CandidateSource], list[Failure]]:
    """Return the data, prepared by the first source that can compute features here, and what is left of the others."""
    failures = []
    for place, candidate in enumerate(candidates):
        try:
            prepared = prepare_dataset(dataset, candidate.source, options.fitting, progress, clock)
        except (SourceError, MissingExtra) as error:
            failures.append(Failure(candidate.uri, str(error)))
        else:
            return prepared, list(candidates[place:]), failures
    raise SourceError(
        "a source to rank must give features", "; ".join(each.reason for each in failures), "name another with --source"
    )


def keep_all_features(prepared: PreparedData, ranking: Ranking, progress: Progress, clock: Clock) -> None:
    """Compute what the cache lacks of the recommended source's features, so that a `fit` finds all of them."""
    source = ranking.recommended.candidate.source
    if source is not prepared.source:
        with clock.part("extract"):
            positions = range(len(prepared.scan.dataset))
            extract_again(
                prepared.scan, positions, source, cache=cache_dir(), engine=prepared.engine, progress=progress
            )
