"""What every command begins with: the data is read, checked, split and turned into features."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.config import cache_dir
from headstart.base.errors import SourceError, UsageError
from headstart.base.extras import require
from headstart.base.hashing import COMMIT
from headstart.base.mapped import taken
from headstart.base.progress import Progress
from headstart.data.audit import Scan, check_bad, check_conflicts
from headstart.data.dataset import Dataset
from headstart.data.modality import MODALITIES
from headstart.data.split import Parts, clusters, split, unit_names
from headstart.data.text import texts_at
from headstart.features.extract import extract
from headstart.features.features import Extraction, Features
from headstart.features.modality import TextSummary
from headstart.features.relatives import offered_groups, with_relatives
from headstart.heads.folds import distinct_pairs
from headstart.heads.linear import LinearHead
from headstart.run.clock import Clock
from headstart.run.options import FitOptions, RunOptions
from headstart.scale.remote import open_anywhere
from headstart.sources.base import Source
from headstart.sources.layers import select_rows
from headstart.sources.registry import check_source, open_source
from headstart.tune.settings import NONE


@dataclass(frozen=True)
class DistinctExamples:
    """The distinct pairs of content and label among n examples."""

    positions: tuple[int, ...]  # in the data set, of the first example of each of the m pairs
    counts: NDArray[np.int64]  # int64 of shape (m,), how many of the n examples each pair stands for
    row_of: NDArray[np.intp]  # of shape (n,), the pair of each example


@dataclass(frozen=True)
class PreparedData:
    """Data that is read, checked, split and turned into features."""

    parts: Parts
    source: Source
    extraction: Extraction
    engine: str

    @property
    def scan(self) -> Scan:
        """The usable examples, with their hashes."""
        return self.extraction.scan

    @property
    def notes(self) -> tuple[str, ...]:
        """What its reader must know of the source, the data, the split and the features, one sentence each."""
        scanned = self.scan
        every = (self.source.info.notes, scanned.dataset.notes, scanned.notes, self.parts.notes, self.extraction.notes)
        return tuple(note for notes in every for note in notes)

    def features(self, layer: str, part: tuple[int, ...]) -> Features:
        """Return the features of one part, taken at `layer`."""
        dataset = self.scan.dataset
        x, blocks = select_rows(self.extraction.x, self._rows(part), self.extraction.blocks, layer)
        ids = tuple(dataset.examples[position].id for position in part)
        return Features(x, self.labels(part), ids, dataset.classes, blocks, self.extraction.made_by)

    def distinct(self, part: tuple[int, ...]) -> DistinctExamples:
        """Return one part without its copies, in the order of the data set where there are none."""
        first, row_of, counts = distinct_pairs(self._rows(part), self.labels(part), len(self.scan.dataset.classes))
        return DistinctExamples(tuple(part[at] for at in first), counts, row_of)

    def groups(self, positions: tuple[int, ...]) -> list[str] | None:
        """Return for each example what is held out together, by name; None where that is but its exact copies."""
        return unit_names(self.scan.dataset.examples, positions, self.scan.hashes)

    def clusters(self, positions: tuple[int, ...]) -> NDArray[np.intp]:
        """Return for each example the first of its cluster, see `split.clusters`."""
        return clusters(self.scan.dataset.examples, positions, self.scan.hashes)

    def predict_proba(self, head: LinearHead, layer: str, part: tuple[int, ...]) -> NDArray[np.float32]:
        """Return what a head predicts for one part, float32 of shape (n, c)."""
        tested = self.distinct(part)
        return head.predict_proba(self.features(layer, tested.positions).x)[tested.row_of]

    def _rows(self, part: tuple[int, ...]) -> NDArray[np.intp]:
        return self.extraction.row_of[np.asarray(part, dtype=np.intp)]

    def labels(self, part: tuple[int, ...]) -> NDArray[np.int64]:
        """Return the class ids of one part."""
        return self.scan.dataset.class_ids(part)

    def baseline_inputs(self, part: tuple[int, ...]) -> NDArray[np.uint8] | NDArray[np.float32]:
        """Return what the baseline without a source learns from, of the photos or recordings of one part."""
        assert not isinstance(self.extraction.summary, TextSummary)
        inputs: NDArray[Any] = self.extraction.summary.baseline_inputs
        return taken(inputs, self._rows(part))


def prepare(data: Any, options: FitOptions, progress: Progress, clock: Clock) -> PreparedData:
    """Read, check and split the data, and compute its features or find them in the cache."""
    if not isinstance(options.source, Source):
        check_source(options.source, weights=options.weights, arch=options.arch)
    dataset = read_dataset(data, options, clock)
    return prepare_dataset(dataset, source_for(dataset, options), options, progress, clock)


def read_dataset(data: Any, options: RunOptions, clock: Clock) -> Dataset:
    """Return the examples of the data, not yet read."""
    with clock.part("read"):
        return open_anywhere(data, **options.reading)


def prepare_dataset(
    dataset: Dataset, source: Source, options: FitOptions, progress: Progress, clock: Clock
) -> PreparedData:
    """Read, check and split examples, and compute their features by a source or find them in the cache."""
    if dataset.layout:
        progress.say(f"{dataset.name}: {dataset.layout}")
    if COMMIT.fullmatch(source.info.revision):
        progress.say(f"{source.info.uri} is at revision {source.info.revision}")
    with clock.part("extract"):
        extraction = extract(dataset, source, engine=options.engine, cache=cache_dir(), progress=progress)
        with progress.step("Looking for near copies"):
            extraction = with_relatives(extraction, cache_dir())
            groups = offered_groups(extraction.scan.dataset, extraction.x, extraction.row_of)
    scanned = extraction.scan
    check_bad(scanned.dataset, allow_broken=options.allow_broken)
    check_conflicts(scanned)
    if not extraction.misses:
        progress.say(f"Features of all {extraction.hits:,} examples were in the cache: nothing to extract")
    parts = split(
        scanned.dataset,
        scanned.hashes,
        seed=options.seed,
        labels_per_class=options.labels_per_class,
        drop_test_duplicates=options.drop_test_duplicates,
    )
    parts = parts if groups is None else replace(parts, notes=(*parts.notes, groups))
    return PreparedData(parts, source, extraction, options.engine)


def source_for(dataset: Dataset, options: FitOptions) -> Source:
    """Open the source that was asked for, or the default of the kind of data.

    UsageError: it reads examples of another kind. MissingExtra: a library that these are read with is not installed.
    """
    require(dataset.items, *dataset.modality.needs)
    default = dataset.modality.default_source
    source = open_source(
        options.source if options.source is not None else default,
        weights=options.weights,
        layer=options.layer,
        seed=options.seed,
        arch=options.arch,
        size=options.source_size,
        long=options.long_texts,
        window=options.window,
        hop=options.hop,
    )
    if options.tuning.mode != NONE:
        if source.members:
            raise SourceError("a source to tune must be one network", source.info.uri, "name one, or use --tune none")
        options.tuning.check_kind(dataset.kind)
    if source.info.kind != dataset.kind:
        raise UsageError(
            f"a source for {dataset.name} must read {dataset.items}",
            f"{source.info.uri}, which reads {MODALITIES[source.info.kind].plural}",
            f"use {default}, or leave --source out",
        )
    return source


def as_network(prepared: PreparedData, what: str, source: Source | None = None) -> Source:
    """Return a source whose weights can learn: a torch network as it is, a file of word vectors as an embedding layer.

    SourceError: it is a graph that only computes, or a table of token vectors.
    """
    source = source if source is not None else prepared.source
    dataset, parts = prepared.scan.dataset, prepared.parts
    network = source.as_trainable(
        lambda: texts_at(dataset, parts.train), lambda: texts_at(dataset, (*parts.validation, *parts.test))
    )
    if network is not None:
        return network
    raise SourceError(
        f"{what} needs a source that is a torch network",
        f"{source.info.uri}, {'a table of vectors' if source.info.kind == 'text' else 'a graph that only computes'}",
        f"leave it out, or take a network from {MODALITIES[source.info.kind].trainable_sources}",
    )
