"""`predict` over many photos against the extraction of `fit`, by turns, and its memory.

    python bench/predict.py DATA [--photos N] [--rounds N]

DATA is the folder of the data sets; the photos are those of Tiny ImageNet. Both begin with an empty cache of features
and a converted network. Rates are of seconds of processor, with those of the clock beside them; memory is the peak of
`predict` at a tenth of the photos and at all.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from itertools import chain, islice
from pathlib import Path

import pyarrow.parquet as pq

EXTRACT = """
import sys
from pathlib import Path
from headstart.base.config import cache_dir
from headstart.data.readers.open import open_inputs
from headstart.features.extract import extract
import headstart as hs
extract(open_inputs([Path(sys.argv[2])]), hs.load(sys.argv[1]).source, cache=cache_dir())
"""


def measured(command: list[str]) -> tuple[float, float, float]:
    """Return seconds of processor and of the clock, and the MiB of the peak, of a command in a process of its own."""
    code = (
        "import resource, subprocess, sys, time, json\n"
        "start = time.perf_counter()\n"
        "subprocess.run(json.loads(sys.argv[1]), check=True, stdout=subprocess.DEVNULL)\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(json.dumps([used.ru_utime + used.ru_stime, time.perf_counter() - start, used.ru_maxrss / 1024]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(command)], check=True, stdout=subprocess.PIPE, text=True
    )
    return tuple(json.loads(done.stdout))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--photos", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=2)
    chosen = parser.parse_args()
    cache = Path(tempfile.mkdtemp())
    os.environ["HEADSTART_CACHE"] = str(cache)
    tables = [pq.ParquetFile(chosen.data / "tiny-imagenet" / f"{part}.parquet") for part in ("train", "val")]
    rows = (batch.to_pylist() for table in tables for batch in table.iter_batches(256, columns=["image"]))
    every = [row["image"]["bytes"] for row in islice(chain.from_iterable(rows), chosen.photos)]
    assert len(every) == chosen.photos, f"there are {len(every):,} photos"
    for name, count in (("all", chosen.photos), ("tenth", chosen.photos // 10)):
        (cache / name).mkdir()
        for place, photo in enumerate(every[:count]):
            (cache / name / f"{place:06d}.jpg").write_bytes(photo)
    run = str(cache / "run")
    fit = [sys.executable, "-m", "headstart", "fit", str(chosen.data / "ants_bees.tar"), "--out", run, "-q"]
    subprocess.run(fit, check=True, stdout=subprocess.DEVNULL)
    predict = [sys.executable, "-m", "headstart", "predict", run, "-q", "--out", str(cache / "out.csv")]
    ways = {
        "extraction": [sys.executable, "-c", EXTRACT, run, str(cache / "all")],
        "predict": [*predict, str(cache / "all")],
    }
    figures: dict[str, list[tuple[float, float, float]]] = {name: [] for name in ways}
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {chosen.photos:,} photos")
    for _ in range(chosen.rounds):
        for name, command in ways.items():
            for stored in cache.glob("features*"):
                stored.unlink()
            figures[name].append(measured(command))
            used, clock, peak = figures[name][-1]
            print(
                f"{name}: {chosen.photos / used:.1f} photos a second of processor, {chosen.photos / clock:.1f} of the "
                f"clock, peak {peak:.0f} MiB",
                flush=True,
            )
    ratios = [a[0] / b[0] for a, b in zip(figures["extraction"], figures["predict"], strict=True)]
    print(f"predict has {sum(ratios) / len(ratios):.3f} of the rate of extraction (of processor)")
    for stored in cache.glob("features*"):
        stored.unlink()
    print(f"peak of predict at a tenth of the photos: {measured([*predict, str(cache / 'tenth')])[2]:.0f} MiB")
    shutil.rmtree(cache)


if __name__ == "__main__":
    main()
