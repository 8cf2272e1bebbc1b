"""The main job, `fit`, as a short list of named steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from headstart.base.progress import Progress, progress_in_python
from headstart.fitting.defaults import best_default
from headstart.fitting.folds import cross_validated
from headstart.fitting.novelty import measured_novelty
from headstart.fitting.page import build_page
from headstart.fitting.predictor import Fitted, select_layer_and_head, shipped_predictor, source_predictor
from headstart.fitting.result import FitResult, build_model, build_result, measure, write_out
from headstart.judge.report.fit_page import verdict
from headstart.model import Model
from headstart.ranking.auto import notes_of, prepare_by_best_source
from headstart.run.baseline import fit_baseline
from headstart.run.clock import Clock
from headstart.run.from_python import from_python, warn
from headstart.run.options import FitOptions
from headstart.run.shown import pick_examples
from headstart.scale.ray_cluster import on_its_cluster
from headstart.sources.base import Source
from headstart.tune.settings import NONE


@from_python(FitOptions)
def fit(  # noqa: PLR0913
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
    folds: int | None = None,
    long_texts: str = "cut",
    window: float | None = None,
    hop: float | None = None,
    drop_test_duplicates: bool = False,
    allow_broken: bool = False,
    source: str | Source | None = None,
    weights: str | Path = "pretrained",
    arch: str | None = None,
    layer: str = "auto",
    size: int | None = None,
    cluster: str | None = None,
    shards: str | None = None,
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
    progress: Progress | bool = True,
) -> Model:
    """Fit a classifier on labelled photos, texts or recordings with what a pretrained network knows.

    The options are those of `headstart fit`, under the same names.

    Args:
        data: a path in any of the accepted forms, a pair (items, labels), or a data set of the library `datasets`.
        OPTIONS
        progress: where progress is shown; by default in a terminal or notebook, and with False nowhere.

    Returns:
        The model; its `report` is the content of `result.json`.

    Raises:
        UsageError: the data, the source or an option cannot be used; the message says what to do.
    """
    result = run_fit(data, FitOptions.for_run(locals()), progress_in_python(progress))
    if out is not None:
        write_out(Path(out), result)
    warn(result.result["warnings"], FitOptions)
    return result.model


@on_its_cluster
def run_fit(data: Any, options: FitOptions, progress: Progress) -> FitResult:
    """Do the main job: read, split, extract, choose a head, tune where that is asked for, and measure."""
    clock, seed = Clock(), options.seed
    prepared, ranking = prepare_by_best_source(data, options, progress, clock, trainable=options.tuning.mode != NONE)
    choosing = progress.step("Choosing a head", unit="candidates")
    with clock.part("head"), choosing as step, ThreadPoolExecutor(1) as pool:
        fitting_baseline = pool.submit(fit_baseline, prepared, seed=seed)
        choice = select_layer_and_head(prepared, seed=seed, step=step)
        baseline = fitting_baseline.result()
    first = prepared
    (prepared, choice), tried = best_default((first, choice), options, progress, clock)
    if prepared is not first:  # the baseline hears what the source hears
        baseline = fit_baseline(prepared, seed=seed)
    predictor = source_predictor(prepared, choice, baseline)
    fitted = Fitted(prepared, choice, baseline, predictor, tried)
    if options.tuning.mode != NONE:
        from headstart.fitting.tuning import tuned_predictor

        with clock.part("tune"):
            tuned = tuned_predictor(
                fitted, options.tuning, seed=seed, checkpoints=options.checkpoints, progress=progress
            )
        fitted = replace(fitted, predictor=tuned)
    named = options.source not in (None, "auto")
    if fitted.predictor.source is prepared.source:
        fitted = replace(fitted, predictor=shipped_predictor(fitted, named=named))
    with progress.step("Measuring"):
        measures = measure(fitted, seed=seed)
        dataset, test = prepared.scan.dataset, prepared.parts.test
        examples = pick_examples(dataset, test, prepared.labels(test), fitted.predictor.probabilities, dataset.classes)
    result = build_result(fitted, measures, tune=options.tuning.mode, seed=seed, seconds=clock.read())
    if ranking is not None:
        result["ranking"] = ranking
        result["warnings"][:0] = notes_of(ranking)
    if options.folds is not None:
        result["folds"] = cross_validated(prepared, folds=options.folds, seed=seed, named=named, progress=progress)
        result["seconds"] = clock.read()
    novelty, neighbours, result["novelty"] = measured_novelty(fitted, seed=seed, progress=progress)
    model = build_model(fitted, result, options.patterns, novelty, neighbours)
    sentence = result["sentence"] = verdict(result, measures.gain, commonest=measures.majority_class)
    return FitResult(model, result, sentence, build_page(fitted, model, examples, sentence))
