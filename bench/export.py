"""Exported models against `predict` in float32: the largest difference of a probability, by kind of example and format.

Usage: python bench/export.py DATA

DATA is the folder of the data sets (README.md). Photos of ants_bees come in five shapes, turned by each orientation of
EXIF, as large JPEGs of reduced scale, grey, CMYK and with alpha; texts of trec6 on MiniLM with words beside, and on
wordllama; recordings of spoken_digits, alone and ten after one another. The model is fitted on each set, then exported.
"""

from __future__ import annotations

import argparse
import io
import os
import tempfile
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from machine import machine
from PIL import Image

import headstart as hs
from headstart.base.progress import Progress
from headstart.cli.export import run_export
from headstart.data.audio.decoding import samples
from headstart.data.readers.open import open_dataset
from headstart.model import Model
from headstart.run.options import ExportOptions

FORMATS = ("onnx", "openvino")
SHAPES = ((500, 333), (333, 500), (120, 160), (700, 90), (224, 224))
PHOTOS, RECORDINGS = 20, 20


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x112] = orientation
    return exif


def with_alpha(image: Image.Image) -> Image.Image:
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


def photo_kinds() -> dict[str, Callable[[Image.Image], bytes]]:
    kinds = {
        f"{height} x {width}": lambda image, size=(width, height): encoded(image.resize(size), "PNG")
        for height, width in SHAPES
    }
    for orientation in range(2, 9):
        kinds[f"EXIF {orientation}"] = lambda image, o=orientation: encoded(image, "JPEG", exif=turned(o))
    kinds["JPEG 1,601 x 1,067, EXIF 1 to 8"] = lambda image: encoded(
        image.resize((1601, 1067)), "JPEG", exif=turned(1 + image.size[1] % 8)
    )
    kinds["grey"] = lambda image: encoded(image.convert("L"), "JPEG")
    kinds["CMYK"] = lambda image: encoded(image.convert("CMYK"), "JPEG")
    kinds["alpha"] = lambda image: encoded(with_alpha(image.copy()), "PNG")
    return kinds


def ten_after_another(recordings: list[bytes], place: int) -> bytes:
    chosen = [recordings[(place + step) % len(recordings)] for step in range(10)]
    whole = np.concatenate([samples(data, rate=16_000, seconds=10) for data in chosen])
    file = io.BytesIO()
    with wave.open(file, "wb") as written:
        written.setparams((1, 2, 16_000, len(whole), "NONE", ""))
        written.writeframes((whole * 32767).clip(-32768, 32767).astype("<i2").tobytes())
    return file.getvalue()


def written(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def some(data: Path, count: int) -> list[bytes]:
    dataset = open_dataset(str(data))
    return [dataset.read(int(place)) for place in np.linspace(0, len(dataset) - 1, count).round()]


def sets(data: Path, place: Path) -> Iterator[tuple[str, Model, Path, list[tuple[str, Path]]]]:
    model = hs.fit(data / "ants_bees.tar", out=place / "photos")
    images = [Image.open(io.BytesIO(each)).convert("RGB") for each in some(data / "ants_bees.tar", PHOTOS)]
    folders = []
    for kind, made in photo_kinds().items():
        files = {f"{at}.bin.jpg": made(image) for at, image in enumerate(images)}
        folders.append((kind, written(place / f"photos-{len(folders)}", files)))
    yield "photos", model, place / "photos", folders
    for uri in ("packaged:minilm", "packaged:wordllama"):
        out = place / uri.replace(":", "-")
        model = hs.fit(data / "trec6.tar", source=uri, labels_per_class=40, out=out)
        texts = {f"{at}.txt": each for at, each in enumerate(some(data / "trec6.tar", 100))}
        yield f"texts, {uri}", model, out, [("questions", written(place / f"texts-{uri[9:]}", texts))]
    model = hs.fit(data / "spoken_digits.tar", labels_per_class=20, out=place / "sounds")
    recordings = some(data / "spoken_digits.tar", RECORDINGS)
    alone = written(place / "alone", {f"{at}.wav": each for at, each in enumerate(recordings)})
    ten = {f"{at}.wav": ten_after_another(recordings, at) for at in range(RECORDINGS)}
    yield "recordings", model, place / "sounds", [("alone", alone), ("ten in a row", written(place / "ten", ten))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    data = parser.parse_args().data.resolve()
    print(machine())
    print("| model | examples | format | largest difference | same class | ms, exported | ms, predict |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("HEADSTART_CACHE", f"{folder}/cache")
        for what, model, bundle, folders in sets(data, Path(folder)):
            for kind, examples in folders:
                for runtime in FORMATS:
                    options = ExportOptions(to=runtime, data=str(examples), out=Path(folder) / "exported")
                    _, parity = run_export(bundle, options, Progress())
                    ms, uri = parity.milliseconds, model.source.info.uri
                    print(
                        f"| {what}: {uri} | {kind} | {runtime} | {parity.largest_difference:.1e} | "
                        f"{parity.same_class} of {parity.examples} | {ms['exported']:.0f} | {ms['predict']:.0f} |",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
