"""Test accuracy of `headstart fit`, no tuning, on the five photo sets; tar and folder must agree to the last digit.

Usage: python bench/accuracy.py DATA     (the folder that holds ants_bees.tar, cats_dogs.tar, …)
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


def fit(data: Path, seed: int, work: str) -> dict:
    out = tempfile.mkdtemp(dir=work)
    command = [sys.executable, "-m", "headstart", "fit", str(data), "--seed", str(seed), "--out", out, "--json"]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


def main() -> None:
    data = Path(sys.argv[1])
    print(machine())
    with tempfile.TemporaryDirectory() as work:
        for name, asked in ASKED.items():
            with tarfile.open(data / f"{name}.tar") as archive:
                archive.extractall(work, filter="data")
            seeds = range(3) if name in WITHOUT_SPLIT else range(1)
            results = [fit(data / f"{name}.tar", seed, work) for seed in seeds]
            unpacked = fit(Path(work) / name, 0, work)
            for part in ("test", "baselines", "examples", "classes"):
                assert unpacked[part] == results[0][part], f"{name}: tar and folder differ in {part}"
            values = [result["test"]["accuracy"]["value"] for result in results]
            mean = sum(values) / len(values)
            first = results[0]
            print(
                f"{name:<12} {mean:.4f} (asked {asked})  each {values}  "
                f"majority {first['baselines']['majority']:.3f}  simple {first['baselines']['simple']:.3f}  "
                f"layer {first['layer']}  head {first['head']}"
            )


if __name__ == "__main__":
    main()
