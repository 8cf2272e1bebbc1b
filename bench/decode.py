"""`images.decode` against Pillow's full decode, resize and centre crop of the same photos, paired in one run.

Usage: python bench/decode.py FOLDER_OR_TAR… [--rounds 3] [--most 200]

With `--before OTHER_CHECKOUT/src`: the same photos, as they are and as PNG, and recordings of every format (noise, and
those of the sets given), decoded by both checkouts in turns.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from machine import machine
from PIL import Image, ImageOps

from headstart.data.images.formats import IMAGE_SUFFIXES
from headstart.data.images.preprocessing import MARGIN, Preprocessing, decode

HERE = Path(__file__).resolve().parents[1] / "src"
HOW = Preprocessing((224, 224), 256)


def files(path: Path, suffixes: Collection[str]) -> Iterator[bytes]:
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if file.suffix.lower() in suffixes)
        yield from (file.read_bytes() for file in found)
        return
    with tarfile.open(path) as archive:
        for member in archive:
            if Path(member.name).suffix.lower() in suffixes:
                yield archive.extractfile(member).read()


def whole(data: bytes) -> np.ndarray:
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    short = min(image.size)
    size = tuple(HOW.resize if side == short else int(HOW.resize * side / short) for side in image.size)
    left, top = (round((side - 224) / 2) for side in size)
    return np.asarray(image.resize(size, Image.Resampling.BICUBIC).crop((left, top, left + 224, top + 224)))


def seconds(work: Callable[[bytes], object], photos: list[bytes], threads: int) -> float:
    start = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, photos):
            pass
    return time.perf_counter() - start


def measure(name: str, photos: list[bytes], rounds: int) -> None:
    differences = [np.abs(decode(data, HOW).astype(int) - whole(data)) for data in photos]
    mean, worst = np.mean([each.mean() for each in differences]), max(each.max() for each in differences)
    print(f"{name}: {len(photos)} photos; differs by {mean:.3f} on average, {worst} at most (levels of 0..255)")
    for threads in (1, 2):
        pairs = [(seconds(whole, photos, threads), seconds(decode_usual, photos, threads)) for _ in range(rounds)]
        ratio = statistics.median(slow / fast for slow, fast in pairs)
        slow, fast = (statistics.median(column) / len(photos) * 1000 for column in zip(*pairs, strict=True))
        print(f"  {threads} thread(s): Pillow {slow:.2f} ms, decode {fast:.2f} ms per photo: {ratio:.2f} times as fast")


def decode_usual(data: bytes) -> np.ndarray:
    return decode(data, HOW)


def recordings(sets: list[tuple[str, list[bytes]]]) -> Iterator[tuple[str, list[bytes]]]:
    """Yield the recordings of each set, and 40 seconds of noise in recordings of 1 and 10 s, in each format."""
    import soundfile

    rng = np.random.default_rng(0)
    clips = {name: [soundfile.read(io.BytesIO(data)) for data in some] for name, some in sets}
    clips |= {
        f"noise of {length} s": [(rng.normal(0, 0.1, 16_000 * length), 16_000) for _ in range(40 // length)]
        for length in (1, 10)
    }
    for kind, coding in (("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None)):
        for name, some in clips.items():
            encoded = []
            for wave, rate in some:
                file = io.BytesIO()
                soundfile.write(file, wave, rate, format=kind, subtype=coding)
                encoded.append(file.getvalue())
            yield f"{name}, {' '.join(filter(None, [kind, coding]))}", encoded


def as_png(data: bytes) -> bytes:
    file = io.BytesIO()
    Image.open(io.BytesIO(data)).convert("RGB").save(file, "PNG", compress_level=1)
    return file.getvalue()


def hear(data: bytes) -> None:
    from headstart.data.audio.decoding import remarks, samples

    remarks(data, "a.wav")
    samples(data, rate=16_000, seconds=10)


def serve(photos: list[tuple[str, list[bytes]]], sounds: list[tuple[str, list[bytes]]]) -> None:
    """Print the names of the kinds of files; then, for each number of one that comes, the milliseconds of one pass."""
    works = [(name, decode_usual, some) for name, some in photos]
    works += [(f"{name}, as PNG", decode_usual, [as_png(data) for data in some]) for name, some in photos]
    works += [(name, hear, some) for name, some in recordings(sounds)]
    print(json.dumps([name for name, _, _ in works]), flush=True)
    for line in sys.stdin:
        _, work, some = works[int(line)]
        start = time.process_time()
        for data in some:
            work(data)
        print((time.process_time() - start) / len(some) * 1000, flush=True)


def compare(before: Path, rounds: int) -> None:
    """Let both checkouts decode the same files by turns, pass by pass: what else the machine does meets both alike."""
    children = [
        subprocess.Popen(
            [sys.executable, __file__, *sys.argv[1:], "--child"],
            env={**os.environ, "PYTHONPATH": str(source)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for source in (before, HERE)
    ]

    def taken(child: subprocess.Popen[str], number: int) -> float:
        print(number, file=child.stdin, flush=True)
        return float(child.stdout.readline())

    names = [json.loads(child.stdout.readline()) for child in children].pop()
    print("| files | before, ms | now, ms | now / before (median of the pairs) |\n|---|---|---|---|")
    for number, name in enumerate(names):
        pairs = [[taken(child, number) for child in children] for _ in range(rounds + 2)][2:]  # the first ones import
        old, new = map(min, zip(*pairs, strict=True))
        ratio = statistics.median(after / earlier for earlier, after in pairs)
        print(f"| {name} | {old:.3f} | {new:.3f} | {ratio:.3f} |", flush=True)
    for child in children:
        child.communicate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--most", type=int, default=200)
    parser.add_argument("--before", type=Path)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.before and not asked.child:
        return compare(asked.before, asked.rounds)
    sets: tuple[list[tuple[str, list[bytes]]], ...] = ([], [])
    for path in asked.data:
        for kind, suffixes in zip(sets, (IMAGE_SUFFIXES, {".wav", ".flac", ".ogg", ".mp3"}), strict=True):
            if every := list(files(path, suffixes)):
                kind.append((path.stem, every[:: max(1, len(every) // asked.most)][: asked.most]))
    if asked.child:
        return serve(*sets)
    print(machine())
    print(f"margin {MARGIN}, {HOW.interpolation}, shorter side {HOW.resize}, crop {HOW.size[0]} x {HOW.size[1]}")
    for name, some in sets[0]:
        measure(name, some, asked.rounds)
    return None


if __name__ == "__main__":
    main()
