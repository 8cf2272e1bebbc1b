"""Measuring candidates: features of more and more examples, of fewer and fewer sources, within the budget."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.cache import Arrays, read_record, write_record
from headstart.base.config import cache_dir
from headstart.base.errors import UsageError
from headstart.base.progress import Progress
from headstart.engines.base import Block, sample_of, stacked
from headstart.engines.select import open_engine
from headstart.features.extract import extract, extract_again
from headstart.features.features import Extraction
from headstart.judge.intervals import Clusters
from headstart.judge.scores import CLASS_SCORES, FEATURE_SCORES
from headstart.ranking.candidates import CandidateSource, Failure
from headstart.ranking.probe import (
    CURVE_SHARES,
    FIRST_RUNG,
    PROBE_VERSION,
    Difference,
    Unseen,
    accuracy_of,
    difference_of,
    mean_loss,
    mean_unseen,
    nested_order,
    probe,
    rungs,
    survivors,
)
from headstart.run.baseline import remembered_choice
from headstart.run.prepare import PreparedData
from headstart.sources.base import Source
from headstart.sources.layers import AUTO, POOL, select

SCORED_EXAMPLES = 2000
"""Distinct examples that transferability scores are computed on."""
TIMED_EXAMPLES = 64
"""Examples by which a source is timed whose features were all in the cache."""


@dataclass(frozen=True)
class Learned:
    """Examples that candidates are measured on: the first of the training part in an order drawn by the seed."""

    positions: tuple[int, ...]  # of the n distinct ones in the data set
    y: NDArray[np.int64]  # int64 of shape (n,)
    counts: NDArray[np.int64]  # int64 of shape (n,), how many equal examples each stands for
    groups: list[str] | None  # what is held out together, n names
    row_of: NDArray[np.intp]  # of shape (m,), the row of each of the m examples
    clusters: Clusters  # of shape (m,)
    words: NDArray[np.float32] | None  # of texts, what words alone say of each unseen, float32 of shape (n, c)

    def first(self, n: int) -> Learned:
        """Return the first n distinct examples."""
        mine = self.row_of < n
        return Learned(
            self.positions[:n],
            self.y[:n],
            self.counts[:n],
            None if self.groups is None else self.groups[:n],
            self.row_of[mine],
            None if self.clusters is None else self.clusters[mine],
            None if self.words is None else self.words[:n],
        )


@dataclass(frozen=True)
class CandidateResult:
    """One candidate on the examples of one rung."""

    candidate: CandidateSource
    layer: str
    unseen: Unseen
    learned: Learned
    features: int  # how many numbers the layer has
    ms_per_example: float  # to read, decode and run one
    members: tuple[CandidateResult, ...] = ()  # of a mean of several sources

    @property
    def key(self) -> tuple[int, str]:
        """What tells candidates apart in one ranking."""
        return id(self.candidate), self.layer

    @property
    def log_loss(self) -> float:
        """Of unseen examples, in nats."""
        return mean_loss(self.unseen, self.learned.row_of)


@dataclass(frozen=True)
class Ranking:
    """What was measured: every rung, the one of the fewest examples first."""

    rungs: tuple[tuple[CandidateResult, ...], ...]  # the rows of each, the best first
    failures: tuple[Failure, ...]
    unmeasured: tuple[CandidateSource, ...]  # for which no budget was left

    @property
    def rows(self) -> tuple[CandidateResult, ...]:
        """Each candidate where it was measured on the most examples: the best first, then what was left out early."""
        latest: dict[tuple[int, str], CandidateResult] = {}
        for row in (row for rung in reversed(self.rungs) for row in rung):
            latest.setdefault(row.key, row)
        return tuple(latest.values())

    @property
    def best(self) -> CandidateResult:
        """The candidate with the least log loss on all examples that were measured."""
        return self.rungs[-1][0]

    def difference(self, row: CandidateResult) -> Difference:
        """Return a candidate minus the best one, on the examples that it was measured on."""
        return self._differences[row.key]

    @cached_property
    def _differences(self) -> dict[tuple[int, str], Difference]:
        return {row.key: self._paired(row) for row in self.rows}

    def _paired(self, row: CandidateResult) -> Difference:
        rung = next(rung for rung in self.rungs if len(rung[0].learned.y) == len(row.learned.y))
        best = next(each for each in rung if each.key == self.best.key)
        return difference_of(row.unseen, best.unseen, row.learned.row_of, row.learned.clusters)

    @property
    def recommended(self) -> CandidateResult:
        """The cheapest of those whose log loss is within one standard error of the best."""
        return self.close()[0]

    def close(self) -> tuple[CandidateResult, ...]:
        """Return the candidates within one standard error of the best, the cheapest first."""
        return tuple(row for row in self.tied() if self.difference(row).close)

    def tied(self) -> tuple[CandidateResult, ...]:
        """Return the candidates that nothing tells from the best, the cheapest first."""
        level = [row for row in self.rungs[-1] if self.difference(row).tied]
        return tuple(sorted(level, key=lambda row: (row.candidate.cost, row.features, row.log_loss)))


def learned_of(prepared: PreparedData, words: NDArray[np.float32] | None, seed: int) -> Learned:
    """Return the training part without its copies, in the order in which rungs take from it."""
    part = prepared.parts.train
    distinct = prepared.distinct(part)
    order = nested_order(prepared.labels(distinct.positions), seed)
    place = np.empty(len(order), np.intp)
    place[order] = np.arange(len(order))
    positions = tuple(distinct.positions[row] for row in order)
    return Learned(
        positions,
        prepared.labels(positions),
        distinct.counts[order],
        prepared.groups(positions),
        place[distinct.row_of],
        prepared.clusters(part),
        None if words is None else words[order],
    )


def measure_candidates(
    prepared: PreparedData,
    candidates: Sequence[CandidateSource],
    learned: Learned,
    *,
    seed: int,
    out_of_time: Callable[[], bool],
    progress: Progress,
    first: int = FIRST_RUNG,
) -> Ranking:
    """Measure every source on few examples, and what may be best among them on more (successive halving).

    Jamieson & Talwalkar 2016, Non-stochastic best arm identification. A rung that the budget cuts short counts only
    where it is the first: figures on different examples cannot be compared.
    """
    alive, failures = list(candidates), list[Failure]()
    done: list[tuple[CandidateResult, ...]] = []
    unmeasured: list[CandidateSource] = []
    for size in rungs(len(learned.y), len(np.unique(learned.y)), first):
        some, rows, left = learned.first(size), list[CandidateResult](), list(alive)
        progress.say(f"Measuring {len(alive)} sources on {len(some.row_of):,} examples")
        while left and not (out_of_time() and (rows or done)):
            candidate = left.pop(0)
            try:
                rows += measure(prepared, candidate, some, seed=seed, progress=progress)
            except UsageError as error:
                failures.append(Failure(candidate.uri, str(error)))
        if not done:
            unmeasured = left
        if not rows or (left and done):
            break
        done.append(tuple(sorted(rows, key=lambda row: (row.log_loss, row.candidate.cost, row.layer))))
        alive = [candidate for candidate in alive if candidate in _surviving(done[-1])]
    if not done:
        raise UsageError("a source must give features", "; ".join(each.reason for each in failures), "name another")
    return Ranking(tuple(done), tuple(failures), tuple(unmeasured))


def _surviving(rung: Sequence[CandidateResult]) -> list[CandidateSource]:
    """Return the sources that go on to the next rung, each by the best of its layers."""
    best_of: dict[int, CandidateResult] = {}
    for row in rung:
        best_of.setdefault(id(row.candidate), row)
    rows = list(best_of.values())
    learned = rung[0].learned
    tied = [difference_of(row.unseen, rung[0].unseen, learned.row_of, learned.clusters).tied for row in rows]
    return [rows[place].candidate for place in survivors([row.log_loss for row in rows], tied)]


def measure(
    prepared: PreparedData, candidate: CandidateSource, learned: Learned, *, seed: int, progress: Progress
) -> list[CandidateResult]:
    """Return what heads on each layer of a source say of unseen examples; the features stay in the cache.

    UsageError: the source cannot compute features here.
    """
    x, blocks, milliseconds = _features(prepared, candidate.source, learned, progress)
    rows = []
    for layer in candidate.layers:
        columns, _ = select(x, blocks, layer)
        unseen = remembered_probe(columns, learned, len(prepared.scan.dataset.classes), seed=seed)
        rows.append(CandidateResult(candidate, layer, unseen, learned, columns.shape[1], milliseconds))
    return rows


def remembered_probe(x: NDArray[np.floating], learned: Learned, c: int, *, seed: int) -> Unseen:
    """Return what `probe` says of the same numbers, or said before."""
    arrays = [x, learned.y, learned.counts, *([] if learned.words is None else [learned.words])]

    def choose() -> tuple[dict[str, Any], Arrays]:
        unseen = probe(x, learned.y, c, seed=seed, groups=learned.groups, counts=learned.counts, words=learned.words)
        return {}, {"probabilities": unseen.probabilities, "tested": unseen.tested}

    key = {"classes": c, "seed": seed, "probe": PROBE_VERSION, "groups": learned.groups or []}
    _, remembered = remembered_choice("probe", arrays, key, choose)
    return Unseen(remembered["probabilities"], learned.y, remembered["tested"])


def learning_curve(prepared: PreparedData, row: CandidateResult, *, seed: int) -> list[dict[str, Any]]:
    """Return the accuracy of a candidate on unseen examples by how many labels it was measured with.

    A number of labels that leaves a class without two of them is left out.
    """
    members = row.members or (row,)
    columns_of = [_columns(prepared, member, row.learned) for member in members]
    c, points = len(prepared.scan.dataset.classes), []
    for share in CURVE_SHARES:
        some = row.learned.first(int(np.ceil(share * len(row.learned.y))))
        if (
            np.bincount(some.y, minlength=int(row.learned.y.max()) + 1)[np.unique(row.learned.y)].min() >= 2
            or share == 1
        ):
            every = [remembered_probe(columns[: len(some.y)], some, c, seed=seed) for columns in columns_of]
            unseen = mean_unseen(every, some.counts) if row.members else every[0]
            accuracy = accuracy_of(unseen, some.row_of, some.clusters)
            points.append({"labels": len(some.row_of), "accuracy": accuracy.as_dict()})
    return points


def scores_of(prepared: PreparedData, row: CandidateResult) -> dict[str, float | None]:
    """Return the transferability scores of a candidate by name, on SCORED_EXAMPLES at most; None where it has none."""
    if row.members:
        return dict.fromkeys((*FEATURE_SCORES, *CLASS_SCORES))
    some = row.learned.first(SCORED_EXAMPLES)
    columns, own = _columns(prepared, row, some), own_probabilities(prepared, row, some)
    return {
        **{name: score(columns, some.y) for name, score in FEATURE_SCORES.items()},
        **{name: None if own is None else score(own, some.y) for name, score in CLASS_SCORES.items()},
    }


def own_probabilities(prepared: PreparedData, row: CandidateResult, learned: Learned) -> NDArray[np.float32] | None:
    """Return what the source's own classifier says of examples, float32 of shape (n, k); None where it has none."""
    source, dataset = row.candidate.source, prepared.scan.dataset
    if source.members:
        return None
    if source.layer == AUTO and source.identity.classes:
        own = source.classify_pooled(_columns(prepared, replace(row, layer=POOL), learned))
        if own is not None:
            return own
    try:
        return source.classify([dataset.read(position) for position in learned.positions])
    except UsageError:
        return None


def measure_baseline(prepared: PreparedData, learned: Learned, *, seed: int) -> Unseen:
    """Return what the simple baseline of the data says of unseen examples: words, or a head on pixels or MFCC."""
    if learned.words is not None:
        return Unseen(learned.words[None], learned.y, np.ones(len(learned.y), np.bool_))
    inputs = prepared.baseline_inputs(learned.positions).astype(np.float32)
    return remembered_probe(inputs, learned, len(prepared.scan.dataset.classes), seed=seed)


def _columns(prepared: PreparedData, row: CandidateResult, learned: Learned) -> NDArray[np.float32]:
    x, blocks, _ = _features(prepared, row.candidate.source, learned, Progress())
    return select(x, blocks, row.layer)[0]


def _features(
    prepared: PreparedData, source: Source, learned: Learned, progress: Progress
) -> tuple[NDArray[np.float32], tuple[Block, ...], float]:
    """Return the features of distinct examples, all blocks of them, the blocks, and the milliseconds of an example."""
    extraction = prepared.extraction
    rows = extraction.row_of[list(learned.positions)]
    if source is not prepared.source:
        extraction = extract_again(
            prepared.scan,
            learned.positions,
            source,
            cache=cache_dir(),
            engine=prepared.engine,
            progress=progress,
        )
        rows = extraction.row_of
    milliseconds = _milliseconds(prepared, source, extraction, learned.positions[:TIMED_EXAMPLES])
    return extraction.x[rows], extraction.blocks, milliseconds


def _milliseconds(prepared: PreparedData, source: Source, extraction: Extraction, positions: tuple[int, ...]) -> float:
    """Return what an example takes to be read, decoded and run, timed once and then remembered."""
    path = cache_dir() / "costs" / f"{extraction.made_by}.json"
    if (remembered := read_record(path)) is not None:
        return float(remembered)
    dataset = prepared.scan.dataset.keep(list(positions))
    engine = open_engine(
        source.network(),
        sample=lambda: sample_of(stacked([source.prepare(dataset.read(0))]), 1),
        cache=cache_dir(),
        engine=prepared.engine,
    )
    start = time.perf_counter()
    extract(dataset, source, cache=cache_dir(), engine=engine, keep=False)
    milliseconds = 1000 * (time.perf_counter() - start) / len(positions)
    write_record(path, milliseconds)
    return milliseconds
