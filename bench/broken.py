"""Peak memory of the process of `fit` on folders with many broken files of each kind.

    python bench/broken.py DATA [KIND…]

DATA is the folder of the data sets. KIND is how the name of a kind begins; without any, all are measured. Beside 60
sound photos of ants_bees there are 500 broken files of one kind at a time. The network is converted before, by a
process of its own that imports torch: a figure is what the process of `fit` holds, which are libraries, features, and
whatever broken files leave behind.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from machine import machine
from PIL import Image

BROKEN = 500
SOUND = 30  # of each of the two classes
PROBE = """
import sys
from headstart.cli.app import main
try:
    main()
finally:
    print([line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")][0], file=sys.stderr)
"""


def large(encoding: str, side: int, **options: object) -> bytes:
    """Return a smooth picture."""
    small = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(small).resize((side, side)).save(file, encoding, **options)
    return file.getvalue()


def kinds() -> Iterator[tuple[str, str, Callable[[int], bytes]]]:
    """Yield name, suffix and maker of each kind of broken file; the maker is told its number."""
    jpeg, png, tiff = large("JPEG", 3000), large("PNG", 3000, compress_level=1), large("TIFF", 1500)
    tail = lambda number: number.to_bytes(4, "big")  # noqa: E731 - so that no two are copies
    yield "20 MB of zeros", ".jpg", lambda number: tail(number) + bytes(20_000_000)
    yield "JPEG cut in half", ".jpg", lambda number: jpeg[: len(jpeg) // 2] + tail(number)
    yield "PNG cut at the end", ".png", lambda number: png[: len(png) - 50 - number]
    yield "TIFF cut in half", ".tif", lambda number: tiff[: len(tiff) // 2] + tail(number)
    bmp = b"BM" + bytes(16) + b"\x28\0\0\0" + b"\x40\x42\x0f\0" * 2
    yield "BMP of 10^12 pixels", ".bmp", lambda number: bmp + tail(number)
    yield "PNG of a bomb", ".png", bomb
    yield "HTML", ".jpg", lambda number: b"<html>" + tail(number) * 1000
    yield "empty", ".jpg", lambda number: b""


def bomb(number: int) -> bytes:
    """Return a PNG that unpacks to far more than its header allows."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = (100).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0"
    packed = zlib.compress(bytes(50_000_000) + number.to_bytes(4, "big"))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"tEXt", b"a\0" + packed) + chunk(b"IDAT", packed[:40])


def photos(data: Path, folder: Path) -> None:
    """Unpack some photos of two classes."""
    taken: dict[str, int] = {}
    with tarfile.open(data / "ants_bees.tar") as tar:
        for member in tar:
            label = Path(member.name).parent.name
            if not member.isfile() or taken.get(label, 0) == SOUND:
                continue
            number = taken[label] = taken.get(label, 0) + 1
            (folder / label).mkdir(parents=True, exist_ok=True)
            file = tar.extractfile(member)
            assert file is not None
            (folder / label / f"sound{number}.jpg").write_bytes(file.read())


def peak(folder: Path, cache: Path) -> float:
    """Return the peak memory, MiB, of the process of `fit`."""
    command = [sys.executable, "-c", PROBE, "fit", str(folder), "--allow-broken", "-q", "--out", str(cache / "out")]
    environment = {**os.environ, "HEADSTART_CACHE": str(cache)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return int(done.stderr.split()[-1]) / 1024


def main() -> None:
    """Measure one kind after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("kinds", nargs="*", default=[""])
    options = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory(prefix="headstart-") as place:
        folder, cache = Path(place, "photos"), Path(place, "cache")
        photos(options.data, folder)
        print(f"sound photos alone, network converted first | {peak(folder, cache):.0f} MiB")
        (cache / "features.sqlite").unlink()
        print(f"sound photos alone | {peak(folder, cache):.0f} MiB", flush=True)
        for name, suffix, make in kinds():
            if not name.startswith(tuple(options.kinds)):
                continue
            broken = [folder / "ants" / f"broken{number}{suffix}" for number in range(BROKEN)]
            for number, path in enumerate(broken):
                path.write_bytes(make(number))
            print(f"{BROKEN} of {name} | {peak(folder, cache):.0f} MiB", flush=True)
            for path in broken:
                path.unlink()


if __name__ == "__main__":
    main()
