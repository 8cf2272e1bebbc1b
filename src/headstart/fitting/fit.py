"""The main job, `fit`, as a short list of named steps."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from headstart.base.checks import at_least, one_of
from headstart.base.config import cache_dir
from headstart.base.errors import UsageError
from headstart.base.progress import Progress
from headstart.data.audit import Scan, check_bad, scan
from headstart.data.dataset import Dataset
from headstart.data.modality import MODALITIES
from headstart.data.readers.open import open_dataset
from headstart.data.split import split
from headstart.features.conversion_process import start_conversion
from headstart.features.extract import Extraction, extract
from headstart.fitting.findings import build_fit_result, frozen_predictor
from headstart.fitting.result import FitResult
from headstart.fitting.selection import fit_baseline, select_layer_and_head
from headstart.model import Model
from headstart.run.clock import Clock
from headstart.run.prepared import PreparedData
from headstart.sources.base import Source
from headstart.sources.hub.repository import COMMIT
from headstart.sources.layers import AUTO
from headstart.sources.registry import open_source
from headstart.tune.settings import AUTO as DECIDES
from headstart.tune.settings import NONE, Settings, parse_budget

MAKE_ONE = "make one (headstart pretrain DATA --arch arch:resnet9 --out FOLDER) and name it: --source file:FOLDER"
ENGINES = ("auto", "torch", "openvino")


@dataclass(frozen=True)
class FitOptions:
    """How `fit` goes about its work.

    Attributes:
        source: the URI of the source, or a Source; None for the default of the kind of data.
        weights: `pretrained`, `none` for random ones, or the path of a checkpoint of the source's architecture.
        arch: URI of the architecture of a bare checkpoint, for `file:PATH`.
        long: what becomes of texts that are longer than the source reads: `cut`, or `chunks`.
        size: of the input in pixels, for `keras:NAME`, as source or as `arch`; None for its own.
        layer: where features are taken: `auto`, `pool`, `joined`, or names of stages joined by `+`.
        tuning: how the source's own weights are tuned; by default not at all.
        seed: of the split, the folds and the intervals.
        labels_per_class: train on so many labels of each class; None takes all.
        engine: `auto`, `torch` or `openvino`.
        allow_bad: go on although more than a fifth of the data, or half of a class, is broken.
        root: a folder outside the data's own that paths in a table may point into.
        columns: names of a table's columns, by our words for them.
        drop_leaks: leave out training examples that the given test or validation part holds as well.
        checkpoints: folder for what a tuning run that is stopped goes on from; None keeps nothing.
    """

    source: str | Source | None = None
    weights: str | Path = "pretrained"
    arch: str | None = None
    long: str = "cut"
    size: int | None = None
    layer: str = AUTO
    tuning: Settings = field(default_factory=Settings)
    seed: int = 0
    labels_per_class: int | None = None
    engine: str = "auto"
    allow_bad: bool = False
    root: Path | None = None
    columns: Mapping[str, str] | None = None
    drop_leaks: bool = False
    checkpoints: Path | None = None

    def check(self) -> None:
        """Raise UsageError for a value that cannot be, before any work starts."""
        one_of("--engine", self.engine, ENGINES)
        one_of("--long", self.long, ("cut", "chunks"))
        at_least("--seed", self.seed, 0)
        if self.labels_per_class is not None:
            at_least("--labels-per-class", self.labels_per_class, 2)
        self.tuning.check()


def fit(
    data: Any,
    *,
    source: str | Source | None = None,
    weights: str | Path = "pretrained",
    arch: str | None = None,
    long: str = "cut",
    layer: str = AUTO,
    tune: str | None = None,
    budget: str | None = None,
    tuning: Settings | None = None,
    seed: int = 0,
    labels_per_class: int | None = None,
    engine: str = "auto",
    allow_bad: bool = False,
    root: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    drop_leaks: bool = False,
    out: str | Path | None = None,
    progress: Progress | None = None,
) -> Model:
    """Fit a classifier on labelled photos or texts with what a pretrained network knows.

    Args:
        data: a path in any of the accepted forms, a pair (items, labels), or a data set of the library `datasets`.
        source: the URI of the source, or a Source; None for the default of the kind of data.
        weights: `pretrained`, `none` for random ones, or the path of a checkpoint of the source's architecture.
        arch: URI of the architecture of a bare checkpoint, for `file:PATH`.
        long: what becomes of texts that are longer than the source reads: `cut`, or `chunks`, the mean over pieces.
        layer: where features are taken; `auto` lets leave-one-out error choose.
        tune: which source weights also learn: `none`, `norm`, `lora`, `last:N`, `all` or `auto`; by default `none`, and
            `auto` where a budget is given.
        budget: wall-clock time for tuning, such as `30s`, `10m` or `1h`.
        tuning: everything else about tuning.
        seed: of the split, the folds, the intervals and tuning.
        labels_per_class: train on so many labels of each class; None takes all.
        engine: `auto`, `torch` or `openvino`.
        allow_bad: go on although more than a fifth of the data, or half of a class, is broken.
        root: a folder outside the data's own that paths in a table may point into.
        columns: names of a table's columns, by our words for them: `{"text": "sentence", "label": "class"}`.
        drop_leaks: leave out training examples that the given test or validation part holds as well.
        out: folder for `result.json`, `report.html` and `bundle/`; None writes nothing.
        progress: where to show progress; nothing is shown by default.

    Returns:
        The model; its `report` is the content of `result.json`.

    Raises:
        UsageError: the data, the source or an option cannot be used; the message says what to do.
    """
    from headstart.fitting.result import write_out
    from headstart.run.folder import check_out

    options = FitOptions(
        source=source,
        weights=weights,
        arch=arch,
        long=long,
        layer=layer,
        tuning=settings_for(tune, budget, tuning or Settings()),
        seed=seed,
        labels_per_class=labels_per_class,
        engine=engine,
        allow_bad=allow_bad,
        root=Path(root) if root is not None else None,
        columns=columns,
        drop_leaks=drop_leaks,
    )
    if out is not None:
        check_out(Path(out))
    run = run_fit(data, options, progress or Progress())
    if out is not None:
        write_out(Path(out), run)
    return run.model


def run_fit(data: Any, options: FitOptions, progress: Progress) -> FitResult:
    """Do the main job: read, split, extract, choose a head, and say what came of it."""
    options.check()
    clock = Clock()
    prepared = prepare(data, options, progress, clock)
    with clock.part("head"), progress.step("Choosing a head"), ThreadPoolExecutor(1) as beside:
        waiting = beside.submit(fit_baseline, prepared, seed=options.seed)
        layers, choice = select_layer_and_head(prepared, seed=options.seed)
        simple = waiting.result()
    answer = frozen_predictor(prepared, layers, choice, simple)
    if options.tuning.mode != NONE:
        from headstart.fitting.tuning import tuned_predictor

        with clock.part("tune"):
            answer = tuned_predictor(
                prepared,
                layers,
                choice,
                answer,
                options.tuning,
                words=simple.words,
                seed=options.seed,
                checkpoints=options.checkpoints,
                progress=progress,
            )
    with progress.step("Measuring"):
        mode, seed = options.tuning.mode, options.seed
        return build_fit_result(prepared, layers, choice, answer, tune=mode, seed=seed, clock=clock, simple=simple)


def settings_for(tune: str | None, budget: str | None, tuning: Settings) -> Settings:
    """Return the settings with the mode and the budget that were asked for; a budget alone asks for `auto`."""
    seconds = parse_budget(budget) if budget is not None else tuning.budget
    mode = tune or (DECIDES if budget is not None and tuning.mode == NONE else tuning.mode)
    return replace(tuning, mode=mode, budget=seconds)


def prepare(data: Any, options: FitOptions, progress: Progress, clock: Clock) -> PreparedData:
    """Read, check and split the data, and compute its features or find them in the cache."""
    with clock.part("read"):
        dataset = open_dataset(data, root=options.root, columns=options.columns)
    source = _source_for(dataset, options)
    if COMMIT.fullmatch(source.info.revision):
        progress.say(f"{source.info.uri} is at revision {source.info.revision}")
    with start_conversion(source, engine=options.engine, cache=cache_dir()) as conversion:
        with clock.part("read"):
            scanned = scan(dataset, progress=progress)
            check_bad(scanned.dataset, allow_bad=options.allow_bad)
        with clock.part("extract"):
            extraction = extract(
                scanned.dataset,
                scanned.hashes,
                source,
                engine=options.engine,
                cache=cache_dir(),
                conversion=conversion,
                progress=progress,
            )
    if not extraction.misses:
        progress.say(f"Features of all {extraction.hits:,} examples were in the cache: nothing to extract")
    scanned = _without_broken(scanned, extraction)
    check_bad(scanned.dataset, allow_bad=options.allow_bad)
    parts = split(
        scanned.dataset,
        scanned.hashes,
        seed=options.seed,
        labels_per_class=options.labels_per_class,
        drop_leaks=options.drop_leaks,
    )
    return PreparedData(scanned, parts, source, extraction, options.engine)


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
        size=options.size,
        long=options.long,
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


def _without_broken(scanned: Scan, extraction: Extraction) -> Scan:
    """Return the scan without the examples that could not be decoded; they are counted as skipped."""
    return replace(
        scanned,
        dataset=scanned.dataset.keep(list(extraction.kept), extraction.skipped),
        hashes=tuple(scanned.hashes[position] for position in extraction.kept),
    )
