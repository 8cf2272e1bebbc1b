"""Whole commands against the prototype and against OpenVINO alone, on the same photos in one run.

Usage: python bench/end_to_end.py FOLDER [--rounds 3]     (a split folder, such as ants_bees unpacked)
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import machine

ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""That of a person: what is imported is compiled once."""
ALONE = """
import sys, time, numpy as np
from pathlib import Path
from concurrent.futures import ThreadPoolExecutor
from headstart.base.config import cache_dir
from headstart.engines.select import open_engine
from headstart.sources.registry import open_source
source = open_source("packaged:efficientnet-lite0")
files = sorted(file for file in Path(sys.argv[1]).rglob("*") if file.is_file())
sample = np.zeros((1, *source.network().input_shape), np.uint8)
engine = open_engine(source.network(), engine="openvino", sample=lambda: sample, cache=cache_dir(), say=id)
start = time.perf_counter()
with ThreadPoolExecutor(2) as threads:
    pictures = list(threads.map(lambda file: source.prepare(file.read_bytes()), files))
for at in range(0, len(files), engine.batch):
    engine.run(np.stack(pictures[at : at + engine.batch]))
print(time.perf_counter() - start)
"""


def timed(command: list[str], environment: dict[str, str]) -> tuple[float, str]:
    start = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return time.perf_counter() - start, done.stdout


def fit(folder: Path, work: Path, cache: Path) -> tuple[float, dict]:
    environment = {**ENVIRONMENT, "HEADSTART_CACHE": str(cache)}
    out = tempfile.mkdtemp(dir=work)
    seconds, output = timed(
        [sys.executable, "-m", "headstart", "fit", str(folder), "--out", out, "--json"], environment
    )
    return seconds, json.loads(output.splitlines()[-1])


def page(classes: int = 200) -> tuple[float, float]:
    """Return the seconds of measuring 3,080 examples of 77 classes, and of writing the page of so many classes."""
    import numpy as np

    from headstart.data.modality import MODALITIES
    from headstart.judge.metrics import evaluate
    from headstart.judge.report.fit_page import Report, render

    rng = np.random.default_rng(0)
    start = time.perf_counter()
    test = evaluate(rng.dirichlet(np.ones(77), 3080), rng.integers(77, size=3080), [str(n) for n in range(77)])
    measured = time.perf_counter() - start
    result = {"task": MODALITIES["image"].task, "source": "toy", "classes": [f"class {n}" for n in range(classes)]}
    result |= {"test": test, "baselines": {"majority": 0.1, "simple": 0.2}, "seconds": {"total": 1.0}, "warnings": []}
    result |= {"examples": dict.fromkeys(("train", "validation", "test", "skipped", "ignored"), 1000)}
    result |= {"cache": {"hits": 0, "misses": 0}, "engine": "none"}
    report = Report("bench", result, "", rng.integers(5, size=(classes, classes)))
    render(report)
    start = time.perf_counter()
    render(report)
    return measured, time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    print(machine())
    rows: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for number in range(asked.rounds):
            cache = work / f"cache-{number}"
            environment = {**ENVIRONMENT, "HEADSTART_CACHE": str(cache)}
            prototype, _ = timed(
                [sys.executable, str(Path(__file__).with_name("prototype.py")), str(asked.folder)], environment
            )
            everything_cold, _ = fit(asked.folder, work, cache)
            for file in cache.glob("features.sqlite*"):
                file.unlink()
            cold, result = fit(asked.folder, work, cache)
            warm, again = fit(asked.folder, work, cache)
            assert again["cache"]["misses"] == 0 and again["test"] == result["test"]
            alone = float(timed([sys.executable, "-c", ALONE, str(asked.folder)], environment)[1])
            metrics, rendering = page()
            help_, _ = timed([sys.executable, "-m", "headstart", "--help"], environment)
            for name, value in {
                "prototype": prototype,
                "OpenVINO alone (decode + run)": alone,
                "fit, nothing cached": everything_cold,
                "fit, network cached, features cold": cold,
                "fit, features warm": warm,
                "headstart --help": help_,
                "metrics of 3,080 examples of 77 classes": metrics,
                "page of 200 classes": rendering,
                "RATIO fit nothing cached / prototype": everything_cold / prototype,
                "RATIO fit network cached / prototype": cold / prototype,
                "RATIO fit nothing cached / OpenVINO alone": everything_cold / alone,
                "RATIO fit network cached / OpenVINO alone": cold / alone,
            }.items():
                rows.setdefault(name, []).append(value)
    for name, values in rows.items():
        print(f"{name:<46} median {statistics.median(values):7.2f}   {', '.join(f'{value:.2f}' for value in values)}")


if __name__ == "__main__":
    main()
