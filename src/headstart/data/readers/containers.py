"""Formats of files that hold data and are not read: each is named by its content, with the shortest way in."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from headstart.base.errors import DataError
from headstart.data.dataset import BadExample
from headstart.data.file_tree import File, Tree, suffix_of

HEAD = 1024
"""Bytes of a file that tell its format."""
LOOKED_AT = 50
"""How many files of a folder are looked at, where none is of an accepted format."""
_FIT = "give hs.fit((images, labels)) in Python"


class _Format(NamedTuple):
    name: str
    offset: int
    begins: tuple[bytes, ...]
    called: tuple[str, ...]  # suffixes, or whole names, in lower case
    way: str


# Where content and name differ, content counts; the formats without a beginning of their own are known by name.
_FORMATS = (
    _Format(
        "a MATLAB file",
        0,
        (b"MATLAB 5.0 MAT-file", b"MATLAB 7.3 MAT-file"),
        (".mat",),
        f"read it with scipy.io.loadmat and {_FIT}",
    ),
    _Format("HDF5", 0, (b"\x89HDF\r\n\x1a\n",), (".h5", ".hdf5"), f"read it with h5py and {_FIT}"),
    _Format(
        "an LMDB database",
        16,
        (b"\xde\xc0\xef\xbe",),
        ("data.mdb", "lock.mdb", ".lmdb"),
        f"read it with lmdb and {_FIT}, or write its values as files in class folders",
    ),
    _Format(
        "SQLite",
        0,
        (b"SQLite format 3\0",),
        (".sqlite", ".sqlite3"),
        "write the table as CSV: sqlite3 -csv -header FILE 'select * from TABLE' > table.csv",
    ),
    _Format("DICOM", 128, (b"DICM",), (".dcm",), "convert it to PNG, such as with dcm2img of DCMTK"),
    _Format("RAR", 0, (b"Rar!\x1a\x07",), (".rar",), "unpack it and name the folder: unrar x FILE"),
    _Format("7-Zip", 0, (b"7z\xbc\xaf\x27\x1c",), (".7z",), "unpack it and name the folder: 7z x FILE"),
    _Format(
        "Arrow",
        0,
        (b"ARROW1",),
        (".arrow", ".feather"),
        "write it as Parquet: pyarrow.parquet.write_table(table, 'data.parquet')",
    ),
    _Format("ORC", 0, (b"ORC",), (".orc",), "write it as Parquet: pyarrow.parquet.write_table(table, 'data.parquet')"),
    _Format("Avro", 0, (b"Obj\x01",), (".avro",), "write it as Parquet or JSON Lines"),
    _Format("NIfTI", 344, (b"n+1\0", b"ni1\0"), (".nii",), f"read it with nibabel and {_FIT}"),
    _Format("ARFF", 0, (b"@relation", b"@RELATION"), (".arff",), "write its rows as CSV, with a header line"),
    *(
        _Format(name, 0, (begin,), called, f"decompress it first: {command} FILE")
        for name, begin, called, command in (
            ("bzip2", b"BZh", (".bz2",), "bunzip2"),
            ("xz", b"\xfd7zXZ", (".xz",), "unxz"),
            ("zstd", b"\x28\xb5\x2f\xfd", (".zst",), "unzstd"),
        )
    ),
    _Format("a PDF", 0, (b"%PDF",), (".pdf",), "write its pages as pictures or its text as .txt"),
    _Format("an old Excel workbook", 0, (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",), (".xls",), "save it as CSV in UTF-8"),
)
_BOXES = re.compile(rb"\d+(?: +[01]?\.\d+){4}[ \d.]*\r?(?:\n|$)")  # of YOLO: a class id, and a box in 0..1
_PICKLE = ("a pickle, which is never opened because it can run code", f"load it where you trust it and {_FIT}")
_TFRECORD = f"read it with tensorflow and {_FIT}, or write its examples as files in class folders"
_XLSX = "save it as CSV in UTF-8, with a header line"


def foreign_format(head: bytes, name: str) -> tuple[str, str] | None:
    """Return what a file that is not read is, and the way in; None where it is no format that is known.

    Args:
        head: its first `HEAD` bytes.
        name: its name, which counts where no content does.
    """
    base, suffix = name.rpartition("/")[2].lower(), suffix_of(name)
    for known in _FORMATS:
        if any(head[known.offset :].startswith(begin) for begin in known.begins):
            return known.name, known.way
    if head.startswith(b"PK\x03\x04") and (b"[Content_Types].xml" in head or b"xl/" in head or suffix == ".xlsx"):
        return "an Excel workbook", _XLSX
    pickled = len(head) > 2 and head[0] == 0x80 and head[1] in (2, 3, 4, 5) and head[2:3] in b"}](cX\x95.)K"
    if pickled or suffix in (".pkl", ".pickle", ".joblib"):
        return _PICKLE
    if "tfrecord" in base or _is_record(head):
        return "TFRecord", _TFRECORD
    return next(((one.name, one.way) for one in _FORMATS if suffix in one.called or base in one.called), None)


def _is_record(head: bytes) -> bool:
    """Return whether a file begins as a TFRecord does: a length, and the masked CRC-32C of its eight bytes."""
    if len(head) < 12:
        return False
    crc = 0xFFFFFFFF
    for byte in head[:8]:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    return int.from_bytes(head[8:12], "little") == masked


def head_of(tree: Tree, path: str, *, size: int = HEAD) -> bytes:
    """Return the first bytes of a file, none where it cannot be read."""
    try:
        return tree.read(path, limit=size, begin=True)[:size]
    except BadExample:
        return b""


def check_boxes(tree: Tree, files: Iterable[File]) -> None:
    """Raise DataError where files hold boxes of objects, as YOLO and Pascal VOC have them, and no labels."""
    beside = [file.path for file in files if suffix_of(file.path) in (".txt", ".xml")]
    heads = {path: head_of(tree, path) for path in beside[:LOOKED_AT]}
    named = {"Pascal VOC": [path for path, head in heads.items() if b"<annotation" in head]}
    named["YOLO"] = [path for path, head in heads.items() if _BOXES.match(head)]
    for form, paths in named.items():
        if 2 * len(paths) > len(heads):
            received = f"boxes of objects in the form of {form}, such as {paths[0]}"
            do = "write a table of paths and labels, or cut the objects out into one folder per class"
            raise DataError(f"{tree.where} must give a label for each whole picture", received, do)


def check_foreign(tree: Tree, files: Iterable[File]) -> None:
    """Raise DataError where one of the files that are given, which no reader takes, is of a known format."""
    for file in list(files)[:LOOKED_AT]:
        known = foreign_format(head_of(tree, file.path), file.path)
        if known is not None:
            raise DataError(
                f"{tree.where} must hold examples in a form that is read", f"{file.path}, {known[0]}", known[1]
            )
