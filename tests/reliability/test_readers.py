"""Whatever a reader is given, it returns something sound, skips with a reason, or refuses in one line."""

from __future__ import annotations

import io
import json
import math
import os
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from encoded_images import ENCODED
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutator import VALUES
from tally import Tally, check_one_line

from headstart.base.errors import UsageError
from headstart.base.hashing import sha256_json
from headstart.base.progress import Progress
from headstart.data.audit import scan
from headstart.data.dataset import BadExample, Dataset

ROW = "readers, by Hypothesis"
SHARE = float(os.environ.get("RELIABILITY", "1"))
NAMES = st.text(max_size=12) | st.sampled_from(
    ["a/1.jpg", "b/2.png", "train/a/1.jpg", "../x", "/x", "a\\b", "", "a/", "x.csv"]
)
WORDS = st.text(st.sampled_from("ab ,;\t\"'\r\n\ufeffé\0\x1b\u202e"), max_size=60)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from([value for value in VALUES if not isinstance(value, (list, dict))]) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
ARRAYS = st.builds(
    np.zeros,
    st.lists(st.integers(0, 3), max_size=4).map(tuple),
    st.sampled_from(["u1", "f4", "i8", "O", "U3"]),
)
PYTHON = st.recursive(
    st.one_of(
        *(st.none(), st.booleans(), st.integers(), st.floats(), st.complex_numbers(), ARRAYS),
        *(st.text(max_size=9), st.binary(max_size=9), st.builds(Path, st.sampled_from(["x.jpg", "no/such", "."]))),
        st.sampled_from([ENCODED["png"], np.zeros((4, 4, 3), np.uint8), object()]),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner),
    max_leaves=6,
)


def starts(*magics: bytes) -> st.SearchStrategy[bytes]:
    return st.builds(bytes.__add__, st.sampled_from(magics), st.binary(max_size=300))


def read_through(dataset: Dataset) -> None:
    found = scan(dataset, progress=Progress()).dataset
    for line in (*(skipped.reason for skipped in found.skipped), *found.notes):
        check_one_line(line)


def tables_as_text(folder: Path, data: st.DataObject) -> None:
    from headstart.data.readers.open import open_dataset, open_inputs

    suffix = data.draw(st.sampled_from([".csv", ".tsv", ".jsonl", ".ndjson"]))
    head = data.draw(st.sampled_from(["", "text,label\n", "path;label\n", '{"text": "a", "label": "b"}\n']))
    path = folder / f"x{suffix}"
    body = data.draw(WORDS | st.text(max_size=40) | JSON.map(json.dumps))
    encoding = data.draw(st.sampled_from(["utf-8", "utf-16", "cp1252"]))
    path.write_bytes(
        (head + body).encode(encoding, "replace") if data.draw(st.booleans()) else data.draw(st.binary(max_size=200))
    )
    read_through(open_dataset(path) if data.draw(st.booleans()) else open_inputs([path], kind="text"))


def parquet(folder: Path, data: st.DataObject) -> None:
    from headstart.data.readers.open import open_dataset

    picture = {"bytes": st.none() | st.just(ENCODED["png"]), "path": st.text(max_size=5)}
    kinds = {
        pa.string(): st.text(max_size=9),
        pa.int64(): st.integers(-5, 5),
        pa.float64(): st.floats(),
        pa.binary(): st.binary(max_size=9),
        pa.bool_(): st.booleans(),
        pa.list_(pa.int8()): st.just([1]),
        pa.null(): st.none(),
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]): st.fixed_dictionaries(picture),
    }
    count, columns = data.draw(st.integers(0, 6)), {}
    for name in data.draw(
        st.lists(st.sampled_from(["text", "image", "audio", "label", "path", "split", "x"]), unique=True)
    ):
        kind = data.draw(st.sampled_from(list(kinds)))
        columns[name] = pa.array([data.draw(st.none() | kinds[kind]) for _ in range(count)], kind)
    pq.write_table(pa.table(columns), folder / "x.parquet")
    read_through(open_dataset(folder / "x.parquet"))


def array_files(folder: Path, data: st.DataObject) -> None:
    from headstart.data.readers.open import open_dataset

    names = data.draw(st.lists(st.sampled_from(["x", "y", "x_train", "y_train", "x_test", "images"]), unique=True))
    shape = st.lists(st.integers(0, 5), max_size=5).map(tuple)
    values = [
        np.resize(np.arange(7), data.draw(shape)).astype(
            data.draw(st.sampled_from(["u1", "i8", "f4", "U2", "?", "c8"]))
        )
        for _ in names
    ]
    np.savez(folder / "x.npz", **dict(zip(names, values, strict=True)))
    read_through(open_dataset(folder / "x.npz"))


def idx_files(folder: Path, data: st.DataObject) -> None:
    from headstart.data.readers.open import open_dataset

    top = folder / f"{len(list(folder.iterdir()))}"
    top.mkdir()
    for name, rank in (("train-images-idx3-ubyte", 3), ("train-labels-idx1-ubyte", 1)):
        extents = data.draw(
            st.lists(st.integers(0, 4), min_size=rank, max_size=rank) | st.lists(st.integers(0, 2**32 - 1))
        )
        head = bytes(
            [0, 0, data.draw(st.sampled_from([8, 9, 13, 0])), data.draw(st.just(len(extents)) | st.integers(0, 255))]
        )
        body = data.draw(st.binary(min_size=64, max_size=64) | st.binary(max_size=9))
        whole = math.prod(extents)
        (top / name).write_bytes(head + b"".join(n.to_bytes(4, "big") for n in extents) + body[: min(whole, 64)])
    read_through(open_dataset(top))


def shards(folder: Path, data: st.DataObject) -> None:
    from headstart.data.readers.open import open_dataset

    with tarfile.open(folder / "x.tar", "w") as tar:
        for name in data.draw(
            st.lists(st.sampled_from(["0", "1", "2", "a/0", "a.b", "../0"]) | st.text(max_size=5), max_size=6)
        ):
            for suffix in data.draw(st.lists(st.sampled_from(["jpg", "cls", "json", "txt", "png", "__key__", ""]))):
                info = tarfile.TarInfo(f"{name}.{suffix}".replace("\0", "").encode("utf-8", "replace").decode())
                content = data.draw(st.sampled_from([ENCODED["jpeg"], b"0", b"1", b"", b'{"label": 1}', b"\xff\n"]))
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    read_through(open_dataset(folder / "x.tar"))


def archives(folder: Path, data: st.DataObject) -> None:
    from headstart.data.readers.open import open_dataset, open_inputs

    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in data.draw(st.lists(NAMES, max_size=8, unique=True)):
            info = zipfile.ZipInfo("x")
            info.filename = name
            archive.writestr(info, data.draw(st.sampled_from([ENCODED["jpeg"], b"", b"text,label\na,b\n"])))
    (folder / "x.zip").write_bytes(file.getvalue())
    read_through(open_dataset(folder / "x.zip") if data.draw(st.booleans()) else open_inputs([folder / "x.zip"]))


def folders(folder: Path, data: st.DataObject) -> None:
    from headstart.data.readers.open import open_dataset, open_inputs

    top = folder / f"{len(list(folder.iterdir()))}"
    for name in data.draw(st.lists(NAMES, max_size=8)):
        parts = [part.replace("\0", "")[:60].strip(".") for part in name.replace("\\", "/").split("/")]
        path = top.joinpath("x", *(part.encode("utf-8", "replace").decode() for part in parts if part))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data.draw(st.sampled_from([ENCODED["jpeg"], b"", b"text"])))
        except OSError:
            continue
    top.mkdir(exist_ok=True)
    read_through(open_dataset(top) if data.draw(st.booleans()) else open_inputs([top]))


def in_memory(folder: Path, data: st.DataObject) -> None:
    from headstart.data.readers.open import open_dataset

    items = data.draw(st.lists(PYTHON, max_size=6))
    labels = data.draw(
        st.lists(
            st.sampled_from(["a", "b", None, 1, 2.0, float("nan")]) | PYTHON, min_size=len(items), max_size=len(items)
        )
    )
    read_through(open_dataset(data.draw(st.just((items, labels)) | PYTHON)))


def class_lists(folder: Path, data: st.DataObject) -> None:
    from headstart.data.labels import read_classes

    (folder / "classes.txt").write_bytes(data.draw(st.binary(max_size=60) | WORDS.map(str.encode)))
    assert read_classes(folder / "classes.txt")


def recordings(folder: Path, data: st.DataObject) -> None:
    from headstart.data.audio.decoding import remarks

    magics = (
        b"RIFF\x24\0\0\0WAVEfmt ",
        b"fLaC\0\0\0\x22",
        b"OggS\0\2",
        b"ID3\3",
        b"\xff\xfb\x90",
        b"FORM\0\0\0\x99AIFFCOMM",
        b".snd",
    )
    remarks(data.draw(starts(*magics) | st.binary(max_size=99)), "x.wav")


def texts(folder: Path, data: st.DataObject) -> None:
    from headstart.data.text import remarks

    for clause in remarks(data.draw(st.binary(max_size=60) | WORDS.map(lambda text: text.encode("utf-16")))):
        check_one_line(clause)


def addresses(folder: Path, data: st.DataObject) -> None:
    from headstart.sources.uri import parse

    uri = data.draw(
        st.text(max_size=30)
        | st.builds(
            lambda one, rest: f"{one}:{rest}", st.sampled_from(["timm", "hf", "file", "Keras"]), st.text(max_size=20)
        )
    )
    assert parse(uri).name


def checkpoints(folder: Path, data: st.DataObject) -> None:
    from headstart.sources.checkpoints.read import read_checkpoint

    path = folder / f"x{data.draw(st.sampled_from(['.pth', '.pt', '.bin', '.safetensors', '.ckpt', '']))}"
    header = data.draw(JSON.map(json.dumps)).encode()
    content = starts(b"PK\3\4", b"\x80\2", b"\x89HDF\r\n\x1a\n", b"", b"\x93NUMPY", b"[", b"version https://git-lfs")
    path.write_bytes(data.draw(content | st.just(len(header).to_bytes(8, "little") + header)))
    read_checkpoint(path)


def keras_files(folder: Path, data: st.DataObject) -> None:
    from headstart.sources.checkpoints.keras_file import read_arrays

    (folder / "x.h5").write_bytes(
        data.draw(starts(b"\x89HDF\r\n\x1a\n", b"\x89HDF\r\n\x1a\n\0\0\0\0\0\x08\x08\0", b"PK\3\4", b""))
    )
    read_arrays(folder / "x.h5")


def graphs(folder: Path, data: st.DataObject) -> None:
    from headstart.sources.graphs.checks import check_onnx
    from headstart.sources.graphs.source import read_sidecar

    (folder / "x.onnx").write_bytes(data.draw(st.binary(max_size=200) | starts(b"\x08\x08\x12\4onnx", b"\x3a")))
    (folder / "x.onnx.preprocessing.json").write_text(json.dumps(data.draw(JSON)))
    if data.draw(st.booleans()):
        check_onnx(folder / "x.onnx")
    read_sidecar(folder / "x.onnx")


def source_folders(folder: Path, data: st.DataObject) -> None:
    from headstart.sources.checkpoints.source_folder import read_folder

    described = {
        "schema": 1,
        "graph": "library",
        "arch": "arch:lenet5",
        "origin": "x",
        "weights": "w",
        "licence": "",
        "trained_on": "",
        "members": {"w": "0"},
    }
    changes = data.draw(st.dictionaries(st.sampled_from([*described, "preprocessing", "classes"]), JSON, max_size=3))
    (folder / "source.json").write_text(
        json.dumps({**described, **changes} if data.draw(st.booleans()) else data.draw(JSON))
    )
    read_folder(folder)


def bundles(folder: Path, data: st.DataObject) -> None:
    from headstart.ship.bundle import load

    content = data.draw(st.dictionaries(st.sampled_from(["classes", "task", "members", "source", "head"]), JSON) | JSON)
    if isinstance(content, dict):
        content = {"schema": 1, **content}
        with suppress(ValueError):  # NaN, over which nobody can make a checksum
            content["checksum"] = sha256_json(content)
    (folder / "manifest.json").write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
    load(folder)


def word_vectors(folder: Path, data: st.DataObject) -> None:
    from headstart.sources.text.word_index import open_index

    (folder / "x.vec").write_bytes(
        data.draw(
            st.binary(max_size=80)
            | st.text(st.sampled_from("ab 01.-e\n\t"), max_size=60).map(str.encode)
            | starts(b"\x1f\x8b\x08", b"2 3\n")
        )
    )
    assert open_index(folder / "x.vec").about.words > 0


READERS: list[Callable[[Path, st.DataObject], None]] = [
    *(
        tables_as_text,
        parquet,
        array_files,
        idx_files,
        shards,
        archives,
        folders,
        in_memory,
        class_lists,
        recordings,
        texts,
        addresses,
    ),
    *(checkpoints, keras_files, graphs, source_folders, bundles, word_vectors),
]


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__)
def test_any_input_is_read_skipped_or_refused__TAB_10_TXT_03_CKP_03(
    reader: Callable[[Path, st.DataObject], None], tmp_path: Path, tally: Tally
) -> None:
    @settings(
        max_examples=max(20, round(300 * SHARE)), deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    @given(data=st.data())
    def attempt(data: st.DataObject) -> None:
        tally.tried += 1
        try:
            reader(tmp_path, data)
        except BadExample as unusable:
            check_one_line(unusable.reason)
        except UsageError as error:
            check_one_line(str(error))

    try:
        attempt()
    except Exception as error:  # noqa: BLE001 - what Hypothesis found, made as small as it could
        tally.wrong.append(f"{reader.__name__}: {type(error).__name__}: {error} {getattr(error, '__notes__', '')}")
    tally.check()
