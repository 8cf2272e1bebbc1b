"""Small data files that unpack to far more than their size, by name: what `open_dataset` must refuse or bear."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

MEGABYTE = 1 << 20


def _npz(path: Path, shape: tuple[int, ...], size: int, labels: int = 0) -> None:
    """Write an array of zeros of one byte each, and as many labels."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, extent, count in (("x", shape, size), ("y", (labels,), labels)):
            header = io.BytesIO()
            np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": extent})
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                member.write(header.getvalue())
                for _ in range(count // MEGABYTE):
                    member.write(bytes(MEGABYTE))


def _gz(path: Path, start: bytes, piece: bytes, count: int) -> None:
    packer = zlib.compressobj(wbits=31)
    with path.open("wb") as file:
        file.write(packer.compress(start))
        for _ in range(count):
            file.write(packer.compress(piece))
        file.write(packer.flush())


def _parquet(path: Path, text: str, rows: int, *, as_bytes: bool = False) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    values: pa.Array = pa.array([text.encode() if as_bytes else text, "b" if not as_bytes else b"b"])
    indices = pa.array(np.arange(rows) % 2, pa.int32())
    label = pa.DictionaryArray.from_arrays(indices, pa.array(["a", "b"]))
    column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows), pa.int32()), values)
    if as_bytes:
        column = pa.StructArray.from_arrays([column.dictionary_decode(), label], ["bytes", "path"])
    pq.write_table(pa.table({"image" if as_bytes else "text": column, "label": label}), path, compression="zstd")


def _shard(path: Path) -> None:
    """Write a tar whose headers state members that are not there."""
    import tarfile

    with path.open("wb") as file:
        for at in range(20_000):
            info = tarfile.TarInfo(f"{at:08}.jpg")
            info.size = 0
            file.write(info.tobuf())
        info = tarfile.TarInfo("last.jpg")
        info.size = 1 << 40
        file.write(info.tobuf())


BOMBS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "npz, 250 million pictures of one pixel": ("npz", lambda path: _npz(path, (250 * MEGABYTE, 1, 1), 250 * MEGABYTE)),
    "npz, 250 million labels": ("npz", lambda path: _npz(path, (1, 1, 1), MEGABYTE, 250 * MEGABYTE)),
    "npz, 1 GB of zeros": ("npz", lambda path: _npz(path, (1024, 1024, 1024), 1024 * MEGABYTE)),
    "IDX in gzip, 1 GB of zeros": (
        "gz", lambda path: _gz(path, struct.pack(">HBB3I", 0, 8, 3, 1024, 1024, 1024), bytes(MEGABYTE), 1024),
    ),
    "CSV in gzip, 1 GB": ("csv.gz", lambda path: _gz(path, b"text,label\n", b"a,b\n" * (MEGABYTE // 4), 1024)),
    "CSV in gzip, a cell of 1 GB": ("csv.gz", lambda path: _gz(path, b'text,label\n"', b"a" * MEGABYTE, 1024)),
    "JSON lines in gzip, lists within lists": ("jsonl.gz", lambda path: _gz(path, b"", b"[" * MEGABYTE, 100)),
    "gzip in gzip": (
        "csv.gz", lambda path: path.write_bytes(gzip.compress(gzip.compress(bytes(512 * MEGABYTE)), mtime=0)),
    ),
    "Parquet, 1,000,000 rows of one text of 1 MB": (
        "parquet", lambda path: _parquet(path, "a" * MEGABYTE, 1_000_000),
    ),
    "Parquet, 1,500 rows of one picture of 1 MB": (
        "parquet", lambda path: _parquet(path, "a" * MEGABYTE, 1_500, as_bytes=True),
    ),
    "Parquet, a text of 200 MB": ("parquet", lambda path: _parquet(path, "a" * 200 * MEGABYTE, 30)),
    "tar, a member of 1 TB behind 20,000": ("tar", _shard),
}  # fmt: skip
"""By what each is: its suffix, and what writes it."""
