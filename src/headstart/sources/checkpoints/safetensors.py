"""safetensors files: read by their library, once what it lets pass is refused.

The library proves that the header accounts for every byte of the file. It takes headers of 100 MB, which cost seconds
and gigabytes, tensors of any number of axes, and of a name that is given twice the last one.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from headstart.base.errors import SourceError, refusing
from headstart.base.hashing import foreign_json

if TYPE_CHECKING:
    from torch import Tensor

MAX_HEADER_BYTES = 8 << 20
MAX_TENSORS = 20_000
MAX_VALUES = 16 * MAX_TENSORS
MAX_AXES = 16
MAX_NAME = 1_000
"""Letters of the name of a tensor."""


class UnsoundFile(ValueError):
    """A file that is not what its format says; the message says where."""


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file, in the order of its header, once `check_safetensors` has passed it."""
    names = check_safetensors(path)
    with refusing(partial(_refusal, path)):  # a kind of number that torch does not have
        from safetensors.torch import load_file

        tensors = load_file(path)
        return {name: tensors[name] for name in names}


def check_safetensors(path: Path) -> list[str]:
    """Return the names of the tensors in the order of the header, once that is proved to be sound.

    SourceError: the file is truncated, tailed, or its header lies about what follows it; the file is named.
    """
    with refusing(partial(_refusal, path)):
        from safetensors import safe_open

        with path.open("rb") as file:
            names = check_header(file)
        if not names:
            raise UnsoundFile("no tensor")
        with safe_open(path, framework="np"):
            return names


def check_header(file: BinaryIO) -> list[str]:
    """Return the names of the tensors that the header of a safetensors file lists, in its order.

    The length of the header is checked before it is read, and the number of its values before it is parsed, so that a
    hostile file costs neither time nor memory. UnsoundFile, or another ValueError: it lists too many tensors, or odd
    ones; that they account for every byte of the file is for the library to prove.
    """
    length = int.from_bytes(file.read(8), "little")
    if length > MAX_HEADER_BYTES:
        raise UnsoundFile(f"a header of {length:,} bytes, more than the {MAX_HEADER_BYTES:,} that are read")
    raw = file.read(length)
    if not raw or len(raw) < length:
        raise UnsoundFile(f"a header of {length:,} bytes, of which {len(raw):,} are there")
    header = foreign_json(raw, most=MAX_VALUES, pairs=_with_each_name_once)
    if not isinstance(header, dict):
        raise UnsoundFile("a header that is no JSON object")
    header.pop("__metadata__", None)
    if len(header) > MAX_TENSORS:
        raise UnsoundFile(f"{len(header):,} tensors, more than the {MAX_TENSORS:,} that are read")
    for name, entry in header.items():
        if len(name) > MAX_NAME:
            raise UnsoundFile(f"a tensor with a name of {len(name):,} letters")
        shape = entry.get("shape") if isinstance(entry, dict) else None
        if not isinstance(shape, list):
            raise UnsoundFile(f"tensor {name!r} without a shape")
        if len(shape) > MAX_AXES:
            raise UnsoundFile(f"tensor {name!r} of more than {MAX_AXES} axes")
    return list(header)


def _with_each_name_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise UnsoundFile("a header that lists a name twice")
    return dict(pairs)


def _refusal(path: Path, reason: str) -> SourceError:
    first = reason.partition("\n")[0]
    return SourceError(f"{path} must be a sound safetensors file", first, "get the file again from where it came from")
