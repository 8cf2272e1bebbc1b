"""Was it worth it? Transfer against scratch, and against no network at all: the command `compare`, of any sources."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.base.disk import write_atomic
from headstart.base.errors import UsageError
from headstart.base.interrupts import keeping
from headstart.base.own_folders import RESULT
from headstart.base.progress import Progress, progress_in_python
from headstart.comparison.budget import Limits
from headstart.comparison.experiment import Experiment
from headstart.comparison.options import CompareOptions
from headstart.comparison.result import ComparisonResult, build_comparison_result, write_comparison
from headstart.judge.benefit.benefit import BENEFIT, Benefit
from headstart.judge.benefit.gains import FROZEN, TUNED
from headstart.ranking.auto import prepare_by_best_source
from headstart.run.clock import Clock
from headstart.run.folder import CHECKPOINTS, MARK, PAGE, writing
from headstart.run.from_python import from_python, warn
from headstart.scale.ray_cluster import on_its_cluster
from headstart.sources.base import Source
from headstart.tune.training.trackers import open_trackers

SOURCES = "sources"  # the folder that holds one comparison for each of several sources


@from_python(CompareOptions)
def compare(  # noqa: PLR0913
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
    labels_per_class: str | Sequence[int | str | None] | None = None,
    long_texts: str = "cut",
    window: float | None = None,
    hop: float | None = None,
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
    cluster: str | None = None,
    shards: str | None = None,
    resume: bool = False,
    progress: Progress | bool = True,
) -> Benefit:
    """Measure whether a source helps on your data: against the same network from scratch, and against no network.

    The options are those of `headstart compare`, under the same names; one source is compared at a time.

    Args:
        data: a path in any of the accepted forms, a pair (items, labels), or a data set of the library `datasets`.
        OPTIONS
        progress: where progress is shown; by default in a terminal or notebook, and with False nowhere.

    Returns:
        The transfer benefit: verdict, benefits with intervals, and all raw results.

    Raises:
        UsageError: the data, the source or an option cannot be used; the message says what to do.
    """
    result = run_compare(data, CompareOptions.for_run(locals()), progress_in_python(progress))
    if out is not None:
        write_comparison(Path(out), result)
    warn(result.result["warnings"], CompareOptions)
    return result.benefit


@on_its_cluster
def run_compare(
    data: Any, options: CompareOptions, progress: Progress, *, limits: Limits | None = None
) -> ComparisonResult:
    """Do the whole comparison: prepare, run every arm in every seed, and measure every benefit."""
    clock = Clock()
    trackers = open_trackers(tensorboard=options.tensorboard, track=None, progress=progress)
    prepared, ranking = prepare_by_best_source(data, options.fitting, progress, clock, trainable=True)
    experiment = Experiment(
        prepared, options, clock=clock, trackers=trackers, limits=limits or Limits(), progress=progress
    )
    with keeping(experiment.outcomes.kept):
        experiment.run_untrained()
        experiment.run_trained()
    return build_comparison_result(experiment, ranking)


@dataclass(frozen=True)
class MultiSourceResult:
    """Comparisons of several sources."""

    result: dict[str, Any]  # that of the source to use, and under `sources` a row for each
    verdict: str  # the sentence of each source, the best first, in a line each


def run_several(
    data: Any,
    sources: Sequence[str],
    options: CompareOptions,
    progress: Progress,
    *,
    compare: Callable[[Any, CompareOptions, Progress], ComparisonResult],
) -> MultiSourceResult:
    """Compare each source with its share of the budget; one that was done before a stop is not compared again.

    Raises:
        UsageError: the data, a source or an option cannot be used.
    """
    if options.weights != "pretrained" or options.arch is not None:
        raise UsageError("--weights and --arch belong to one source", f"{len(sources)} sources", "name one --source")
    checkpoints = options.checkpoints
    assert checkpoints is not None, "several sources are compared in a folder"
    results: list[tuple[str, dict[str, Any]]] = []
    for number, uri in enumerate(sources, start=1):
        name = f"{number}-{re.sub(r'[^A-Za-z0-9._-]+', '-', uri).strip('-.')}"[:80]
        folder = checkpoints / name
        if not (folder / RESULT).exists() or (folder / MARK).exists():
            progress.say(f"Source {number} of {len(sources)}: {uri}")
            own = options.changed(source=uri, budget=options.budget / len(sources), out=folder)
            write_comparison(folder, compare(data, own, progress))
        results.append((name, json.loads((folder / RESULT).read_text(encoding="utf-8"))))
    results.sort(key=lambda entry: _rank(entry[1]), reverse=True)
    rows = [
        {
            **{key: result[key] for key in ("source", "verdict", "sentence", "start", "asymptote")},
            "accuracy": result["arms"][result["transfer"]]["accuracy"],
            "folder": f"{SOURCES}/{name}",
        }
        for name, result in results
    ]
    verdict = "\n".join(f"{row['source']}: {row['sentence']}" for row in rows)
    return MultiSourceResult({**results[0][1], SOURCES: rows}, verdict)


def _rank(result: dict[str, Any]) -> tuple[bool, float]:
    """Return what a source is ranked by: whether it is a benefit, then the accuracy that it ends with."""
    accuracies = [result["arms"].get(name, {}).get("accuracy") for name in (FROZEN, TUNED)]
    return result["verdict"] == BENEFIT, max(accuracy["value"] for accuracy in accuracies if accuracy)


def write_several(out: Path, several: MultiSourceResult) -> list[str]:
    """Write the folder of several comparisons, and return lines that name its files."""
    best = out / CHECKPOINTS / Path(several.result[SOURCES][0]["folder"]).name
    with writing(out):
        write_atomic(out / PAGE, (best / PAGE).read_bytes())
        write_atomic(out / RESULT, json.dumps(several.result, indent=1, allow_nan=False).encode())
        shutil.rmtree(out / SOURCES, ignore_errors=True)
        (out / CHECKPOINTS).rename(out / SOURCES)
    return [f"Report of the best: {out / PAGE}    Result: {out / RESULT}", f"Each source: {out / SOURCES}"]
