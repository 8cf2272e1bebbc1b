"""What mutants are made of, and what is done with each: it is used, skipped with a reason, or refused in one line.

Run as a program (`mutants.py KIND FIRST COUNT STRIDE`), it tries some of them in this process and prints a line of JSON
for each: one before the attempt, so that a death is known too, and one after.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import resource
import sys
import tarfile
import tempfile
import time
import traceback
import warnings
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import more_mutants
import numpy as np
from mutator import json_mutant, mutant
from tally import check_one_line

from headstart.base.errors import UsageError
from headstart.base.hashing import sha256, sha256_json
from headstart.base.progress import Progress
from headstart.data.dataset import BadExample

SECONDS, MEMORY = 5.5, 300 << 20  # of processor and of memory, that one mutant may take in this process
LABELS = ("ant", "bee")


@dataclass(frozen=True)
class Kind:
    """Sound examples, by how their files are called, how they are damaged, and what reads one."""

    seeds: dict[str, list[bytes]]
    use: Callable[[str, bytes, random.Random, Path], None]
    damage: Callable[[str, list[bytes], random.Random], bytes] = lambda name, seeds, chance: mutant(seeds, chance)


def tried(kind: Kind, seed: str, folder: Path) -> str:
    """Make the mutant of a seed, and return what became of it; anything but the three outcomes is raised."""
    chance = random.Random(seed)
    name = chance.choice(sorted(kind.seeds))
    data = kind.damage(name, kind.seeds[name], chance)
    try:
        kind.use(name, data, chance, folder)
    except BadExample as unusable:
        check_one_line(unusable.reason)
        return "skipped"
    except UsageError as error:
        check_one_line(str(error))
        return "refused"
    return "used"


# --- examples ------------------------------------------------------------------------------------------------------


def pictures() -> Kind:
    from encoded_images import ENCODED, encoded

    more = {
        "jpeg-progressive": encoded(
            "JPEG", progressive=True, exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0"
        ),
        "jpeg-cmyk": encoded("JPEG", "CMYK"),
        "png-palette": encoded("PNG", "P"),
        "png-16": encoded("PNG", "I;16"),
        "webp-lossless": encoded("WEBP", "RGBA", lossless=True),
        "tiff-lzw": encoded("TIFF", compression="tiff_lzw"),
        "tiff-float": encoded("TIFF", "F"),
        "tiff-jpeg": encoded("TIFF", compression="jpeg"),
    }
    return Kind({name: [data] for name, data in {**ENCODED, **more}.items()}, _use_picture)


def _use_picture(name: str, data: bytes, chance: random.Random, folder: Path) -> None:
    from headstart.data.images.preprocessing import Preprocessing, decode, thumbnail

    pixels = decode(data, Preprocessing((16, 24), 20))
    assert (pixels.shape, pixels.dtype) == ((16, 24, 3), np.uint8)
    if chance.random() < 0.2:
        assert thumbnail(data).startswith(b"\xff\xd8\xff")


def recordings() -> Kind:
    from recordings import recording, tone

    sound = tone(seconds=0.2, rate=8_000)
    stereo = np.stack([sound, sound / 2], axis=1)
    rows: tuple[tuple[str, str, str | None], ...] = (
        *(("wav", "WAV", coding) for coding in (None, "PCM_24", "FLOAT", "ULAW", "MS_ADPCM", "IMA_ADPCM")),
        *(("rf64", "RF64", None), ("flac", "FLAC", None), ("ogg", "OGG", "VORBIS"), ("opus", "OGG", "OPUS")),
        *(("mp3", "MP3", None), ("aiff", "AIFF", None), ("au", "AU", None), ("wavex", "WAVEX", None)),
    )
    made: dict[str, list[bytes]] = {}
    for name, kind, coding in rows:
        files = [recording(one, rate=8_000, kind=kind, coding=coding) for one in (sound, stereo)]
        made.setdefault(name, []).extend(files)
    return Kind(made, _use_recording)


def _use_recording(name: str, data: bytes, chance: random.Random, folder: Path) -> None:
    from headstart.data.audio.decoding import remarks, samples

    for clause in remarks(data, f"x.{name}"):
        check_one_line(clause)
    heard = samples(data, rate=16_000, seconds=0.5)
    assert heard.ndim == 1
    assert np.isfinite(heard).all()


# --- data sets -----------------------------------------------------------------------------------------------------


def _use_file(name: str, data: bytes, chance: random.Random, folder: Path) -> None:
    from headstart.data.audit import scan
    from headstart.data.readers.open import open_dataset, open_inputs

    path = folder / name  # or, without a name, what lies in the folder
    if name:
        path.write_bytes(data)
    kind: Any = "text" if name.startswith("texts") else "image"
    dataset = open_dataset(path) if not name or chance.random() < 0.7 else open_inputs([path], kind=kind)
    found = scan(dataset, progress=Progress()).dataset
    for skipped in found.skipped:
        check_one_line(skipped.reason)
    for note in found.notes:
        check_one_line(note)


def _further(make: Callable[[more_mutants.Use], more_mutants.Made]) -> Kind:
    return Kind(*make(_use_file))


def tables() -> Kind:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [(f"{label} number {at}, “quoted”", label) for label in LABELS for at in range(6)]
    quoted = ["".join(f'"{text}"{mark}"{label}"\n' for text, label in rows) for mark in ",;"]
    lines = "".join(json.dumps({"text": text, "label": label, "more": {"a": [1]}}) + "\n" for text, label in rows)
    paths = "path,label,split\n" + "".join(f"{label}/{at}.jpg,{label},train\n" for label in LABELS for at in range(4))
    packed = io.BytesIO()
    texts, labels = zip(*rows, strict=True)
    pq.write_table(
        pa.table({"text": list(texts), "label": pa.array(labels).dictionary_encode()}), packed, row_group_size=5
    )
    return Kind(
        {
            "texts.csv": [f"text,label\n{quoted[0]}".encode(), f"text;label\r\n{quoted[1]}".encode("utf-16")],
            "paths.csv": [paths.encode(), paths.replace(",", ";").encode("latin-1")],
            "texts.tsv": [("text\tlabel\n" + "".join(f"{a}\t{b}\n" for a, b in rows)).encode()],
            "texts.jsonl": [lines.encode()],
            "texts.parquet": [packed.getvalue()],
        },
        _use_file,
    )


def archives() -> Kind:
    from encoded_images import ENCODED

    members = {f"data/{label}/{at}é.jpg": ENCODED["jpeg"] + bytes([at]) for label in LABELS for at in range(4)}
    made: dict[str, list[bytes]] = {"x.zip": [], "x.tar": []}
    for how in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", how) as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        made["x.zip"].append(file.getvalue())
    for style in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w", format=style) as tar:
            for name, data in members.items():
                info = tarfile.TarInfo(name if style == tarfile.USTAR_FORMAT else f"{name[:-4]}{'x' * 120}.jpg")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        made["x.tar"].append(file.getvalue())
    return Kind(made, _use_file)


# --- checkpoints and bundles -----------------------------------------------------------------------------------------


def checkpoints() -> Kind:
    import torch
    from safetensors.torch import save

    from headstart.sources.registry import open_source

    state = {
        name: value.clone() for name, value in open_source("arch:lenet5", weights="none").module().state_dict().items()
    }
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        torch.save(state, folder / "new.pth")
        torch.save({"state_dict": state, "epoch": 3}, folder / "older.pth", _use_new_zipfile_serialization=False)
        made = {"x.pth": [(folder / name).read_bytes() for name in ("new.pth", "older.pth")]}
        made["x.onnx"] = [_onnx(folder)]
        made |= _keras(folder)
    made["x.safetensors"] = [save(state)]
    words = "".join(f"word{at} {at} 0.5 -1.25\n" for at in range(40))
    packed = b"40 3\n" + b"".join(b"word%d " % at + np.full(3, at, np.float32).tobytes() for at in range(40))
    made |= {"x.vec": [words.encode(), f"40 3\n{words}".encode()], "x.bin": [packed]}
    made["x.txt.gz"] = [gzip.compress(words.encode(), mtime=0)]
    return Kind(made, _use_checkpoint, _damage_checkpoint)


def _onnx(folder: Path) -> bytes:
    from onnx_nets import convnet

    convnet(folder / "x.onnx")
    return (folder / "x.onnx").read_bytes()


def _keras(folder: Path) -> dict[str, list[bytes]]:
    import h5py

    with h5py.File(folder / "x.h5", "w") as file:
        file["layers/dense/vars/0"] = np.arange(12, dtype=np.float32).reshape(3, 4)
    weights = (folder / "x.h5").read_bytes()
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("config.json", json.dumps({"class_name": "Functional", "config": {"layers": []}}))
        archive.writestr("model.weights.h5", weights)
    return {"x.h5": [weights], "x.keras": [file.getvalue()]}


def _damage_checkpoint(name: str, seeds: list[bytes], chance: random.Random) -> bytes:
    if name.endswith(".safetensors") and chance.random() < 0.5:
        return _with_header(chance.choice(seeds), chance)
    return mutant(seeds, chance)


def _use_checkpoint(name: str, data: bytes, chance: random.Random, folder: Path) -> None:
    from headstart.sources.checkpoints.keras_file import read_arrays
    from headstart.sources.registry import open_source

    path = folder / name
    path.write_bytes(data)
    if path.suffix in (".h5", ".keras"):
        read_arrays(path)
    elif path.suffix == ".onnx":
        assert open_source(f"onnx:{path}").info.feature_size > 0
    elif path.suffix in (".pth", ".safetensors"):
        open_source(f"file:{path}", arch="arch:lenet5").module()
    else:
        assert open_source(f"words:{path}").encode(["word1 word2"]).ndim == 2


def _with_header(data: bytes, chance: random.Random) -> bytes:
    """Return a safetensors file whose header is another JSON."""
    size = int.from_bytes(data[:8], "little")
    header = json.dumps(json_mutant(json.loads(data[8 : 8 + size]), chance)).encode()
    return len(header).to_bytes(8, "little") + header + data[8 + size :]


def bundles() -> Kind:
    from headstart import testing
    from headstart.fitting.fit import run_fit
    from headstart.fitting.result import write_out
    from headstart.run.options import FitOptions

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        photos = testing.toy_photos(folder / "photos", per_class=8)
        write_out(folder / "out", run_fit(str(photos), FitOptions(source="arch:lenet5", weights="none"), Progress()))
        made = {path.name: [path.read_bytes()] for path in sorted((folder / "out" / "bundle").iterdir())}
    return Kind(
        made, lambda name, data, chance, place: _use_bundle({**made, name: [data]}, chance, place), _damage_member
    )


def _damage_member(name: str, seeds: list[bytes], chance: random.Random) -> bytes:
    if name.endswith(".json") and chance.random() < 0.8:
        return json.dumps(json_mutant(json.loads(seeds[0]), chance), indent=1, sort_keys=True).encode() + b"\n"
    return _damage_checkpoint(name, seeds, chance)


def _use_bundle(members: dict[str, list[bytes]], chance: random.Random, folder: Path) -> None:
    """Use a bundle, in three of four cases signed as a forger would sign it, with all checksums right."""
    import headstart

    data = {member: contents[0] for member, contents in members.items()}
    if chance.random() < 0.75:
        _sign(data)
    for member, content in data.items():
        (folder / member).write_bytes(content)
    model = headstart.load(folder)
    likely = model.predict_proba(list(np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)))
    assert np.isfinite(likely).all()
    np.testing.assert_allclose(likely.sum(axis=1), 1, atol=1e-4)


def _sign(data: dict[str, bytes]) -> None:
    try:
        manifest = json.loads(data["manifest.json"])
        manifest["members"] |= {name: sha256(data[name]) for name in manifest["members"] if name in data}
        manifest.pop("checksum", None)
        manifest["checksum"] = sha256_json(manifest)
        data["manifest.json"] = json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=True).encode() + b"\n"
    except (LookupError, ValueError, TypeError, AttributeError, RecursionError):
        return  # a mutant that nobody could sign


KINDS: dict[str, Callable[[], Kind]] = {
    one.__name__: one for one in (pictures, recordings, tables, archives, checkpoints, bundles)
} | {one.__name__: partial(_further, one) for one in (more_mutants.arrays, more_mutants.shards, more_mutants.configs)}


# --- the program -----------------------------------------------------------------------------------------------------


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def _say(**values: Any) -> None:
    print(json.dumps(values), flush=True)


def main(name: str, numbers: Sequence[int]) -> None:
    """Try mutants, after the sound ones, which must be used."""
    warnings.simplefilter("error")
    kind = KINDS[name]()
    with tempfile.TemporaryDirectory() as temporary, tempfile.TemporaryDirectory() as cache:
        folder = Path(temporary)
        os.environ["HEADSTART_CACHE"] = cache  # not what another version of ours remembered
        for file, seeds in kind.seeds.items():
            for data in seeds:
                kind.use(file, data, random.Random(0), folder)
        for number in numbers:
            _say(begins=number)
            start, peak = time.process_time(), _peak()
            try:
                outcome, wrong = tried(kind, f"{name} {number}", folder), ""
            except BaseException as error:  # noqa: BLE001 - any other exception is what is looked for
                outcome, wrong = "raised", f"{type(error).__name__}: {error} {_place(error)}"
            seconds, growth = time.process_time() - start, _peak() - peak
            if not wrong and (seconds > SECONDS or growth > MEMORY):
                wrong = f"{seconds:.1f} s and {growth >> 20} MiB"
            _say(number=number, outcome=outcome, wrong=wrong[:800], seconds=round(seconds, 3), growth=growth)
            for path in folder.iterdir():
                path.unlink() if not path.is_dir() else None


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames[:-6:-1])


if __name__ == "__main__":
    first, count, stride = map(int, sys.argv[2:5])
    main(sys.argv[1], range(first, first + count * stride, stride))
