"""Resident memory of `headstart fit` on many generated photos.

Usage: python bench/memory.py [--photos 20000]
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
from PIL import Image

CLASSES = 10


def generate(folder: Path, photos: int) -> None:
    """Write photos of 500x375 pixels: noise of a hue per class over a random gradient, JPEG quality 85."""
    rng = np.random.default_rng(0)
    grain = rng.integers(0, 60, (900, 900, 3), dtype=np.uint8)
    for number in range(photos):
        kind = number % CLASSES
        target = folder / f"class{kind}"
        target.mkdir(exist_ok=True, parents=True)
        y, x = rng.integers(0, 500, 2)
        picture = grain[y : y + 375, x : x + 500] + np.array([kind * 18, 180 - kind * 12, (kind * 53) % 190], np.uint8)
        picture[number % 300 : number % 300 + 40, number % 400 : number % 400 + 60] = 255
        Image.fromarray(picture).save(target / f"{number:06d}.jpg", quality=85)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--photos", type=int, default=20_000)
    photos = parser.parse_args().photos
    print(machine())
    with tempfile.TemporaryDirectory() as work:
        generate(Path(work) / "photos", photos)
        environment = {**os.environ, "HEADSTART_CACHE": str(Path(work) / "cache")}
        out = str(Path(work) / "out")
        command = [sys.executable, "-m", "headstart", "fit", str(Path(work) / "photos"), "--out", out, "--json"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        result = json.loads(done.stdout.splitlines()[-1])
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024**2
    print(
        f"{photos} photos of 500x375: peak resident {peak:.2f} GiB, accuracy {result['test']['accuracy']['value']:.3f}"
    )
    print(f"seconds {result['seconds']}")


if __name__ == "__main__":
    main()
