"""`headstart fit --cluster` against one process: examples a second of extraction, and whether the reports are the same.

Usage: python bench/cluster.py DATA [--source URI] [--rounds 2]

DATA is a folder or an archive of photos. Each fit is a process of its own that computes every feature: in one process,
on `local[1]` and on `local[2]`, by turns. Starting Ray is part of it, and measured apart on a second fit that
finds every shard.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from machine import machine

HERE = Path(__file__).resolve().parents[1]
WAYS = {"one process": (), "local[1]": ("--cluster", "local[1]"), "local[2]": ("--cluster", "local[2]")}
EQUAL = ("test", "baselines", "examples", "layer", "head", "engine", "per_class", "confusion")


def fitted(data: str, source: str, way: Sequence[str], cache: Path, shards: Path, out: Path) -> dict[str, Any]:
    """Return the result of a fit with this cache of converted networks, and these shards."""
    environment = {**os.environ, "PYTHONPATH": str(HERE / "src"), "HEADSTART_CACHE": str(cache)}
    options = ["--source", source, *way, *(["--shards", str(shards)] if way else [])]
    command = [sys.executable, "-m", "headstart", "fit", data, "--out", str(out), "--json", *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=HERE)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("--source", default="packaged:efficientnet-lite0")
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    print(machine())
    seconds: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as work:
        for number in range(options.rounds + 1):  # the first converts the network, and is not counted
            for name, way in WAYS.items():
                folder = Path(work) / f"{number} {name}"
                cache = Path(work) / name
                (cache / "features.sqlite").unlink(missing_ok=True)
                pair = [fitted(options.data, options.source, way, cache, folder, folder / str(at)) for at in (0, 1)]
                results.append(pair[0])
                if number:
                    first, again = (result["seconds"]["extract"] for result in pair)
                    seconds[name].append((first, again))
    count = sum(results[0]["examples"][part] for part in ("train", "validation", "test"))
    for name, pairs in seconds.items():
        first, again = (statistics.median(pair[at] for pair in pairs) for at in (0, 1))
        rate = count / (first - again)
        print(f"{name}: {first:.1f} s for {count:,} examples, {again:.1f} s where all are there: {rate:.1f} examples/s")
    same = all(result[key] == results[0][key] for result in results for key in EQUAL)
    print("the reports are the same to the last digit" if same else "the reports differ")


if __name__ == "__main__":
    main()
