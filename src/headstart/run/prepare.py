"""What `fit` and `compare` begin with: the data is read, checked, split and turned into features."""

from __future__ import annotations

from typing import Any

from headstart.base.config import cache_dir
from headstart.base.errors import UsageError
from headstart.base.progress import Progress
from headstart.data.audit import check_bad, check_conflicts
from headstart.data.dataset import Dataset
from headstart.data.modality import MODALITIES
from headstart.data.readers.open import open_dataset
from headstart.data.split import split
from headstart.features.extract import extract
from headstart.run.clock import Clock
from headstart.run.options import FitOptions
from headstart.run.prepared import PreparedData
from headstart.sources.base import COMMIT, Source
from headstart.sources.registry import open_source
from headstart.tune.settings import NONE

MAKE_ONE = "make one (headstart pretrain DATA --arch arch:resnet9 --out FOLDER) and name it: --source file:FOLDER"


def prepare(data: Any, options: FitOptions, progress: Progress, clock: Clock) -> PreparedData:
    """Read, check and split the data, and compute its features or find them in the cache."""
    with clock.part("read"):
        dataset = open_dataset(data, root=options.root, columns=options.column_names)
    source = source_for(dataset, options)
    if COMMIT.fullmatch(source.info.revision):
        progress.say(f"{source.info.uri} is at revision {source.info.revision}")
    with clock.part("extract"):
        extraction = extract(dataset, source, engine=options.engine, cache=cache_dir(), progress=progress)
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
    return PreparedData(parts, source, extraction, options.engine)


def source_for(dataset: Dataset, options: FitOptions) -> Source:
    """Open the source that was asked for, or the default of the kind of data.

    Raises:
        UsageError: it reads examples of another kind.
    """
    source = open_source(
        options.source if options.source is not None else default_source(dataset),
        weights=options.weights,
        layer=options.layer,
        seed=options.seed,
        arch=options.arch,
        size=options.source_size,
        long=options.long_texts,
    )
    if options.tuning.mode != NONE:
        options.tuning.check_kind(dataset.kind)
    if source.info.kind != dataset.kind:
        raise UsageError(
            f"a source for {dataset.name} must read {dataset.items}",
            f"{source.info.uri}, which reads {MODALITIES[source.info.kind].plural}",
            f"use {dataset.modality.default_source}, or leave --source out"
            if dataset.modality.default_source
            else MAKE_ONE,
        )
    return source


def default_source(dataset: Dataset) -> str:
    """Return the URI of the source for this kind of data, where none is named.

    Raises:
        UsageError: there is none for recordings.
    """
    if dataset.modality.default_source is None:
        raise UsageError(
            f"{dataset.items} need a source that is named, since none comes with headstart", "no --source", MAKE_ONE
        )
    return dataset.modality.default_source
