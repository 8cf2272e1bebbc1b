"""Several sources compared one after the other on the same data, splits and budget, and which of them to use."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.base.disk import write_atomic
from headstart.base.errors import UsageError
from headstart.base.progress import Progress
from headstart.comparison.options import CompareOptions
from headstart.comparison.result import PAGE, ComparisonResult, write_comparison
from headstart.judge.benefit.benefit import BENEFIT
from headstart.judge.benefit.gains import FROZEN, TUNED
from headstart.run.folder import CHECKPOINTS, RESULT

SOURCES = "sources"
"""The folder that holds one comparison for each of several sources."""


@dataclass(frozen=True)
class MultiSourceResult:
    """Comparisons of several sources.

    Attributes:
        result: that of the source to use, and under `sources` a row for each.
    """

    result: dict[str, Any]

    @property
    def verdict(self) -> str:
        """The sentence of each source, the best first, in a line each."""
        return "\n".join(f"{one['source']}: {one['sentence']}" for one in self.result[SOURCES])


def run_several(
    data: Any,
    options: CompareOptions,
    sources: Sequence[str],
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
        if not (folder / RESULT).exists():
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
    return MultiSourceResult({**results[0][1], SOURCES: rows})


def _rank(result: dict[str, Any]) -> tuple[bool, float]:
    """Return what a source is ranked by: whether it is a benefit, then the accuracy that it ends with."""
    accuracies = [result["arms"].get(name, {}).get("accuracy") for name in (FROZEN, TUNED)]
    return result["verdict"] == BENEFIT, max(accuracy["value"] for accuracy in accuracies if accuracy)


def write_several(out: Path, several: MultiSourceResult) -> list[str]:
    """Write the folder of several comparisons, and return lines that name its files."""
    shutil.rmtree(out / SOURCES, ignore_errors=True)
    (out / CHECKPOINTS).rename(out / SOURCES)
    best = out / several.result[SOURCES][0]["folder"]
    write_atomic(out / PAGE, (best / PAGE).read_bytes())
    write_atomic(out / RESULT, json.dumps(several.result, indent=1, allow_nan=False).encode())
    return [f"Report of the best: {out / PAGE}    Result: {out / RESULT}", f"Each source: {out / SOURCES}"]
