"""Formats that are not read are named by their content, with the way in; what is no such format is left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from headstart.base.errors import DataError
from headstart.data.file_tree import Folder
from headstart.data.readers.containers import HEAD, check_boxes, check_foreign, foreign_format, head_of


@pytest.mark.parametrize(
    ("head", "name", "way"),
    [
        (b"\x89HDF\r\n\x1a\n", "HDF5", "h5py"),
        (b"SQLite format 3\0", "SQLite", "sqlite3 -csv"),
        (b"\0" * 128 + b"DICM", "DICOM", "PNG"),
        (b"\0" * 16 + b"\xde\xc0\xef\xbe", "an LMDB database", "lmdb"),
        (b"\0" * 344 + b"n+1\0", "NIfTI", "nibabel"),
        (b"%PDF-1.7", "a PDF", ".txt"),
        (b"PK\x03\x04....[Content_Types].xml", "an Excel workbook", "CSV"),
        (b"\x80\x04\x95", "a pickle, which is never opened because it can run code", "hs.fit"),
        (b"\xfd7zXZ\0", "xz", "unxz FILE"),
    ],
)
def test_content_counts_whatever_the_name(head: bytes, name: str, way: str) -> None:
    for called in ("data.csv", "photo.jpg", "folder/data"):
        found = foreign_format(head, called)
        assert found is not None and found[0] == name and way in found[1]


@pytest.mark.parametrize(
    "head", [b"", b"text,label\n", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"RIFF....WAVE", b"\x80"]
)
def test_what_is_read_is_not_foreign(head: bytes) -> None:
    assert foreign_format(head, "data.bin") is None


@pytest.mark.parametrize(
    ("called", "name"),
    [
        ("a.MAT", "a MATLAB file"),
        ("x/data.mdb", "an LMDB database"),
        ("a.joblib", "a pickle"),
        ("a.tfrecord-0001", "TFRecord"),
    ],
)
def test_a_name_counts_where_no_content_does(called: str, name: str) -> None:
    found = foreign_format(b"nothing known", called)
    assert found is not None and found[0].startswith(name)


def test_a_record_of_tensorflow_is_known_by_the_checksum_of_its_length() -> None:
    right = b"\x18\0\0\0\0\0\0\0\xa3\x7f\x4b\x22"  # as every file of events of TensorBoard begins
    others = [right[:8] + bytes(4), right[:11] + b"\x23", right[:8] + right[:7:-1], right[:11]]
    assert [foreign_format(head, "part-0") is None for head in others] == [True] * 4
    found = foreign_format(right, "part-0")
    assert found is not None and found[0] == "TFRecord"


def test_the_beginning_of_a_file_is_short_and_empty_where_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "long.bin").write_bytes(bytes(range(256)) * 100)
    tree = Folder(tmp_path)
    assert head_of(tree, "long.bin") == (bytes(range(256)) * 100)[:HEAD]
    assert head_of(tree, "long.bin", size=3) == b"\0\1\2" and head_of(tree, "absent") == b""


def boxes(tmp_path: Path, **texts: str) -> None:
    for name, text in texts.items():
        (tmp_path / f"{name}.txt").write_text(text)
    check_boxes(Folder(tmp_path), Folder(tmp_path).files)


def test_boxes_are_told_when_most_texts_hold_them(tmp_path: Path) -> None:
    box = "0 0.5 0.5 0.2 0.1\n"
    boxes(tmp_path, a="a photo of a cat", b=box)
    with pytest.raises(DataError, match=r"boxes of objects in the form of YOLO, such as b\.txt"):
        boxes(tmp_path, c=box * 2, d="3 .5 1.0 0.2 0.25")


@pytest.mark.parametrize("text", ["5 stars", "0 12 13 14 15", "0 0.5 0.5", "0.1 0.2 0.3 0.4 0.5"])
def test_numbers_that_are_no_boxes_are_none(tmp_path: Path, text: str) -> None:
    boxes(tmp_path, a=text)


def test_the_first_foreign_file_is_named_and_readable_ones_pass(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("fine")
    check_foreign(Folder(tmp_path), Folder(tmp_path).files)
    (tmp_path / "b.dat").write_bytes(b"Rar!\x1a\x07\0")
    with pytest.raises(DataError, match=r"in a form that is read; found b\.dat, RAR; unpack it and name the folder"):
        check_foreign(Folder(tmp_path), Folder(tmp_path).files)
