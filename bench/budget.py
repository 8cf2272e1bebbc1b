"""How well a budget is used: `fit --budget` on a data set in several seeds, with what was tried and how long it took.

Usage: python bench/budget.py fit DATA [--budget 6m] [--seeds 3] [--beside 2]
       python bench/budget.py compare DATA [--budget 3m] [--labels-per-class 5,20] [--seeds 3] [--beside 2]

`--beside N` keeps N programs busy on each core meanwhile. Seconds are of the clock on the wall, and of the processor.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from machine import machine


def run(*words: str) -> tuple[dict[str, Any], float, float]:
    """Return the result of a command, its seconds on the wall, and those of the processor."""
    start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "headstart", *words, "--out", out, "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return json.loads(done.stdout.splitlines()[-1]), time.monotonic() - start, processor


def fit(data: Path, budget: str, seeds: int) -> None:
    frozen, tuned = [], []
    for seed in range(seeds):
        words = ("fit", str(data), "--budget", budget, "--seed", str(seed))
        result, seconds, processor = run(*words)
        tuning = result["tuning"]
        frozen.append(tuning["test"]["frozen"]["accuracy"]["value"])
        tuned.append(result["test"]["accuracy"]["value"])
        tried = [(one["name"], one["history"][-1]["epoch"], round(one["gain"]["value"], 3)) for one in tuning["tried"]]
        print(
            f"seed {seed}: frozen {frozen[-1]:.4f}, shipped {tuned[-1]:.4f}, kept {tuning['kept']}; {seconds:.0f} s, "
            f"{processor:.0f} of the processor, {result['seconds']['tune']:.0f} tuning; {tried}; confirmed "
            f"{tuning['confirmed']}; {[note for note in result['warnings'] if 'search' in note or 'uning' in note]}",
            flush=True,
        )
    print(f"{data.stem}: frozen {statistics.mean(frozen):.4f}, shipped {statistics.mean(tuned):.4f}")


def compare(data: Path, budget: str, labels: str, seeds: int) -> None:
    words = ("compare", str(data), "--budget", budget, "--labels-per-class", labels, "--seeds", str(seeds))
    result, seconds, processor = run(*words)
    arms = {name: (arm.get("accuracy") or {}).get("value", arm.get("error")) for name, arm in result["arms"].items()}
    print(f"{data.stem}: {result['verdict']}; {seconds:.0f} s, {processor:.0f} of the processor; {arms}")
    print(result["sentence"])
    print(result["seeds"], result["warnings"])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("fit", "compare"))
    parser.add_argument("data", type=Path)
    parser.add_argument("--budget")
    parser.add_argument("--labels-per-class", default="5,20")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--beside", type=int, default=0)
    asked = parser.parse_args()
    print(machine())
    busy = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"])
        for _ in range(asked.beside * len(os.sched_getaffinity(0)))
    ]
    try:
        if asked.what == "fit":
            fit(asked.data, asked.budget or "6m", asked.seeds)
        else:
            compare(asked.data, asked.budget or "3m", asked.labels_per_class, asked.seeds)
    finally:
        for program in busy:
            program.kill()


if __name__ == "__main__":
    main()
