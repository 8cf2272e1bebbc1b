"""What the peers share: the drawn examples of a set, and one line of figures for each run. Standard library only.

Every peer runs in an environment of its own, `python bench/peers/PEER.py DATA --sets trec6 --labels 5 20 all`, and
appends to `--out` (peers.jsonl). DATA is the folder of the tar files of the data sets.
"""

from __future__ import annotations

import argparse
import csv
import inspect
import json
import math
import os
import random
import resource
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

PHOTOS, TEXTS = ("flowers5", "ants_bees", "cats_dogs"), ("trec6", "sst2", "banking77")
Examples = tuple[list[str], list[str]]  # paths or texts, and their labels
Fit = Callable[[Examples, list[str]], list[dict[str, float]]]
"""Learns from the training examples and returns, for each test item, the probability of each class."""


def parts(folder: Path, name: str) -> tuple[Examples, Examples]:
    """Return train and test examples of a set that is unpacked below `folder`."""
    both = []
    for part in ("train", "test"):
        if name in TEXTS:
            with (folder / name / f"{part}.csv").open(encoding="utf-8", newline="") as file:
                rows = [(row["text"], row["label"]) for row in csv.DictReader(file)]
        else:
            rows = [(str(path), path.parent.name) for path in sorted((folder / name / part).glob("*/*"))]
        both.append(([item for item, _ in rows], [label for _, label in rows]))
    return both[0], both[1]


def draw(examples: Examples, labels: int | None, seed: int) -> Examples:
    """Return `labels` examples of each class, or all of them."""
    order = list(range(len(examples[0])))
    random.Random(seed).shuffle(order)
    taken: dict[str, int] = {}
    kept = []
    for row in order:
        taken[examples[1][row]] = taken.get(examples[1][row], 0) + 1
        if labels is None or taken[examples[1][row]] <= labels:
            kept.append(row)
    return [examples[0][row] for row in kept], [examples[1][row] for row in kept]


def processor_seconds() -> float:
    """Return the seconds of processor of this process and of those that it has waited for."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def run(peer: str, fit: Fit, kinds: Sequence[str]) -> None:
    """Measure `fit` on every set, number of labels and seed that the command line asks for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--sets", nargs="+", default=list(kinds), choices=kinds)
    parser.add_argument("--labels", nargs="+", default=["5", "20", "all"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("peers.jsonl"))
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        for name in asked.sets:
            with tarfile.open(asked.data / f"{name}.tar") as packed:
                packed.extractall(work, filter="data")
            train, (items, truth) = parts(Path(work), name)
            for labels in asked.labels:
                for seed in range(1 if labels == "all" else asked.seeds):
                    drawn = draw(train, None if labels == "all" else int(labels), seed)
                    start, before = time.perf_counter(), processor_seconds()
                    predicted = fit(drawn, items)
                    right = sum(max(p, key=p.get) == y for p, y in zip(predicted, truth, strict=True))
                    surprise = -sum(math.log(max(p[y], 1e-7)) for p, y in zip(predicted, truth, strict=True))
                    row = {
                        "peer": peer,
                        "set": name,
                        "labels": labels,
                        "seed": seed,
                        "accuracy": right / len(truth),
                        "log_loss": surprise / len(truth),
                        "processor_seconds": round(processor_seconds() - before, 1),
                        "seconds": round(time.perf_counter() - start, 1),
                        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
                        "lines": len(inspect.getsource(getattr(fit, "func", fit)).splitlines()),
                        "load": round(os.getloadavg()[0], 1),
                    }
                    print(json.dumps(row), flush=True)
                    with asked.out.open("a") as file:
                        file.write(json.dumps(row) + "\n")
