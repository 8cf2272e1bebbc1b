"""safetensors files: read by their library, once what it lets pass is refused.

The library proves that the header accounts for every byte of the file. It takes headers of 100 MB, which cost seconds
and gigabytes, tensors of any number of axes, and of a name that is given twice the last one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.base.errors import SourceError

if TYPE_CHECKING:
    from torch import Tensor

MAX_HEADER_BYTES = 8 << 20
MAX_TENSORS = 100_000
MAX_AXES = 16


class UnsoundFile(ValueError):
    """A file that is not what its format says; the message says where."""


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file, in the order of its header, once `check_safetensors` has passed it."""
    names = check_safetensors(path)
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except (OSError, ValueError, LookupError, SafetensorError) as error:  # a kind of number that torch does not have
        raise _refusal(path, error) from error
    return {name: tensors[name] for name in names}


def check_safetensors(path: Path) -> list[str]:
    """Return the names of the tensors in the order of the header, once that is proved to be sound.

    The length of the header is checked before it is read, and the number of tensors before it is parsed, so that a
    hostile file costs neither time nor memory. SourceError: the file is truncated, tailed, or its header lies about
    what follows it; the file is named.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > MAX_HEADER_BYTES:
                raise UnsoundFile(f"a header of {length:,} bytes, more than the {MAX_HEADER_BYTES:,} that are read")
            raw = file.read(length)
        if raw.count(b'"data_offsets"') > MAX_TENSORS:
            raise UnsoundFile(f"more than {MAX_TENSORS:,} tensors")
        with safe_open(path, framework="np"):
            pass
        header = json.loads(raw, object_pairs_hook=_with_each_name_once)
        header.pop("__metadata__", None)
        if not header:
            raise UnsoundFile("no tensor")
        if odd := [name for name, entry in header.items() if len(entry["shape"]) > MAX_AXES]:
            raise UnsoundFile(f"tensor {odd[0]!r} of more than {MAX_AXES} axes")
    except (OSError, ValueError, SafetensorError) as error:
        raise _refusal(path, error) from error
    return list(header)


def _with_each_name_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise UnsoundFile("a header that lists a name twice")
    return dict(pairs)


def _refusal(path: Path, problem: object) -> SourceError:
    first = str(problem).partition("\n")[0]
    return SourceError(f"{path} must be a sound safetensors file", first, "get the file again from where it came from")
