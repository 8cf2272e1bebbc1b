"""Small twins of the containers, lists and objects that people bring: each is opened by content, or named."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import tarfile
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart.base.errors import DataError
from headstart.data.readers.open import open_dataset, open_inputs

X = np.arange(12 * 8 * 8, dtype=np.uint8).reshape(12, 8, 8)
Y = np.arange(12) % 2


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def photos(part: str) -> dict[str, bytes]:
    return {
        f"{part}/{label}/{n}.jpg": b"\xff\xd8\xff" + bytes(2000) + label.encode() for label in "ab" for n in range(2)
    }


def test_archives_in_an_archive_or_folder_are_folders__CKP_10(tmp_path: Path) -> None:
    inner = {f"{part}.zip": zipped(photos(part)) for part in ("train", "test")}
    (tmp_path / "set.dat").write_bytes(zipped(inner))
    (tmp_path / "folder").mkdir()
    for name, data in inner.items():
        (tmp_path / "folder" / name).write_bytes(data)
    for form in ("set.dat", "folder"):
        data = open_dataset(tmp_path / form)
        assert Counter(example.split for example in data.examples) == {"train": 4, "test": 4}
        assert data.read(0)[-1:] == b"a"
        assert len(open_inputs([tmp_path / form])) == 8
    (tmp_path / "packed.zip").write_bytes(zipped(inner, zipfile.ZIP_DEFLATED))
    with pytest.raises(DataError, match=r"train\.zip must be stored|test\.zip must be stored"):
        open_dataset(tmp_path / "packed.zip")


def test_arrays_in_files_are_paired_by_shape_and_part(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x_train=X, y_train=Y, x_test=X, y_test=Y[:, None])
    folder = tmp_path / "idx"
    folder.mkdir()
    for part, count in (("train", 12), ("t10k", 4)):
        pixels = struct.pack(">IIII", 2051, count, 8, 8) + X[:count].tobytes()
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(pixels))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, count) + bytes(Y[:count].tolist()))
    for path, tested in ((tmp_path / "a.npz", 12), (folder, 4)):
        data = open_dataset(path)
        assert Counter(example.split for example in data.examples) == {"train": 12, "test": tested}
    assert len(open_inputs([tmp_path / "a.npz"])) == 24
    np.savez(tmp_path / "o.npz", x=np.array([{}, {}]), y=Y)
    with pytest.raises(DataError, match="a pickle, which is never opened"):
        open_dataset(tmp_path / "o.npz")
    (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes([0, 0, 8, 3]) + bytes(300 << 20), 1))
    with pytest.raises(DataError, match="must unpack to at most"):
        open_dataset(folder)


@pytest.mark.parametrize(
    "header",
    [
        *("{'descr': '|u1', 'fortran_order': False, 'shape': ", "(" * 70_000, "{'descr': 'x', 'fortran_order': 0}", ""),
        *(f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}" for shape in ((-1,), (2, -1), (2**70, 0))),
        "{'descr': '<U0', 'fortran_order': True, 'shape': (3, 8), }",
    ],
)
def test_an_array_of_any_header_is_refused_in_one_line(tmp_path: Path, header: str) -> None:
    data = b"\x93NUMPY\2\0" + struct.pack("<I", len(header)) + header.encode() + bytes(64)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", data)
    with pytest.raises(DataError) as refused:
        open_dataset(tmp_path / "a.npz")
    assert str(refused.value).isprintable()


def test_an_array_of_many_rows_is_refused_however_small_they_are(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros((2_000_001, 1, 1), np.uint8), y=np.zeros(2_000_001, np.uint8))
    with pytest.raises(DataError, match=r"at most 2,000,000 rows; found 2,000,001; leave some out"):
        open_dataset(tmp_path / "a.npz")


def test_pixels_in_tables_are_pictures(tmp_path: Path) -> None:
    head = "label," + ",".join(f"pixel{at}" for at in range(64))
    rows = [f"{label}," + ",".join(map(str, one.ravel())) for label, one in zip(Y, X, strict=True)]
    (tmp_path / "wide.csv").write_text("\n".join([head, *rows]))
    cells = [
        f"{label},{' '.join(map(str, one.ravel()))},{'Training' if label else 'PublicTest'}"
        for label, one in zip(Y, X, strict=True)
    ]
    (tmp_path / "cell.csv").write_text("\n".join(["emotion,pixels,Usage", *cells]))
    wanted = open_dataset((X, Y))
    data = open_dataset(tmp_path / "wide.csv")
    assert [data.read(at) for at in range(12)] == [wanted.read(at) for at in range(12)]
    assert Counter(one.split for one in open_dataset(tmp_path / "cell.csv").examples) == {"train": 6, "test": 6}


def test_shards_hold_labels_beside_examples(tmp_path: Path) -> None:
    for part in ("train", "val"):
        with tarfile.open(tmp_path / f"{part}-000000.tar", "w") as tar:
            for number in range(6):
                for suffix, data in (
                    ("jpg", b"\xff\xd8\xff"),
                    ("json", b'{"label": "%s"}' % (b"ab"[number % 2 : number % 2 + 1])),
                ):
                    info = tarfile.TarInfo(f"{number:06d}.{suffix}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
    data = open_dataset(tmp_path)
    assert (data.classes, Counter(example.split for example in data.examples)) == (
        ("a", "b"),
        {"train": 6, "validation": 6},
    )
    assert len(open_dataset(tmp_path / "train-000000.tar")) == 6


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("batch_1", pickle.dumps({"data": [1]}), "a pickle, which is never opened"),
        ("x.mat", b"MATLAB 5.0 MAT-file, written", "MATLAB"),
        ("x.dat", b"\x89HDF\r\n\x1a\n", "HDF5"),
        ("train.tfrecord", b"\x10" + bytes(40), "TFRecord"),
        ("data.mdb", bytes(100), "LMDB"),
        ("x.bin", b"SQLite format 3\0", "SQLite"),
        ("x", b"Rar!\x1a\x07\x00", "RAR"),
        ("x.xlsx", zipped({"[Content_Types].xml": b"", "xl/a.xml": b""}), "Excel"),
    ],
)
def test_other_formats_are_named_with_the_way_in(tmp_path: Path, name: str, data: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(data)
    for path in (tmp_path, tmp_path / name):
        with pytest.raises(DataError, match=says):
            open_dataset(path)


@pytest.mark.parametrize(
    ("lists", "parts"),
    [
        ({"train.txt": "a/0.jpg a/1.jpg b/0.jpg b/1.jpg", "test.txt": "a/2.jpg b/2.jpg"}, {"train": 4, "test": 2}),
        (
            {"validation_list.txt": "a/0.jpg b/0", "testing_list.txt": "b/1.jpg"},
            {"train": 3, "validation": 2, "test": 1},
        ),
        (
            {
                f"lists/{part}list0{n}.txt": f"a/{n}.jpg b/{n}.jpg"
                if part == "test"
                else f"a/{3 - n}.jpg b/{3 - n}.jpg a/0.jpg"
                for n in (1, 2)
                for part in ("train", "test")
            },
            {"train": 3, "test": 2},
        ),
    ],
)
def test_lists_of_files_are_parts(tmp_path: Path, lists: dict[str, str], parts: dict[str, int]) -> None:
    for name in [*(f"{label}/{n}.jpg" for label in "ab" for n in range(3)), *lists]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("\n".join(lists.get(name, "").split()))
    data = open_dataset(tmp_path)
    assert Counter(example.split for example in data.examples) == parts
    assert data.total == data.entries


def test_lists_may_hold_the_labels(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"{number}.jpg").touch()
    (tmp_path / "train.txt").write_text("0.jpg 0\n1.jpg 1\n2.jpg 0\n")
    (tmp_path / "test.txt").write_text("3.jpg 1\n")
    data = open_dataset(tmp_path)
    assert (data.classes, Counter(example.split for example in data.examples)) == (("0", "1"), {"train": 3, "test": 1})


class Rows:
    """A data set by position, as torch has them."""

    def __len__(self) -> int:
        return 12

    def __getitem__(self, at: int) -> tuple[Any, int]:
        return X[at], int(Y[at])


@pytest.mark.parametrize(
    "data",
    [
        (X[..., None], np.eye(2)[Y]),
        (X / 255, Y[:, None]),
        (X.astype(float) * (255 / X.max()) * (X.max() / 255), Y.astype(float)),
        {"image": list(X), "label": list(Y)},
        [{"image": one, "label": label} for one, label in zip(X, Y, strict=True)],
        list(zip(X, Y, strict=True)),
        Rows(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_python_holds_is_one_data_set(data: Any) -> None:
    wanted, found = open_dataset((X, Y)), open_dataset(data)
    assert found.classes == ("0", "1")
    assert [found.read(at) for at in range(12)] == [wanted.read(at) for at in range(12)]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ((np.zeros((3, 3, 3, 3), np.uint8), [0, 1, 2]), "which axis holds the channels"),
        ((X - 128.0, Y), "not negative"),
        ((X / 255 * 16, Y), r"floats of pixels must be in 0\.\.1"),
        ((X, np.ones((12, 2))), "one-hot"),
        ((X.reshape(12, -1), Y), "reshape"),
    ],
)
def test_what_could_mean_two_things_is_an_error(data: Any, says: str) -> None:
    with pytest.raises(DataError, match=says):
        open_dataset(data)


def test_parts_in_python_are_parts() -> None:
    for data in (((X, Y), (X, Y)), {"train": (X, Y), "test": (X, Y)}):
        assert Counter(example.split for example in open_dataset(data).examples) == {"train": 12, "test": 12}


@pytest.mark.parametrize("spoilt", ["999", "-1", "", "2.5"])
@pytest.mark.parametrize("one_cell", [False, True])
def test_a_row_without_a_picture_is_a_loss(tmp_path: Path, spoilt: str, one_cell: bool) -> None:
    rows = [[str((at * 7 + pixel) % 256) for pixel in range(64)] for at in range(12)]
    if spoilt != "2.5" or one_cell:  # else its column is no column of pixels, which is an error
        rows[3][5] = spoilt
    ragged = [] if one_cell else ["0," + ",".join(rows[0][:-1])]
    header = "label,pixels" if one_cell else "label," + ",".join(f"pixel{at}" for at in range(64))
    lines = [f"{at % 2},{(' ' if one_cell else ',').join(row)}" for at, row in enumerate(rows)]
    (tmp_path / "pixels.csv").write_text("\n".join([header, *lines, *ragged]) + "\n")
    data = open_dataset(tmp_path / "pixels.csv")
    lost = int(spoilt != "2.5" or one_cell) + len(ragged)
    assert (len(data), len(data.skipped), data.entries) == (12 + len(ragged) - lost, lost, 12 + len(ragged))
    assert all(loss.reason for loss in data.skipped)


@pytest.mark.parametrize(
    ("name", "head", "says"),
    [
        ("x.csv.bz2", b"BZh91AY", "bzip2; decompress it first"),
        ("x.csv.xz", b"\xfd7zXZ\0", "xz; decompress it first"),
        ("x.arff", b"@relation x\n", "ARFF; write its rows as CSV"),
    ],
)
def test_packed_and_foreign_tables_are_named(tmp_path: Path, name: str, head: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(head)
    with pytest.raises(DataError, match=says):
        open_dataset(tmp_path / name)
