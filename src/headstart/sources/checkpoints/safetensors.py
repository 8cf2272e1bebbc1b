"""safetensors files: the header checked in full before any library reads the file."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from headstart.base.errors import SourceError

if TYPE_CHECKING:
    from torch import Tensor

MOST_HEADER = 8 << 20
MOST_TENSORS = 100_000
MOST_AXES = 16
BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "U16": 16, "I16": 16, "F16": 16, "BF16": 16,
    "U32": 32, "I32": 32, "F32": 32, "U64": 64, "I64": 64, "F64": 64,
}  # fmt: skip


@dataclass(frozen=True)
class TensorEntry:
    """One tensor of a safetensors header: its kind of number, its shape, and its bytes `start` to `stop`."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


class Unsound(ValueError):
    """A file that is not what its format says; the message says where."""


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file, in the order of its header.

    Raises:
        SourceError: the file is truncated, tailed, or its header lies about what follows it; the file is named.
    """
    entries = check_safetensors(path)
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        _refuse(path, error)
    return {name: tensors[name] for name in entries}


def check_safetensors(path: Path) -> dict[str, TensorEntry]:
    """Return what the header of a safetensors file lists, once it is proved to account for every byte of the file.

    The length of the header is checked before it is read, and the number of tensors before it is parsed, so that a
    hostile file costs neither time nor memory.

    Raises:
        SourceError: the file is truncated, tailed, or its header lies about what follows it; the file is named.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            header, length = _header(file.read(8), size, file.read)
        entries = {name: _entry(name, entry) for name, entry in header.items()}
        _check_layout(entries, size - 8 - length)
    except (OSError, Unsound) as error:
        _refuse(path, error)
    return entries


def _refuse(path: Path, error: Exception) -> NoReturn:
    first = str(error).partition("\n")[0]
    raise SourceError(
        f"{path} must be a sound safetensors file", first, "get the file again from where it came from"
    ) from error


def _header(prefix: bytes, size: int, read: Any) -> tuple[Mapping[str, Any], int]:
    if len(prefix) < 8:
        raise Unsound(f"a file of {size} bytes, too short for a header")
    (length,) = struct.unpack("<Q", prefix)
    if length > MOST_HEADER:
        raise Unsound(f"a header of {length:,} bytes, more than the {MOST_HEADER:,} that are read")
    if length > size - 8:
        raise Unsound(f"a header of {length:,} bytes in a file of {size:,}: it is truncated")
    raw: bytes = read(length)
    if raw.count(b'"data_offsets"') > MOST_TENSORS:
        raise Unsound(f"more than {MOST_TENSORS:,} tensors")
    try:
        header = json.loads(raw, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise Unsound(f"a header that is no JSON ({error})") from error
    if not isinstance(header, dict):
        raise Unsound("a header that is no JSON object")
    header.pop("__metadata__", None)
    return header, length


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Unsound("a header that lists a name twice")
    return found


def _entry(name: str, value: Any) -> TensorEntry:
    if not isinstance(value, dict) or value.keys() != {"dtype", "shape", "data_offsets"}:
        raise Unsound(f"tensor {name!r} without dtype, shape and data_offsets")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if dtype not in BITS:
        raise Unsound(f"tensor {name!r} of the unknown kind {dtype!r}")
    if not _whole(shape) or len(shape) > MOST_AXES:
        raise Unsound(f"tensor {name!r} of no possible shape")
    if not _whole(offsets) or len(offsets) != 2:
        raise Unsound(f"tensor {name!r} at no possible place")
    start, stop = offsets
    if stop - start != math.prod(shape) * BITS[dtype] // 8:
        raise Unsound(f"tensor {name!r} with {stop - start:,} bytes for shape {tuple(shape)} of {dtype}")
    return TensorEntry(dtype, tuple(shape), start, stop)


def _whole(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 1 << 63 for value in values)


def _check_layout(entries: Mapping[str, TensorEntry], size: int) -> None:
    """Raise Unsound unless the tensors, one after the other, are the `size` bytes after the header."""
    if not entries:
        raise Unsound("no tensor")
    placed = sorted(entries.items(), key=lambda item: (item[1].start, item[1].stop))
    first, last = placed[0], placed[-1]
    if first[1].start:
        raise Unsound(f"{first[1].start:,} bytes before the first tensor that belong to none")
    for (name, one), (after, other) in pairwise(placed):
        if other.start != one.stop:
            raise Unsound(f"tensors {name!r} and {after!r} with {'an overlap' if other.start < one.stop else 'a gap'}")
    if last[1].stop > size:
        raise Unsound(f"{size:,} of {last[1].stop:,} bytes of tensors: it is truncated")
    if last[1].stop < size:
        raise Unsound(f"{size - last[1].stop:,} bytes after the last tensor")
