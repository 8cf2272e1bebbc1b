"""`images.decode` against Pillow's full decode, resize and centre crop of the same photos, paired in one run.

Usage: python bench/decode.py FOLDER_OR_TAR… [--rounds 3] [--most 200]
"""

from __future__ import annotations

import argparse
import io
import statistics
import tarfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from machine import machine
from PIL import Image, ImageOps

from headstart.data.images.formats import IMAGE_SUFFIXES
from headstart.data.images.preprocessing import MARGIN, Preprocessing, decode

HOW = Preprocessing((224, 224), 256)


def photos(path: Path) -> Iterator[bytes]:
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES)
        yield from (file.read_bytes() for file in files)
        return
    with tarfile.open(path) as archive:
        for member in archive:
            if Path(member.name).suffix.lower() in IMAGE_SUFFIXES:
                yield archive.extractfile(member).read()


def whole(data: bytes) -> np.ndarray:
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    short = min(image.size)
    size = tuple(HOW.resize if side == short else int(HOW.resize * side / short) for side in image.size)
    left, top = (round((side - 224) / 2) for side in size)
    return np.asarray(image.resize(size, Image.Resampling.BICUBIC).crop((left, top, left + 224, top + 224)))


def seconds(work: Callable[[bytes], object], files: list[bytes], threads: int) -> float:
    start = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, files):
            pass
    return time.perf_counter() - start


def measure(name: str, files: list[bytes], rounds: int) -> None:
    differences = [np.abs(decode(data, HOW).astype(int) - whole(data)) for data in files]
    mean, worst = np.mean([each.mean() for each in differences]), max(each.max() for each in differences)
    print(f"{name}: {len(files)} photos; differs by {mean:.3f} on average, {worst} at most (levels of 0..255)")
    for threads in (1, 2):
        pairs = [(seconds(whole, files, threads), seconds(decode_usual, files, threads)) for _ in range(rounds)]
        ratio = statistics.median(slow / fast for slow, fast in pairs)
        slow, fast = (statistics.median(column) / len(files) * 1000 for column in zip(*pairs, strict=True))
        print(f"  {threads} thread(s): Pillow {slow:.2f} ms, decode {fast:.2f} ms per photo: {ratio:.2f} times as fast")


def decode_usual(data: bytes) -> np.ndarray:
    return decode(data, HOW)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--most", type=int, default=200)
    asked = parser.parse_args()
    print(machine())
    print(f"margin {MARGIN}, {HOW.interpolation}, shorter side {HOW.resize}, crop {HOW.size[0]} x {HOW.size[1]}")
    for path in asked.data:
        files = list(photos(path))
        measure(path.stem, files[:: max(1, len(files) // asked.most)][: asked.most], asked.rounds)


if __name__ == "__main__":
    main()
