"""Accuracy and calibration of `headstart fit`, no tuning, on the five photo sets: 5 and 20 labels a class, and all.

Usage: python bench/accuracy.py DATA     (the folder that holds ants_bees.tar, cats_dogs.tar, …)

Three draws of labels each, or of the split where the data has none. Tar and folder must agree to the last digit. With
PYTHONPATH set to the sources of another commit it measures that one.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from machine import machine

ASKED = {"ants_bees": 0.925, "cats_dogs": 0.98, "flowers5": 0.88, "trashnet": 0.80, "sign_digits": 0.90}
WITHOUT_SPLIT = ("trashnet", "sign_digits")
BUDGETS = (5, 20, None)


def fit(data: Path, seed: int, work: str, labels: int | None = None) -> dict:
    out = tempfile.mkdtemp(dir=work)
    command = [sys.executable, "-m", "headstart", "fit", str(data), "--seed", str(seed), "--out", out, "--json"]
    command += [] if labels is None else ["--labels-per-class", str(labels)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


def mean(results: list[dict], metric: str) -> float:
    return sum(result["test"][metric]["value"] for result in results) / len(results)


def main() -> None:
    data = Path(sys.argv[1])
    print(machine())
    with tempfile.TemporaryDirectory() as work:
        for labels in BUDGETS:
            rows = []
            for name, asked in ASKED.items():
                drawn = labels is not None or name in WITHOUT_SPLIT
                results = [fit(data / f"{name}.tar", seed, work, labels) for seed in range(3 if drawn else 1)]
                if labels is None:
                    with tarfile.open(data / f"{name}.tar") as archive:
                        archive.extractall(work, filter="data")
                    unpacked = fit(Path(work) / name, 0, work)
                    for part in ("test", "baselines", "examples", "classes"):
                        assert unpacked[part] == results[0][part], f"{name}: tar and folder differ in {part}"
                rows.append((mean(results, "accuracy"), mean(results, "ece")))
                each = ", ".join(f"{result['test']['accuracy']['value']:.3f}" for result in results)
                how = " ".join(f"{result['layer']}/{result['head']}" for result in results)
                goal = f" (asked {asked})" if labels is None else ""
                simple = results[0]["baselines"]["simple"]
                print(
                    f"{labels or 'all':>3} {name:<12} {rows[-1][0]:.4f}{goal} [{each}] ece {rows[-1][1]:.3f} "
                    f"simple {simple:.3f}  {how}",
                    flush=True,
                )
            accuracy, ece = (sum(column) / len(rows) for column in zip(*rows, strict=True))
            print(f"{labels or 'all':>3} mean         {accuracy:.4f} ece {ece:.3f}", flush=True)


if __name__ == "__main__":
    main()
