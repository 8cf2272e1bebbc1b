"""Arrays in files: told by their beginning, read as numpy wrote them, paired by shape, length and part."""

from __future__ import annotations

import gzip
import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart.base.errors import DataError
from headstart.data.dataset import Dataset
from headstart.data.file_tree import Folder
from headstart.data.readers.arrays.array_files import array_files_of, from_array_files, has_arrays

PHOTOS = np.arange(6 * 4 * 5, dtype=np.uint8).reshape(6, 4, 5)
LABELS = np.array([0, 1, 0, 1, 0, 1])


def npy(array: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asanyarray(array), **options)
    return file.getvalue()


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def idx(array: np.ndarray[Any, Any], code: int, form: str) -> bytes:
    head = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(form).tobytes()


def opened(folder: Path, *, labelled: bool = True, **files: bytes) -> Dataset:
    for name, data in files.items():
        (folder / name.replace("_dot_", ".")).write_bytes(data)
    tree = Folder(folder)
    return from_array_files(tree, array_files_of(tree), name="toy", where=tree.where, labelled=labelled)


def pixels(data: Dataset, at: int) -> np.ndarray[Any, Any]:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(data.read(at))))


@pytest.mark.parametrize(
    ("head", "holds"),
    [
        (npy(LABELS), True),
        (npz(x=LABELS), True),
        (gzip.compress(npy(LABELS), mtime=0), True),
        (gzip.compress(idx(LABELS, 8, "u1"), mtime=0), True),
        (idx(LABELS, 8, "u1"), True),
        (b"\0\0\x08\x05" + bytes(20), False),
        (b"\0\0\x07\x01" + bytes(4), False),
        (gzip.compress(b"text,label\n", mtime=0), False),
        (b"\x1f\x8b broken", False),
        (b"PK\x03\x04" + bytes(22) + b"\x05\0\0\0a.txt", False),
        (b"", False),
    ],
)
def test_arrays_are_told_by_their_beginning(head: bytes, holds: bool) -> None:
    assert has_arrays(head) is holds


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_pictures_come_back_as_numpy_wrote_them(tmp_path: Path, order: Any, version: tuple[int, int]) -> None:
    data = opened(tmp_path, x_dot_npy=npy(np.array(PHOTOS, order=order), version=version), y_dot_npy=npy(LABELS))
    assert all((pixels(data, at) == PHOTOS[at]).all() for at in range(6))
    assert [one.label for one in data.examples] == ["0", "1"] * 3 and data.classes == ("0", "1")


@pytest.mark.parametrize("packed", [False, True])
def test_files_of_mnist_are_paired_by_part(tmp_path: Path, packed: bool) -> None:
    files = {
        "train-images-idx3-ubyte": idx(PHOTOS, 8, "u1"),
        "train-labels-idx1-ubyte": idx(LABELS, 8, "u1"),
        "t10k-images-idx3-ubyte": idx(PHOTOS[::-1], 8, "u1"),
        "t10k-labels-idx1-ubyte": idx(LABELS[::-1], 12, ">i4"),
    }
    data = opened(tmp_path, **{name: gzip.compress(one, mtime=0) if packed else one for name, one in files.items()})
    assert [(one.split, one.label) for one in data.examples] == [
        *(("test", f"{label}") for label in LABELS[::-1]),
        *(("train", f"{label}") for label in LABELS),
    ]
    assert (pixels(data, 0) == PHOTOS[5]).all() and (pixels(data, 6) == PHOTOS[0]).all()
    assert "test from t10k-images-idx3-ubyte" in data.layout


def test_of_several_arrays_of_one_length_the_name_tells_the_labels(tmp_path: Path) -> None:
    data = opened(tmp_path, a_dot_npz=npz(x=PHOTOS, labels=LABELS, weights=np.ones(6)))
    assert data.classes == ("0", "1")
    with pytest.raises(DataError, match=r"one array of labels for each array of pictures.*found several for x: "):
        opened(tmp_path, a_dot_npz=npz(x=PHOTOS, first=LABELS, second=LABELS))


def test_pictures_without_labels_are_set_aside_or_all_that_is_wanted(tmp_path: Path) -> None:
    arrays = {"x_train": PHOTOS, "y_train": LABELS, "x_test": PHOTOS[:2]}
    data = opened(tmp_path, a_dot_npz=npz(**arrays))
    assert (len(data), data.ignored, data.total) == (6, 2, 8)
    assert data.notes[0].startswith("x_test is set aside: 2 photos without labels")
    assert len(opened(tmp_path, labelled=False)) == 8


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (npy(np.array([{}], dtype=object)), "must hold numbers; found Python objects, a pickle, which is never opened"),
        (npy(PHOTOS)[:-1], "must be a whole array"),
        (npy(PHOTOS)[:20], "must be a whole array"),
        (npy(PHOTOS).replace(b"'descr'", b"'odscr'"), "must be a whole array"),
        (idx(PHOTOS, 8, "u1")[:-1], "must be a whole array"),
        (npy(np.zeros((4, 4))), "must hold pictures, arrays (n, height, width)"),
        (npy(PHOTOS), "found none for x.npy: x.npy (6, 4, 5)"),
        (npy(PHOTOS).replace(b"(6, 4, 5)", b"(-1,-1,2)"), "must be a whole array"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path: Path, data: bytes, says: str) -> None:
    (tmp_path / "x.npy").write_bytes(data)
    with pytest.raises(DataError) as failure:
        from_array_files(Folder(tmp_path), ["x.npy"], name="toy", where="toy")
    assert says in str(failure.value)


def test_files_beside_an_archive_of_the_same_arrays_count_once(tmp_path: Path) -> None:
    data = opened(tmp_path, x_dot_npy=npy(PHOTOS), y_dot_npy=npy(LABELS), all_dot_npz=npz(x=PHOTOS, y=LABELS))
    assert len(data) == 6
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "z.npy").write_bytes(npy(LABELS))
    (tmp_path / ".z.npy").write_bytes(npy(LABELS))
    (tmp_path / "z.png").write_bytes(npy(LABELS))
    assert array_files_of(Folder(tmp_path)) == ["x.npy", "y.npy"]
