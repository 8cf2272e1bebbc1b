"""Examples that Python hands over: paths, bytes, PIL pictures, arrays, samples and texts, with their labels."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.base.errors import DataError
from headstart.data.audio.decoding import SOUND_SUFFIXES, sound_bytes
from headstart.data.dataset import BadExample, Dataset
from headstart.data.file_tree import MAX_BYTES, read_file, suffix_of
from headstart.data.images.formats import IMAGE_SUFFIXES
from headstart.data.labels import Listing, class_name_of
from headstart.data.modality import Kind
from headstart.data.text import text_reader

if TYPE_CHECKING:
    from PIL import Image

LONGEST_PATH = 4096  # characters
_PNG_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16"})


def from_items(items: Iterable[Any], labels: Iterable[Any] | None = None, *, kind: Kind | None = None) -> Dataset:
    """Return pictures (paths, bytes, PIL pictures, uint8 arrays of shape (h, w), (h, w, 3) or (h, w, 4)), or others.

    Recordings are paths, bytes, or pairs (samples, rate) of an array of shape (n,) or (n, channels), floats in -1..1 or
    integers, and samples a second.

    Args:
        items: the pictures, recordings or texts; an id is a path as given, else `item N`, counted from 0.
        labels: one per item, a name or a number; a missing one (None, NaN, "") makes its item skipped. None for
            items without labels.
        kind: what they are. None: recordings where one is a pair or is named like one and none like a picture; texts
            where every item is a str and none is the path of a file or of a picture's name; else pictures. As texts, a
            str is the text itself and a path is a file that holds one.

    Raises:
        DataError: there is none, the lengths differ, or there are fewer than two classes.
    """
    try:
        items, labels = list(items), None if labels is None else list(labels)
    except TypeError as error:
        raise DataError("items and labels must be lists or arrays", error, "put them in lists") from error
    if labels is not None and len(items) != len(labels):
        raise DataError("items and labels must be equally many", f"{len(items)} and {len(labels)}", "give one each")
    if not items:
        raise DataError("items must hold something", "none", "give some")
    kind = kind or _kind(items)
    listing = Listing(labelled=labels is not None)
    used: set[str] = set()
    for row, item in enumerate(items):
        name = _name(item, row, kind)
        name = f"{name}#{row}" if name in used else name
        used.add(name)
        listing.add(name, "" if labels is None else class_name_of(labels[row]), item)
    contents = listing.contents
    read = text_reader(contents) if kind == "text" else _Items(contents, is_sound=kind == "sound")
    return listing.dataset(
        read, name="items", kind=kind, where="labels", do="give examples of at least two labels", found=len(items)
    )


class _Items:
    def __init__(self, items: Sequence[Any], *, is_sound: bool) -> None:
        self._items, self._is_sound, self._lock = items, is_sound, threading.Lock()

    def __call__(self, position: int) -> bytes:
        item = self._items[position]
        if self._is_sound:
            return sound_bytes(item)
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

    picture: Image.Image
    if isinstance(item, Image.Image):
        picture = item
    elif isinstance(item, np.ndarray) and item.dtype == np.uint8 and item.size:
        if not (item.ndim == 2 or (item.ndim == 3 and item.shape[2] in (3, 4))):
            raise BadExample(f"an array of shape {item.shape}, not (h, w), (h, w, 3) or (h, w, 4)")
        picture = Image.fromarray(np.ascontiguousarray(item))
    else:
        what = f"array of {item.dtype}" if isinstance(item, np.ndarray) else type(item).__name__
        raise BadExample(f"not a path, bytes, a PIL picture or a uint8 array ({what})")
    data = io.BytesIO()
    try:
        options = {"format": "PNG", "compress_level": 1} if picture.mode in _PNG_MODES else {"format": "TIFF"}
        picture.save(data, exif=picture.getexif(), **options)
    except (OSError, ValueError, SyntaxError) as error:
        raise BadExample("cannot be read by Pillow") from error
    return data.getvalue()
