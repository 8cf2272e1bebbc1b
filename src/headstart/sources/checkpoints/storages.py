"""The storages of a PyTorch checkpoint: where the bytes of each lie in its file, and tensors out of them."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from headstart.sources.checkpoints.pickled import Stored, read_pickle
from headstart.sources.checkpoints.safetensors import MAX_AXES, MAX_NAME, MAX_TENSORS, UnsoundFile

Made = TypeVar("Made")

LOCAL_HEADER = 30
OLDER_PICKLES = 3  # magic number, version, and what machine it was
MAX_SHARING = 4
"""How many times the bytes of a file its tensors may come to; some networks use one tensor twice."""
Places = dict[str, tuple[int, int]]
"""Where the bytes of each storage begin in their file, and how many there are."""


def read_archive(file: BinaryIO) -> tuple[Any, Places]:
    """Return what the pickle of an archive holds, and where its storages lie: each is a member, as it is."""
    with zipfile.ZipFile(file) as archive:
        members = {member.filename: member for member in archive.infolist()}
        root = next(name for name in members if name.rpartition("/")[2] == "data.pkl").removesuffix("data.pkl")
        if f"{root}constants.pkl" in members:
            raise UnsoundFile("a TorchScript program")
        if f"{root}byteorder" in members and archive.read(f"{root}byteorder") != b"little":
            raise UnsoundFile("numbers in the order of another kind of machine")
        tree, _ = read_pickle(io.BytesIO(archive.read(f"{root}data.pkl")))
    places: Places = {}
    for name, member in members.items():
        if name.startswith(f"{root}data/"):
            file.seek(member.header_offset)
            header = file.read(LOCAL_HEADER)
            before = LOCAL_HEADER + int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
            places[name.removeprefix(f"{root}data/")] = member.header_offset + before, member.file_size
    return tree, places


def read_older(file: BinaryIO, size: int) -> tuple[Any, Places]:
    """Return what torch's older form holds: five pickles, then each storage behind the count of its numbers.

    `size` is that of the file, in bytes.
    """
    for _ in range(OLDER_PICKLES):
        read_pickle(file)
    tree, storages = read_pickle(file)
    keys, _ = read_pickle(file)
    places: Places = {}
    for key in keys if isinstance(keys, list) else ():
        count = int.from_bytes(file.read(8), "little")
        places[key] = file.tell(), count * _width(storages[key].kind)
        if sum(places[key]) > size:
            raise UnsoundFile("storages that end before their numbers do")
        file.seek(sum(places[key]))
    return tree, places


def _width(kind: str) -> int:
    """Return the bytes of a number of one kind."""
    bits = re.fullmatch(r"(?:float|bfloat|int|uint|complex)(8|16|32|64|128)(?:_\w+)?", kind)
    if bits is None and kind != "bool":
        raise UnsoundFile(f"numbers of the kind {kind[:MAX_NAME]!r}, which are no plain ones")
    return int(bits[1]) // 8 if bits is not None else 1


def fetch(
    file: BinaryIO, places: Places, tensors: Mapping[str, Stored], make: Callable[[bytearray, Stored], Made]
) -> dict[str, Made]:
    """Return what `make` makes of each tensor and the bytes of its storage, once its numbers are seen to lie there."""
    read: dict[str, bytearray] = {}
    _check_tensors(tensors, places, file.seek(0, 2))
    for tensor in tensors.values():
        key = tensor.place.key
        if key not in read:
            file.seek(places[key][0])
            data = read[key] = bytearray(file.read(places[key][1]))
            if len(data) < places[key][1]:
                raise UnsoundFile("storages that end before their numbers do")
    return {name: make(read[tensor.place.key], tensor) for name, tensor in tensors.items()}


def read_known_arrays(path: Path, part: str | None = None) -> dict[str, NDArray[Any]]:
    """Return the tensors by name, in order, of a released file of torch's older form whose bytes are known already.

    `part` is what they stand under in the file; None where it holds nothing else.
    """
    with path.open("rb") as file:
        tree, places = read_older(file, path.stat().st_size)
        return fetch(file, places, tree if part is None else tree[part], _array)


def _array(data: bytearray, tensor: Stored) -> NDArray[Any]:
    numbers = np.frombuffer(data, np.dtype(tensor.kind))[tensor.offset :]
    return as_strided(numbers, tensor.shape, [stride * numbers.itemsize for stride in tensor.strides])


def _check_tensors(tensors: Mapping[str, Stored], places: Places, size: int) -> None:
    """Raise UnsoundFile unless the numbers of tensors lie in their storages, in a file of `size` bytes."""
    if len(tensors) > MAX_TENSORS:
        raise UnsoundFile(f"{len(tensors):,} tensors, more than the {MAX_TENSORS:,} that are read")
    left = MAX_SHARING * size
    for name, tensor in tensors.items():
        width, reached = _width(tensor.kind), places.get(tensor.place.key, (0, 0))[1]
        if len(name) > MAX_NAME or len(tensor.shape) > MAX_AXES:
            raise UnsoundFile(f"tensor {name[:MAX_NAME]!r}, which is no plain one")
        needed = prod(tensor.shape) * width
        last = tensor.offset + sum((n - 1) * stride for n, stride in zip(tensor.shape, tensor.strides, strict=True))
        left -= needed
        if left < 0 or needed > reached or (needed and (last + 1) * width > reached):
            raise UnsoundFile(f"tensor {name!r} of shape {tensor.shape}, more numbers than the file holds")
