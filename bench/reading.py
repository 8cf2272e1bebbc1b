"""Opening a folder of 100,000 files and reading every one, against an older checkout: processor time and peak memory.

    python bench/reading.py BASELINE [--files 100000] [--rounds 3]

BASELINE is the folder of a checkout, such as of `git worktree add --detach`. Each figure is in a fresh process, the
two checkouts take turns, and the medians are compared.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

CLASSES = 100
HERE = Path(__file__).resolve().parents[1]
MEASURE = """
import resource, sys, time
from headstart.data.readers.open import open_dataset
start = time.process_time()
data = open_dataset(sys.argv[1])
opened = time.process_time()
for position in range(len(data)):
    data.read(position)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(len(data), opened - start, time.process_time() - opened, peak)
"""


def fill(folder: Path, files: int) -> None:
    """Write class folders of small files that begin as JPEG does."""
    for number in range(files):
        path = folder / "train" / f"class{number % CLASSES}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\xff\xd8\xff%d" % number)


def measured(checkout: Path, folder: Path) -> list[float]:
    """Return the examples, the seconds of opening and of reading, and the peak memory in MiB of one fresh process."""
    environment = {**os.environ, "PYTHONPATH": str(checkout / "src")}
    command = [sys.executable, "-c", MEASURE, str(folder)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return [float(value) for value in run.stdout.split()]


def main() -> None:
    """Print the medians of both checkouts and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("baseline", type=Path)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder), options.files)
        rounds = [
            [measured(checkout, Path(folder)) for checkout in (options.baseline, HERE)] for _ in range(options.rounds)
        ]
    medians = [[statistics.median(one[side][at] for one in rounds) for at in range(4)] for side in (0, 1)]
    for name, (count, opening, reading, peak) in zip(("baseline", "this"), medians, strict=True):
        print(f"{name}: {count:,.0f} files, opened in {opening:.2f} s, read in {reading:.2f} s, peak {peak:.0f} MiB")
    before, now = (opening + reading for _, opening, reading, _ in medians)
    print(f"ratio: {now / before:.2f} of the time, {medians[1][3] / medians[0][3]:.2f} of the memory")


if __name__ == "__main__":
    main()
