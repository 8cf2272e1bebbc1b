"""`headstart fit --cluster` against one process: seconds, seconds of processor, and whether the reports are the same.

Usage: python bench/cluster.py DATA [--examples 400 1600] [--source URI] [--rounds 1]

DATA is a folder or an archive of photos, which are written again and again with other bytes behind them until there are
as many as asked for. Each fit is a process of its own that computes every feature: in one process and on `local[1]`,
both held to one core; on `local[1]` and `local[2]`, by turns. What a photo takes is the difference between the two
numbers of photos, so that starting Ray is not in it; the overhead at 20,000 photos is reckoned from both.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from machine import machine

from headstart.data.readers.open import open_dataset

HERE = Path(__file__).resolve().parents[1]
ONE, TWO = ("--cluster", "local[1]"), ("--cluster", "local[2]")
WAYS: dict[str, tuple[tuple[str, ...], int | None]] = {
    "one process, held to one core": ((), 1),
    "local[1], held to one core": (ONE, 1),
    "local[1]": (ONE, None),
    "local[2]": (TWO, None),
}
EQUAL = ("test", "baselines", "examples", "layer", "head", "engine", "per_class", "confusion")
MANY = 20_000


def write_photos(data: str, folder: Path, count: int) -> Path:
    """Return a folder of so many photos, each of its own content, in the classes of the data."""
    dataset = open_dataset(data)
    for number in range(count):
        position = number % len(dataset)
        target = folder / dataset.examples[position].label / f"{number:06d}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(dataset.read(position) + b"%d" % number)
    return folder


class Spent(threading.Thread):
    """The seconds of processor of a process and of all below it, Ray's too, as long as it lives."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        super().__init__()
        self._process, self._seconds = process, dict[int, float]()

    def run(self) -> None:
        while self._process.poll() is None:
            with suppress(psutil.NoSuchProcess):
                own = psutil.Process(self._process.pid)
                for each in [own, *own.children(recursive=True)]:
                    with suppress(psutil.NoSuchProcess):
                        self._seconds[each.pid] = sum(each.cpu_times()[:2])
            time.sleep(0.2)

    @property
    def seconds(self) -> float:
        return sum(self._seconds.values())


def fitted(data: Path, source: str, way: tuple[Sequence[str], int | None], work: Path) -> tuple[dict[str, Any], float]:
    """Return the result of a fit that finds no feature, and its seconds of processor."""
    options, cores = way
    (work / "cache" / "features.sqlite").unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(dir=work) as folder:
        environment = {**os.environ, "PYTHONPATH": str(HERE / "src"), "HEADSTART_CACHE": str(work / "cache")}
        more = [*options, *(["--shards", f"{folder}/shards"] if options else [])]
        command = [sys.executable, "-m", "headstart", "fit", str(data), "--out", f"{folder}/out", "--json"]
        command += ["--source", source, *more]
        held = ["taskset", "-c", "0"] if cores else []
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
        process = subprocess.Popen([*held, *command], env=environment, cwd=HERE, **pipes)
        spent = Spent(process)
        spent.start()
        shown, _ = process.communicate()
        spent.join()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed: run it alone")
    return dict(json.loads(shown.splitlines()[-1])), spent.seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("--examples", type=int, nargs=2, default=[400, 1600])
    parser.add_argument("--source", default="packaged:efficientnet-lite0")
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    print(machine())
    taken: dict[tuple[str, int], list[tuple[float, float]]] = {}
    results: dict[int, list[dict[str, Any]]] = {count: [] for count in options.examples}
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        few = write_photos(options.data, work / "few", 64)
        data = {count: write_photos(options.data, work / str(count), count) for count in options.examples}
        fitted(few, options.source, WAYS["local[1]"], work)  # which converts the network
        for _ in range(options.rounds):
            for way, how in WAYS.items():
                for count, folder in data.items():
                    result, spent = fitted(folder, options.source, how, work)
                    results[count].append(result)
                    taken.setdefault((way, count), []).append((result["seconds"]["extract"], spent))
    small, large = options.examples
    photo: dict[str, tuple[float, float]] = {}
    whole: dict[str, tuple[float, float]] = {}
    for way in WAYS:
        at = {
            count: [statistics.median(row[column] for row in taken[way, count]) for column in (0, 1)]
            for count in options.examples
        }
        each = [(at[large][column] - at[small][column]) / (large - small) for column in (0, 1)]
        start = [at[small][column] - small * each[column] for column in (0, 1)]
        photo[way] = each[0], each[1]
        whole[way] = start[0] + MANY * each[0], start[1] + MANY * each[1]
        print(
            f"{way}: {1000 * each[0]:.1f} ms a photo and {1000 * each[1]:.1f} of processor, {start[0]:.1f} s beside "
            f"and {start[1]:.1f} of processor ({at[large][0]:.1f} s for {large:,})"
        )
    alone, held = list(WAYS)[:2]
    for column, what in enumerate(("seconds", "seconds of processor")):
        over = whole[held][column] / whole[alone][column] - 1
        share = photo["local[1]"][column] / photo["local[2]"][column] / (1 if column else 2)
        print(f"{what}: overhead of local[1] at {MANY:,} photos {over:+.1%}; efficiency of two workers {share:.3f}")
    same = all(result[key] == some[0][key] for some in results.values() for result in some for key in EQUAL)
    print("the reports are the same to the last digit" if same else "the reports differ")


if __name__ == "__main__":
    main()
