"""Examples that Python hands over: paths, bytes, PIL pictures, arrays, samples and texts, with their labels."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headstart.base.errors import DataError
from headstart.data.audio.decoding import sound_bytes
from headstart.data.audio.formats import SOUND_SUFFIXES
from headstart.data.dataset import BadExample, Dataset, Split
from headstart.data.file_tree import MAX_BYTES, read_file, suffix_of
from headstart.data.images.formats import IMAGE_SUFFIXES
from headstart.data.labels import Listing, class_name_of
from headstart.data.modality import Kind
from headstart.data.readers.arrays.pictures import ArrayPictures, as_array, picture_bytes, pictures_of, plain_labels
from headstart.data.text import text_reader

if TYPE_CHECKING:
    from PIL import Image

LONGEST_PATH = 4096  # characters
_PNG_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16"})


@dataclass(frozen=True, slots=True)
class _Picture:
    """One of a set of arrays, which are all read by one range of values."""

    pictures: Sequence[Any]
    position: int


def from_items(
    items: Iterable[Any],
    labels: Iterable[Any] | None = None,
    *,
    kind: Kind | None = None,
    splits: Sequence[Split | None] | None = None,
    groups: Sequence[str | None] | None = None,
    name: str = "items",
) -> Dataset:
    """Return pictures (paths, bytes, PIL pictures, arrays or tensors, see `arrays`), recordings or texts.

    Recordings are paths, bytes, or pairs (samples, rate) of an array of shape (n,) or (n, channels), floats in -1..1 or
    integers, and samples a second.

    Args:
        items: the pictures, recordings or texts; an id is a path as given, else `item N`, counted from 0.
        labels: one per item, see `plain_labels`; a missing one (None, NaN, "") makes its item skipped. None for items
            without labels.
        kind: what they are. None: recordings where one is a pair or is named like one and none like a picture; texts
            where every item is a str and none is the path of a file or of a picture's name; else pictures. As texts, a
            str is the text itself and a path is a file that holds one.
        splits: the part of each item, where that is given.
        groups: the group of each item, where that is given.
        name: what the data set is called.

    Raises:
        DataError: there is none, the lengths differ, or there are fewer than two classes.
    """
    try:
        labels = None if labels is None else plain_labels(labels)
        items = _listed(items, kind, None if labels is None else len(labels))
    except TypeError as error:
        raise DataError("items and labels must be lists or arrays", error, "put them in lists") from error
    if labels is not None and len(items) != len(labels):
        raise DataError("items and labels must be equally many", f"{len(items)} and {len(labels)}", "give one each")
    if not items:
        raise DataError("items must hold something", "none", "give some")
    kind = kind or _kind(items)
    if kind == "image":
        items = _as_set(items)
    listing = Listing(labelled=labels is not None)
    used: set[str] = set()
    for row, item in enumerate(items):
        row_id = _name(item, row, kind)
        row_id = f"{row_id}#{row}" if row_id in used else row_id
        used.add(row_id)
        label = "" if labels is None else class_name_of(labels[row])
        split, group = splits[row] if splits else None, groups[row] if groups else None
        listing.add(row_id, label, item, split=split, group=group)
    contents = listing.contents
    read = text_reader(contents) if kind == "text" else _Items(contents, is_sound=kind == "sound")
    return listing.dataset(
        read, name=name, kind=kind, where="labels", do="give examples of at least two labels", entries=len(items)
    )


def several(items: Any) -> Any:
    """Return what was given for prediction as a list or an array of items: a lone one in a list."""
    lone = isinstance(items, (str, bytes, bytearray, os.PathLike, Mapping)) or hasattr(items, "getexif")
    if lone or (isinstance(items, tuple) and len(items) == 2 and isinstance(items[1], (int, float))):
        return [items]
    if not hasattr(items, "__len__"):
        raise DataError("items must be a list or an array", f"a {type(items).__name__}", "put it in a list: [item]")
    array = as_array(items)
    return [array] if array is not None and array.ndim == 2 and array.dtype.kind in "buif" else items


def _listed(items: Any, kind: Kind | None, rows: int | None) -> list[Any]:
    """Return items one by one; an array is one of pictures, unless it holds texts or paths."""
    array = as_array(items) if kind in (None, "image") else None
    if array is None or array.dtype.kind not in "buif" or not array.ndim or array.shape == (0,):
        return list(items)
    pictures = pictures_of(array, rows=rows)
    return [_Picture(pictures, position) for position in range(len(pictures))]


def _as_set(items: Sequence[Any]) -> list[Any]:
    """Return pictures, those that are arrays as one set with one range of values."""
    converted = {
        row: as_array(item) for row, item in enumerate(items) if not isinstance(item, (str, bytes, os.PathLike))
    }
    arrays = {row: array for row, array in converted.items() if array is not None and array.dtype.kind in "buif"}
    pictures = ArrayPictures(list(arrays.values()))
    as_pictures = {row: _Picture(pictures, position) for position, row in enumerate(arrays)}
    return [as_pictures.get(row, item) for row, item in enumerate(items)]


class _Items:
    def __init__(self, items: Sequence[Any], *, is_sound: bool) -> None:
        self._items, self._is_sound, self._lock = items, is_sound, threading.Lock()

    def __call__(self, position: int) -> bytes:
        item = self._items[position]
        if self._is_sound:
            return sound_bytes(item)
        if isinstance(item, Mapping):  # a cell of a data set: bytes, or the path of them
            item = item.get("bytes") or item.get("path")
        if isinstance(item, (str, os.PathLike)):
            return read_file(os.fspath(item))
        if isinstance(item, (bytes, bytearray, memoryview)):
            if len(item) > MAX_BYTES:
                raise BadExample("too large")
            return bytes(item)
        # A PIL picture may still have to read its file, which two threads cannot do at once.
        with self._lock:
            return _encoded(item)


def _kind(items: Sequence[Any]) -> Kind:
    suffixes = {suffix_of(os.fsdecode(item)) for item in items if isinstance(item, (str, os.PathLike))}
    if not suffixes & IMAGE_SUFFIXES and (suffixes & SOUND_SUFFIXES or any(isinstance(item, tuple) for item in items)):
        return "sound"
    return "text" if all(isinstance(item, str) and not _is_path(item) for item in items) else "image"


def _is_path(item: str) -> bool:
    """Return whether a str is rather a path: it has a picture's suffix, or a file is there."""
    if len(item) > LONGEST_PATH or "\n" in item:
        return False
    if suffix_of(item) in IMAGE_SUFFIXES:
        return True
    return "\0" not in item and os.path.isfile(item)  # noqa: PTH113 - a text need not make a path


def _name(item: object, row: int, kind: Kind) -> str:
    named = isinstance(item, os.PathLike) or (isinstance(item, str) and kind != "text")
    return os.fsdecode(item) if named else f"item {row}"  # type: ignore[arg-type]


def _encoded(item: Any) -> bytes:
    """Return a picture in memory as a lossless file, its EXIF orientation kept."""
    from PIL import Image

    if isinstance(item, _Picture):
        return picture_bytes(item.pictures[item.position])
    if not isinstance(item, Image.Image):
        raise BadExample(f"not a path, bytes, a PIL picture or an array ({type(item).__name__})")
    picture: Image.Image = item
    data = io.BytesIO()
    try:
        options = {"format": "PNG", "compress_level": 1} if picture.mode in _PNG_MODES else {"format": "TIFF"}
        picture.save(data, exif=picture.getexif(), **options)
    except (OSError, ValueError, SyntaxError) as error:
        raise BadExample("cannot be read by Pillow") from error
    return data.getvalue()
