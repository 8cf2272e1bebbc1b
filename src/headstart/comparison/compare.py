"""Was it worth it? Transfer against scratch, and against no network at all: the command `compare`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from headstart.base.progress import Progress
from headstart.comparison.budget import Limits
from headstart.comparison.experiment import Experiment
from headstart.comparison.options import CompareOptions
from headstart.comparison.result import ComparisonResult, build_comparison_result, write_comparison
from headstart.judge.benefit.benefit import Benefit
from headstart.run.clock import Clock
from headstart.run.option_model import documented
from headstart.run.prepare import prepare
from headstart.sources.base import Source
from headstart.tune.training.trackers import open_trackers


@documented(CompareOptions)
def compare(  # noqa: PLR0913
    data: Any,
    *,
    text_column: str | None = None,
    label_column: str | None = None,
    columns: Mapping[str, str] | str | None = None,
    root: str | Path | None = None,
    labels_per_class: str | Sequence[int | str | None] | None = None,
    long_texts: str = "cut",
    drop_test_duplicates: bool = False,
    allow_broken: bool = False,
    source: str | Source | None = None,
    weights: str | Path = "pretrained",
    arch: str | None = None,
    layer: str = "auto",
    tune: str = "auto",
    out: str | Path | None = None,
    tensorboard: str | Path | None = None,
    budget: str | float = 600.0,
    seeds: int = 5,
    seed: int = 0,
    engine: str = "auto",
    resume: bool = False,
    progress: Progress | None = None,
) -> Benefit:
    """Measure whether a source helps on your data: against the same network from scratch, and against no network.

    The options are those of `headstart compare`, under the same names; one source is compared at a time.

    Args:
        data: a path in any of the accepted forms, a pair (items, labels), or a data set of the library `datasets`.
        OPTIONS
        progress: where progress is shown; by default nowhere.

    Returns:
        The transfer benefit: verdict, benefits with intervals, and all raw results.

    Raises:
        UsageError: the data, the source or an option cannot be used; the message says what to do.
    """
    result = run_compare(data, CompareOptions.for_run(locals()), progress or Progress())
    if out is not None:
        write_comparison(Path(out), result)
    return result.benefit


def run_compare(
    data: Any, options: CompareOptions, progress: Progress, *, limits: Limits | None = None
) -> ComparisonResult:
    """Do the whole comparison: prepare, run every arm in every seed, and measure every benefit."""
    clock = Clock()
    trackers = open_trackers(tensorboard=options.tensorboard, track=None, progress=progress)
    prepared = prepare(data, options.fitting, progress, clock)
    experiment = Experiment(
        prepared, options, clock=clock, trackers=trackers, limits=limits or Limits(), progress=progress
    )
    experiment.run_untrained()
    experiment.run_trained()
    return build_comparison_result(experiment)
