"""Arrays in files: npy, npz and IDX (as MNIST comes), and tables whose cells are pixels.

Which array holds pictures and which one their labels is told by shape and length, and the part by a word of the name
(`x_train`, `t10k-images-idx3-ubyte`). Objects, which are pickles, are never opened.
"""

from __future__ import annotations

import io
import math
import re
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from tokenize import TokenError
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headstart.base.errors import DataError, list_some
from headstart.data.dataset import BadExample, Dataset, Skipped, Split
from headstart.data.file_tree import Tree, is_litter, suffix_of
from headstart.data.labels import part_named_in
from headstart.data.readers.archives import gunzip, inner_archive
from headstart.data.readers.arrays.in_memory import from_items
from headstart.data.readers.arrays.pictures import plain_labels
from headstart.data.readers.containers import head_of

MAX_ARRAYS = 2**31
"""Bytes of all arrays of one data set, which are in memory together."""
MAX_ROWS = 2_000_000
"""Of one array: each is a picture or a label of its own, however few bytes it has."""
_IDX = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
# That numpy's reader raises of a header, a Python dictionary that it evaluates.
_DAMAGED = (ValueError, TypeError, LookupError, ArithmeticError, SyntaxError, TokenError, RecursionError, MemoryError)
_PYTHON = "give hs.fit((pictures, labels)) in Python"


class PictureSet(NamedTuple):
    """Pictures of one part and their labels."""

    name: str
    split: Split | None
    pictures: Any
    labels: Any
    lost: tuple[Skipped, ...] = ()  # rows that hold no picture, and why


def has_arrays(head: bytes) -> bool:
    """Return whether a file holds arrays, by its beginning: npy, IDX, either in gzip, or npz."""
    if head.startswith(b"\x1f\x8b"):
        try:
            head = zlib.decompressobj(31).decompress(head, 64)
        except zlib.error:
            return False
    if head.startswith(b"PK\x03\x04"):
        return head[30 : 30 + int.from_bytes(head[26:28], "little")].endswith(b".npy")
    if head.startswith(b"\x93NUMPY"):
        return True
    return len(head) >= 8 and head[:2] == b"\0\0" and head[2] in _IDX and 1 <= head[3] <= 4


def array_files_of(tree: Tree) -> list[str]:
    """Return the files of the first level that hold arrays."""
    names = [file.path for file in tree.files if "/" not in file.path and not is_litter(file.path)]
    plain = [name for name in names if suffix_of(name) in ("", ".npy", ".npz", ".gz", ".idx") or "ubyte" in name]
    with_arrays = [name for name in plain if has_arrays(head_of(tree, name))]
    return [name for name in with_arrays if suffix_of(name) != ".npz"] or with_arrays


def from_array_files(tree: Tree, names: Sequence[str], *, name: str, where: str, labelled: bool = True) -> Dataset:
    """Return the pictures in arrays, with their labels and the parts that names tell.

    Raises:
        DataError: an array is damaged, holds objects, or nothing tells which labels belong to which pictures.
    """
    arrays: dict[str, NDArray[Any]] = {}
    members: dict[str, tuple[Tree, str]]
    left = MAX_ARRAYS
    for path in names:
        if suffix_of(path) == ".npz":
            inner = inner_archive(tree, path)
            members = {f"{path}/{file.path.removesuffix('.npy')}": (inner, file.path) for file in inner.files}
        else:
            members = {path: (tree, path)}
        for key, (holder, member) in members.items():
            arrays[key if len(names) > 1 else key.removeprefix(f"{path}/")] = array = _read(holder, member, left)
            left -= array.nbytes
    every = [PictureSet(key, None, list(array), None) for key, array in arrays.items() if array.ndim in (3, 4)]
    return dataset_of(every if every and not labelled else _pair(arrays, where), name, where, labelled=labelled)


def _read(tree: Tree, path: str, limit: int) -> NDArray[Any]:
    where = f"{tree.where}/{path}"
    try:
        data = tree.read(path, limit=limit)
    except BadExample as error:
        do = "save its pictures as files in class folders" if error.reason == "too large" else "check the file"
        raise DataError(f"{where} must be readable in memory", error.reason, do) from error
    if data.startswith(b"\x1f\x8b"):
        data = gunzip(data, where)
    return _array(data, where)


def _array(data: bytes, where: str) -> NDArray[Any]:
    """Return the array in the bytes of an npy or IDX file, without a copy."""
    try:
        if data.startswith(b"\x93NUMPY"):
            file = io.BytesIO(data)
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, fortran, dtype = read(file)
            if dtype.hasobject:
                do = f"load it where you trust it and {_PYTHON}"
                raise DataError(f"{where} must hold numbers", "Python objects, a pickle, which is never opened", do)
            start = file.tell()
        else:
            axes = data[3]
            shape, fortran, dtype = struct.unpack(f">{axes}I", data[4 : 4 + 4 * axes]), False, np.dtype(_IDX[data[2]])
            start = 4 + 4 * axes
        if min(shape, default=0) < 0:
            raise ValueError(f"the shape {shape}")
        array = np.frombuffer(data, dtype, math.prod(shape), start).reshape(shape, order="F" if fortran else "C")
    except DataError:
        raise
    except (*_DAMAGED, struct.error) as error:
        raise DataError(f"{where} must be a whole array", error, "copy or download it again") from error
    if max(shape[:1], default=0) > MAX_ROWS:
        raise DataError(f"{where} must have at most {MAX_ROWS:,} rows", f"{shape[0]:,}", "leave some out")
    return array


def _pair(arrays: Mapping[str, NDArray[Any]], where: str) -> list[PictureSet]:
    """Return each array of pictures with the one array of labels of its length, and of its part where names tell."""
    shown = list_some([f"{key or 'one'} {array.shape}" for key, array in arrays.items()], 8)
    pictures = {key: array for key, array in arrays.items() if array.ndim in (3, 4)}
    labels = {key: array for key, array in arrays.items() if array.ndim in (1, 2)}
    sets = []
    for key, array in pictures.items():
        part = part_named_in(key)
        fitting = [other for other, one in labels.items() if len(one) == len(array) and part_named_in(other) == part]
        if len(fitting) > 1:
            named = [other for other in fitting if re.search(r"label|target|(^|_)y|class", other, re.IGNORECASE)]
            fitting = named if len(named) == 1 else fitting
        if len(fitting) > 1 or (not fitting and part in (None, "train")):
            received = f"{'several' if fitting else 'none'} for {key or 'its array'}: {shown}"
            must = f"{where} must hold one array of labels for each array of pictures (n, height, width)"
            raise DataError(must, received, f"name the folder that holds both, or {_PYTHON}")
        sets.append(PictureSet(key, part, list(array), labels[fitting[0]] if fitting else None))
    if not sets:
        raise DataError(
            f"{where} must hold pictures, arrays (n, height, width) or (n, height, width, 3)", shown, _PYTHON
        )
    return sets


def dataset_of(sets: Sequence[PictureSet], name: str, where: str, *, labelled: bool) -> Dataset:
    """Return the pictures of several sets as one data set; those without the labels wanted are set aside."""
    used = [one for one in sets if one.labels is not None or not labelled]
    aside = [one for one in sets if one.labels is None and labelled]
    has_parts = any(one.split for one in used)
    dataset = from_items(
        [picture for one in used for picture in one.pictures],
        [label for one in used for label in plain_labels(one.labels)] if labelled else None,
        kind="image",
        splits=[one.split for one in used for _ in one.pictures] if has_parts else None,
        name=name,
    )
    clauses = [f"{one.split or 'all'} from {one.name or name}" for one in used]
    lost = tuple(skipped for one in used for skipped in one.lost)
    ignored = sum(len(one.pictures) + len(one.lost) for one in aside)
    notes = [f"{one.name} is set aside: {len(one.pictures)} photos without labels, in {where}." for one in aside]
    return replace(
        dataset,
        layout=f"{len(dataset.classes)} classes, {', '.join(clauses)}.",
        notes=(*notes, *dataset.notes),
        skipped=(*dataset.skipped, *lost),
        ignored=dataset.ignored + ignored,
        entries=dataset.total + len(lost) + ignored,
    )
