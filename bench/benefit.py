"""`compare`: planted truth and nulls, coverage of the intervals, and two verdicts on real data.

Usage: python bench/benefit.py [planted] [coverage] [digits] [pets] [--data DATA] [--seeds 100] [--only KIND]

`planted`: whole comparisons of toy pictures (`testing.toy_stripes`, 3 directions, 10 labels each), `--seeds` of each
kind: a source that knows the directions; one whose weights are shuffled within each tensor; permuted labels; and two
scratch arms against each other, with other initial weights on the same splits.
`coverage`: 500 simulated experiments of a known difference for each of some sizes (tests/support/simulated.py).
`digits`, `pets`: the command line on scikit-learn's digits as 8 x 8 pictures and on cats_dogs.tar, 10 labels per class.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

import numpy as np

from machine import machine

NOISE, EASY = 0.4, 0.1  # of the pictures; at the first, networks that know nothing of stripes stay at chance
SIZES = ((2, 100), (3, 30), (3, 100), (5, 30), (5, 100), (5, 500), (10, 100))


def planted(seeds: int, only: str | None = None) -> None:
    """Count the verdicts of whole comparisons on toy pictures."""
    from headstart.engines.environment import set_passive_omp_wait

    set_passive_omp_wait()
    import torch

    from headstart.base.progress import Progress
    from headstart.comparison.budget import Limits
    from headstart.comparison.compare import run_compare
    from headstart.comparison.options import CompareOptions
    from headstart.judge.benefit.benefit import Benefit, compute_benefit
    from headstart.judge.benefit.gains import FROZEN, SCRATCH, START, TUNED
    from headstart.testing import PlantedSource, ToySource, toy_stripes

    torch.set_num_threads(1)
    limits = Limits(epochs={"scratch": (10, 10), "tuned": (6, 6)})

    class OtherWeights(ToySource):
        """The same network, which other random weights than usual start scratch with."""

        def anew(self, seed: int) -> ToySource:
            return ToySource(seed + 7919)

    def compared(source, seed: int, *, permuted: bool = False, tune: str = "all", noise: float = NOISE) -> Benefit:
        pictures, labels = toy_stripes(3, 40, noise=noise, seed=seed % 10_000)
        if permuted:
            labels = np.random.default_rng(seed).permutation(labels).tolist()
        plain = CompareOptions(
            source=source, labels_per_class=(10,), seeds=5, tune=tune, budget=3600.0, seed=100 * seed
        )
        return run_compare((pictures, labels), plain, Progress(), limits=limits).benefit

    def two_scratch_arms(seed: int) -> Benefit:
        """Let scratch with other initial weights, on the same splits, stand for the source."""
        one = compared(ToySource(), seed, tune="none", noise=EASY)
        other = compared(OtherWeights(), seed, tune="none", noise=EASY)
        last, scratch = one.results[-1], other.results[-1].arms[SCRATCH]
        arms = {**{name: arm for name, arm in last.arms.items() if name != FROZEN}, TUNED: scratch, START: scratch}
        return compute_benefit([replace(last, arms=arms)], one.y, one.meta)

    kinds = {
        "planted": lambda seed: compared(PlantedSource(), seed),
        "shuffled": lambda seed: compared(PlantedSource(seed, shuffled=True), seed),
        "permuted": lambda seed: compared(PlantedSource(), seed, permuted=True),
        "two scratch arms": two_scratch_arms,
    }
    for kind, run in kinds.items():
        if only and kind != only:
            continue
        start = time.process_time()
        said: Counter[str] = Counter()
        for seed in range(seeds):
            said[run(seed).verdict] += 1
            print(f"\r{kind}: {dict(said)}", end="", file=sys.stderr, flush=True)
        print(
            f"\n{kind}: {dict(said)} of {seeds}, {(time.process_time() - start) / seeds:.1f} s of CPU each", flush=True
        )


def coverage(rounds: int = 500) -> None:
    """Print how often the interval of an accuracy difference holds the truth."""
    from simulated import answers

    from headstart.judge.crossed import difference

    for seeds, n in SIZES:
        held = 0
        for at in range(rounds):
            found = answers({"one": [0.85], "other": [0.75]}, seeds=seeds, n=n, seed=10_000 * n + at)
            one = difference(found["one"][:, 0], found["other"][:, 0], seed=at)
            held += one.low <= 0.1 <= one.high
        print(f"{seeds} seeds, {n} test examples: {100 * held / rounds:.1f} % of {rounds}", flush=True)


def compare(data: Path, out: Path, *flags: str) -> dict:
    """Return the result of the command line, in a process of its own, with a cache of its own."""
    command = [sys.executable, "-m", "headstart", "compare", str(data), *flags, "--out", str(out), "--json"]
    with tempfile.TemporaryDirectory(prefix="bench-cache-") as cache:
        start = time.perf_counter()
        said = subprocess.run(
            command, capture_output=True, text=True, check=True, env={**os.environ, "HEADSTART_CACHE": cache}
        )
    result = json.loads(said.stdout.splitlines()[-1])
    print(f"{data.name}: {result['verdict']}, {time.perf_counter() - start:.0f} s, seeds {result['seeds']}")
    print(f"  {result['sentence']}")
    for name, arm in result["arms"].items():
        if "accuracy" in arm:
            one = arm["accuracy"]
            print(f"  {name}: {one['value']:.3f} [{one['low']:.3f}, {one['high']:.3f}], {arm.get('how', '')}")
        else:
            print(f"  {name}: {arm['error']}")
    for note in result["warnings"]:
        print(f"  note: {note}")
    return result


def digits(folder: Path) -> Path:
    """Write scikit-learn's digits as 8 x 8 pictures, one folder a class."""
    from PIL import Image
    from sklearn.datasets import load_digits

    found = load_digits()
    for at, (image, label) in enumerate(zip(found.images, found.target, strict=True)):
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray((image * 255 / 16).round().astype(np.uint8)).save(folder / str(label) / f"{at:04d}.png")
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", default=["planted", "coverage", "digits", "pets"])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--only", help="one kind of planted comparison")
    parser.add_argument("--budget", default="10m")
    given = parser.parse_args()
    print(machine())
    if "planted" in given.what:
        planted(given.seeds, given.only)
    if "coverage" in given.what:
        coverage()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        work = Path(folder)
        plain = ("--labels-per-class", "10", "--budget", given.budget, "--offline")
        if "digits" in given.what:
            compare(digits(work / "digits"), work / "out-digits", *plain, "--tune", "none")
            compare(work / "digits", work / "out-digits-tuned", *plain)
        if "pets" in given.what:
            compare(given.data / "cats_dogs.tar", work / "out-pets", *plain)


if __name__ == "__main__":
    main()
