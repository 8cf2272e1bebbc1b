"""Examples that Python hands over: paths, bytes, PIL pictures and arrays, with their labels."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.base.errors import DataError
from headstart.data.dataset import Dataset, Example, Skipped, Unusable
from headstart.data.labels import check_classes, notes_on, spelled
from headstart.data.trees import MAX_BYTES, read_file

if TYPE_CHECKING:
    from PIL import Image

_PNG_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16"})


def from_items(items: Iterable[Any], labels: Iterable[Any] | None = None) -> Dataset:
    """Return pictures that are paths, bytes, PIL pictures or uint8 arrays of shape (h, w), (h, w, 3) or (h, w, 4).

    Args:
        items: the pictures; an id is a path as given, else `item N`, counted from 0.
        labels: one per item, a name or a number; a missing one (None, NaN, "") makes its item skipped. None for
            pictures without labels.

    Raises:
        DataError: there is none, the lengths differ, or there are fewer than two classes.
    """
    items, labels = list(items), None if labels is None else list(labels)
    if labels is not None and len(items) != len(labels):
        raise DataError("items and labels must be equally many", f"{len(items)} and {len(labels)}", "give one each")
    if not items:
        raise DataError("items must hold a picture", "none", "give some")
    examples: list[Example] = []
    rows: list[int] = []
    skipped: list[Skipped] = []
    used: set[str] = set()
    for row in range(len(items)):
        name = _name(items[row], row)
        name = f"{name}#{row}" if name in used else name
        used.add(name)
        label = "" if labels is None else spelled(labels[row])
        if label is None:
            skipped.append(Skipped(name, "", "no label"))
        else:
            examples.append(Example(name, label))
            rows.append(row)
    classes = () if labels is None else tuple(sorted({example.label for example in examples}))
    if labels is not None and examples:
        check_classes(classes, where="labels", do="give examples of at least two labels")
    return Dataset(
        name="items",
        kind="image",
        examples=tuple(examples),
        classes=classes,
        read=_Items(items, rows),
        skipped=tuple(skipped),
        notes=notes_on(classes),
    )


class _Items:
    def __init__(self, items: Sequence[Any], rows: Sequence[int]) -> None:
        self._items, self._rows = items, tuple(rows)
        self._lock = threading.Lock()

    def __call__(self, position: int) -> bytes:
        item = self._items[self._rows[position]]
        if isinstance(item, (str, os.PathLike)):
            return read_file(os.fspath(item))
        if isinstance(item, (bytes, bytearray, memoryview)):
            if len(item) > MAX_BYTES:
                raise Unusable("too large")
            return bytes(item)
        # A PIL picture may still have to read its file, which two threads cannot do at once.
        with self._lock:
            return _encoded(item)


def _name(item: object, row: int) -> str:
    return os.fsdecode(item) if isinstance(item, (str, os.PathLike)) else f"item {row}"


def _encoded(item: Any) -> bytes:
    """Return a picture in memory as a lossless file, its EXIF orientation kept."""
    from PIL import Image

    picture: Image.Image
    if isinstance(item, Image.Image):
        picture = item
    elif isinstance(item, np.ndarray) and item.dtype == np.uint8 and item.size:
        if not (item.ndim == 2 or (item.ndim == 3 and item.shape[2] in (3, 4))):
            raise Unusable(f"an array of shape {item.shape}, not (h, w), (h, w, 3) or (h, w, 4)")
        picture = Image.fromarray(np.ascontiguousarray(item))
    else:
        what = f"array of {item.dtype}" if isinstance(item, np.ndarray) else type(item).__name__
        raise Unusable(f"not a path, bytes, a PIL picture or a uint8 array ({what})")
    data = io.BytesIO()
    try:
        how = {"format": "PNG", "compress_level": 1} if picture.mode in _PNG_MODES else {"format": "TIFF"}
        picture.save(data, exif=picture.getexif(), **how)
    except (OSError, ValueError, SyntaxError) as error:
        raise Unusable("cannot be read by Pillow") from error
    return data.getvalue()
