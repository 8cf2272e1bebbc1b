"""The main job, `fit`, as a short list of named steps."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
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
from headstart.fitting.findings import build_fit_result, frozen_predictor, stacked_predictor
from headstart.fitting.result import FitResult, write_out
from headstart.fitting.selection import fit_baseline, select_layer_and_head
from headstart.model import Model
from headstart.run.clock import Clock
from headstart.run.option_model import documented
from headstart.run.options import FitOptions
from headstart.run.prepared import PreparedData
from headstart.sources.base import Source
from headstart.sources.hub.repository import COMMIT
from headstart.sources.registry import open_source
from headstart.tune.settings import NONE

MAKE_ONE = "make one (headstart pretrain DATA --arch arch:resnet9 --out FOLDER) and name it: --source file:FOLDER"


@documented(FitOptions)
def fit(  # noqa: PLR0913, D417 (the decorator documents the options)
    data: Any,
    *,
    text_column: str | None = None,
    label_column: str | None = None,
    columns: Mapping[str, str] | str | None = None,
    root: str | Path | None = None,
    labels_per_class: int | None = None,
    long_texts: str = "cut",
    drop_test_duplicates: bool = False,
    allow_broken: bool = False,
    source: str | Source | None = None,
    weights: str | Path = "pretrained",
    arch: str | None = None,
    layer: str = "auto",
    size: int | None = None,
    tune: str | None = None,
    budget: str | float | None = None,
    epochs: int = 10,
    learning_rate: float | None = None,
    batch_size: int = 32,
    augment: str = "light",
    augmented_views: int = 4,
    batchnorm: str = "keep",
    mixup: float = 0.0,
    label_smoothing: float = 0.0,
    patience: int = 5,
    out: str | Path | None = None,
    tensorboard: str | Path | None = None,
    track: str | None = None,
    seed: int = 0,
    engine: str = "auto",
    resume: bool = False,
    progress: Progress | None = None,
) -> Model:
    """Fit a classifier on labelled photos, texts or recordings with what a pretrained network knows.

    The options are those of `headstart fit`, under the same names.

    Args:
        data: a path in any of the accepted forms, a pair (items, labels), or a data set of the library `datasets`.
        OPTIONS
        progress: where progress is shown; by default nowhere.

    Returns:
        The model; its `report` is the content of `result.json`.

    Raises:
        UsageError: the data, the source or an option cannot be used; the message says what to do.
    """
    result = run_fit(data, FitOptions.for_run(locals()), progress or Progress())
    if out is not None:
        write_out(Path(out), result)
    return result.model


def run_fit(data: Any, options: FitOptions, progress: Progress) -> FitResult:
    """Do the main job: read, split, extract, choose a head, and say what came of it."""
    clock = Clock()
    prepared = prepare(data, options, progress, clock)
    with clock.part("head"), progress.step("Choosing a head"), ThreadPoolExecutor(1) as beside:
        waiting = beside.submit(fit_baseline, prepared, seed=options.seed)
        layers, choice = select_layer_and_head(prepared, seed=options.seed)
        simple = waiting.result()
    answer = frozen_predictor(prepared, layers, choice)
    if simple.text_baseline is not None:
        answer = stacked_predictor(prepared, answer, choice, simple.text_baseline)
    if options.tuning.mode != NONE:
        from headstart.fitting.tuning import tuned_predictor

        with clock.part("tune"):
            answer = tuned_predictor(
                prepared,
                layers,
                choice,
                answer,
                options.tuning,
                text_baseline=simple.text_baseline,
                seed=options.seed,
                checkpoints=options.checkpoints,
                progress=progress,
            )
    with progress.step("Measuring"):
        mode, seed = options.tuning.mode, options.seed
        return build_fit_result(prepared, layers, choice, answer, tune=mode, seed=seed, clock=clock, simple=simple)


def prepare(data: Any, options: FitOptions, progress: Progress, clock: Clock) -> PreparedData:
    """Read, check and split the data, and compute its features or find them in the cache."""
    with clock.part("read"):
        dataset = open_dataset(data, root=options.root, columns=options.column_names)
    source = _source_for(dataset, options)
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


def _source_for(dataset: Dataset, options: FitOptions) -> Source:
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
