"""Was it worth it? Transfer against scratch, and against no network at all: the command `compare`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from headstart.base.progress import Progress
from headstart.comparison.budget import BUDGET
from headstart.comparison.experiment import SEEDS, CompareOptions, Experiment, numbers
from headstart.comparison.result import ComparisonResult, build_comparison_result, write_comparison
from headstart.fitting.fit import prepare
from headstart.judge.benefit.benefit import Benefit
from headstart.run.clock import Clock
from headstart.sources.base import Source
from headstart.tune.settings import AUTO, parse_budget
from headstart.tune.training.trackers import open_trackers


def compare(
    data: Any,
    *,
    source: str | Source | None = None,
    weights: str | Path = "pretrained",
    arch: str | None = None,
    long: str = "cut",
    labels_per_class: Sequence[int | str | None] | None = None,
    seeds: int = SEEDS,
    budget: str | None = None,
    tune: str = AUTO,
    layer: str = AUTO,
    seed: int = 0,
    engine: str = "auto",
    drop_leaks: bool = False,
    out: str | Path | None = None,
    progress: Progress | None = None,
) -> Benefit:
    """Measure whether a source helps on your data: against the same network from scratch, and against no network.

    Args:
        data: a path in any of the accepted forms, a pair (items, labels), or a data set of the library `datasets`.
        source: the URI of the source, or a Source; None for the default of the kind of data.
        weights: `pretrained`, or the path of a checkpoint of the source's architecture; scratch begins at random ones.
        arch: URI of the architecture of a bare checkpoint, for `file:PATH`.
        long: what becomes of texts that are longer than the source reads: `cut`, or `chunks`, the mean over pieces.
        labels_per_class: numbers of labels of each class to learn from, `all` or None among them for all; by default 5,
            10, 20 and all, as far as the data has them.
        seeds: how many splits, draws of labels and initial weights; at least 5 below 10 labels per class.
        budget: wall-clock time in all, such as `10m`, which is the default.
        tune: what the tuned arm tunes, as in `fit`; `none` leaves it out, `auto` lets the budget decide.
        layer: where features are taken.
        seed: the first one.
        engine: `auto`, `torch` or `openvino`.
        drop_leaks: leave out training examples that the given test or validation part holds as well.
        out: folder for `result.json`, `report.html` and the raw results; None writes nothing.
        progress: where to show progress; nothing is shown by default.

    Returns:
        What the source was worth: verdict, benefits with intervals, and all raw results.

    Raises:
        UsageError: the data, the source or an option cannot be used; the message says what to do.
    """
    from headstart.run.folder import CHECKPOINTS, check_out

    folder = None if out is None else Path(out)
    if folder is not None:
        check_out(folder, resume=(folder / CHECKPOINTS).is_dir())
    options = CompareOptions(
        source=source,
        weights=weights,
        arch=arch,
        long=long,
        labels_per_class=numbers(labels_per_class or ()),
        seeds=seeds,
        budget=BUDGET if budget is None else parse_budget(budget),
        tune=tune,
        layer=layer,
        seed=seed,
        engine=engine,
        drop_leaks=drop_leaks,
        arms=None if folder is None else folder / CHECKPOINTS,
    )
    compared = run_compare(data, options, progress or Progress())
    if folder is not None:
        write_comparison(folder, compared)
    return compared.benefit


def run_compare(data: Any, options: CompareOptions, progress: Progress) -> ComparisonResult:
    """Do the whole comparison: prepare, run every arm in every seed, and say what came of it."""
    options.check()
    clock = Clock()
    watchers = open_trackers(tensorboard=options.tensorboard, track=None, progress=progress)
    prepared = prepare(data, options.fitting, progress, clock)
    experiment = Experiment(prepared, options, clock, progress)
    experiment.watchers = watchers
    experiment.run_untrained()
    experiment.run_trained()
    return build_comparison_result(experiment)
