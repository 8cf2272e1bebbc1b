"""Further kinds of mutants (see `mutants`): files of arrays, shards of WebDataset, repositories of a hub."""

from __future__ import annotations

import gzip
import io
import json
import random
import struct
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from mutator import EXTREMES, json_mutant, mutant

Use = Callable[[str, bytes, random.Random, Path], None]
Damage = Callable[[str, list[bytes], random.Random], bytes]
Made = tuple[dict[str, list[bytes]], Use, Damage]

PHOTOS = np.random.default_rng(0).integers(0, 256, (8, 9, 9, 3), dtype=np.uint8)
LABELS = np.arange(8) % 2


def idx(array: np.ndarray) -> bytes:
    """Return bytes of whole numbers as an IDX file."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def arrays(use_file: Use) -> Made:
    """Return npz, npy and IDX files, packed and not; npy and IDX with sound labels beside them."""
    made: dict[str, list[bytes]] = {"x.npz": []}
    for save in (np.savez, np.savez_compressed):
        for grey in (False, True):
            file = io.BytesIO()
            pictures = PHOTOS[..., 0] if grey else PHOTOS
            save(file, x_train=pictures[:6], y_train=LABELS[:6], x_test=pictures[6:], y_test=LABELS[6:])
            made["x.npz"].append(file.getvalue())
    file = io.BytesIO()
    np.save(file, PHOTOS)
    made["images.npy"] = [file.getvalue()]
    made["train-images-idx3-ubyte"] = [idx(PHOTOS[..., 0])]
    made["train-images-idx3-ubyte.gz"] = [gzip.compress(idx(PHOTOS[..., 0]), mtime=0)]

    def use(name: str, data: bytes, chance: random.Random, folder: Path) -> None:
        if name.endswith(".npz"):
            use_file(name, data, chance, folder)
            return
        with tempfile.TemporaryDirectory(dir=folder) as place:
            (Path(place) / name).write_bytes(data)
            if name.endswith(".npy"):
                np.save(Path(place) / "labels.npy", LABELS)
            else:
                (Path(place) / "train-labels-idx1-ubyte").write_bytes(idx(LABELS))
            use_file("", b"", chance, Path(place))

    return made, use, _damage_arrays


def _damage_arrays(name: str, seeds: list[bytes], chance: random.Random) -> bytes:
    """Return damage to the file, or, half of the time, to one of the arrays in it, whose checksums are right."""
    data = chance.choice(seeds)
    if chance.random() < 0.5 or name.endswith("ubyte"):
        return mutant(seeds, chance)
    if name.endswith(".gz"):
        return gzip.compress(mutant([gzip.decompress(data)], chance), mtime=0)
    if name.endswith(".npy"):
        return _with_header(data, chance)
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new:
        unlucky = chance.choice(old.namelist())
        for member in old.namelist():
            content = old.read(member)
            new.writestr(member, _with_header(content, chance) if member == unlucky else content)
    return file.getvalue()


def _with_header(data: bytes, chance: random.Random) -> bytes:
    """Return an npy file whose header, a Python dictionary, states another shape, order or type."""
    numbers = [0, 1, 3, 8, 10**6, 2**31, 2**63, -1, 2**70]
    shape = tuple(chance.choice(numbers) for _ in range(chance.randrange(6)))
    kinds = ["|u1", "<f8", "|O", "<U4", ">i2", "|V0", "<M8[D]", "|b1", "<c16", "<f2", "x", "", "|S0", "<U0"]
    kind = chance.choice([repr(chance.choice(kinds)), "[('a', '<i4')]", "None", "{'x': 1}", "('<i4', (2,))"])
    start = chance.choice([f"{{'descr': {kind}, 'fortran_order': {chance.choice([True, False])}, 'shape': ", "{", ""])
    header = f"{start}{shape}, }}".encode() if chance.random() < 0.9 else b"(" * chance.choice((9, 999, 60_000))
    body = data[10 + int.from_bytes(data[8:10], "little") :]
    if chance.random() < 0.2:
        return data[:6] + bytes([chance.randrange(5), 0]) + chance.choice(EXTREMES) + header + body
    return data[:6] + b"\2\0" + len(header).to_bytes(4, "little") + header + body


def shards(use_file: Use) -> Made:
    """Return WebDataset shards: a picture, its class and its metadata under one key."""
    from encoded_images import ENCODED

    made: dict[str, list[bytes]] = {"x-000.tar": []}
    for label in ("cls", "json"):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w") as archive:
            for at in range(8):
                text = json.dumps({"label": f"a{at % 2}", "caption": "x"}) if label == "json" else str(at % 2)
                for end, content in (("jpg", ENCODED["jpeg"] + bytes([at])), (label, text.encode())):
                    info = tarfile.TarInfo(f"{at:06}.{end}")
                    info.size = len(content)
                    archive.addfile(info, io.BytesIO(content))
        made["x-000.tar"].append(file.getvalue())

    def damage(name: str, seeds: list[bytes], chance: random.Random) -> bytes:
        if chance.random() < 0.5:
            return mutant(seeds, chance)
        file = io.BytesIO()
        with tarfile.open(fileobj=io.BytesIO(chance.choice(seeds))) as old, tarfile.open(fileobj=file, mode="w") as new:
            for info in old:
                member = old.extractfile(info)
                assert member is not None
                content = member.read()
                if chance.random() < 0.2 and not info.name.endswith("jpg"):
                    content = mutant([content], chance)
                if chance.random() < 0.1:
                    info.name = (
                        mutant([info.name.encode()], chance).decode("utf-8", "surrogateescape").replace("\0", "")
                    )
                info.size = len(content)
                new.addfile(info, io.BytesIO(content))
        return file.getvalue()

    return made, use_file, damage


def configs(use_file: Use) -> Made:
    """Return the JSON files of repositories of pictures and of texts, of which one at a time is damaged."""
    import huggingface_hub
    from hub_models import for_sentences, place, tiny, tiny_text, tiny_timm

    sentences = for_sentences(tiny_text("bert"), pooling={"pooling_mode": "mean"}, limits={}, prompts={})
    repositories = {"vit": tiny("vit"), "convnext": tiny("convnext"), "timm": tiny_timm(), "bert": sentences}
    made = {
        f"{name}:{file}": [data]
        for name, files in repositories.items()
        for file, data in files.items()
        if file.endswith(".json")
    }

    def use(name: str, data: bytes, chance: random.Random, folder: Path) -> None:
        from headstart.sources.registry import open_source

        repository, _, file = name.partition(":")
        with tempfile.TemporaryDirectory(dir=folder) as hub:
            huggingface_hub.constants.HF_HUB_CACHE = hub
            commit = place(Path(hub), f"tiny/{repository}", {**repositories[repository], file: data})
            source = open_source(f"hf:tiny/{repository}@{commit}")
            items = ["the cook boils a soup"] if source.info.kind == "text" else [PHOTOS[0].repeat(4, 0).repeat(4, 1)]
            assert np.isfinite(source.encode(items)).all()

    def damage(name: str, seeds: list[bytes], chance: random.Random) -> bytes:
        if chance.random() < 0.8:
            return json.dumps(json_mutant(json.loads(seeds[0]), chance)).encode()
        return mutant(seeds, chance)

    return made, use, damage
