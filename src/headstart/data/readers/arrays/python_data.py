"""What Python users hand over: pairs, rows, columns, frames, data sets of torch, and parts of any of them.

No library is imported to look at them: they are known by what they offer and not by their type.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from headstart.base.errors import DataError, list_some
from headstart.data.audio.formats import SOUND_SUFFIXES
from headstart.data.dataset import Dataset, Split
from headstart.data.file_tree import suffix_of
from headstart.data.images.formats import IMAGE_SUFFIXES
from headstart.data.labels import class_name_of, part_named_in, part_of
from headstart.data.modality import Kind
from headstart.data.readers.arrays.in_memory import from_items
from headstart.data.readers.arrays.pictures import as_array, is_row, plain_labels, row_of
from headstart.data.readers.tables.roles import Roles, find_roles
from headstart.data.readers.tables.table import CONTENT, ColumnNames, Table, is_empty

GIVE = "give a path, a pair (items, labels), a list of such pairs or of rows, a dict of columns, a frame or a data set"
_MEDIA = frozenset({"array", "bytes"})  # keys of a picture or recording as `datasets` holds one
_KINDS: dict[str, Kind | None] = {"text": "text", "audio": "sound", "image": "image", "path": None}


class _Part(NamedTuple):
    """Examples by column, of one part."""

    items: Any
    labels: Any
    splits: Sequence[Any] | None = None
    groups: Sequence[Any] | None = None
    kind: Kind | None = None


@dataclass
class _Parts:
    """Several parts as one."""

    items: list[Any] = field(default_factory=list)
    labels: list[Any] = field(default_factory=list)
    splits: list[Split | None] = field(default_factory=list)


def from_python(data: Any, *, columns: ColumnNames | None = None) -> Dataset:
    """Return the labelled examples in whatever Python holds; see `GIVE`.

    Raises:
        DataError: it is none of these, or cannot be used as it is.
    """
    parts = _parts(data)
    if parts is None:
        part = _part(data, columns)
        splits = None if part.splits is None else [_split(cell, row) for row, cell in enumerate(part.splits)]
        groups = None if part.groups is None else [class_name_of(cell) for cell in part.groups]
        return from_items(part.items, part.labels, kind=part.kind, splits=splits, groups=groups)
    joined, kinds = _Parts(), set()
    for name, content in parts:
        part = _part(content, columns)
        joined.items += list(part.items)
        joined.labels += list(part.labels)
        joined.splits += [name] * (len(joined.items) - len(joined.splits))
        kinds.add(part.kind)
    return from_items(joined.items, joined.labels, kind=kinds.pop(), splits=joined.splits)


def examples_of_table(
    data: Any, *, remembered: ColumnNames | None = None, kind: Kind | None = None
) -> list[Any] | None:
    """Return what holds the example of each row of a frame, a dict of columns, records or a data set; None for others.

    A cell that holds nothing is None.

    Raises:
        DataError: no column holds the examples, or several could.
    """
    columns = _named_columns(data)
    if columns is None and isinstance(data, (list, tuple)) and data and all(map(_is_record, data)):
        columns = _columns_of_rows(data)
    if columns is None or (isinstance(data, Mapping) and not _is_table(data)):
        return None
    _, roles, values = _with_roles(columns, remembered=remembered, labelled=False, kind=kind)
    return list(_items(roles, values))


def _parts(data: Any) -> list[tuple[Split, Any]] | None:
    """Return the parts of data with those that its keys name, or of two pairs `(x, y), (x_test, y_test)`; else None."""
    if isinstance(data, Mapping):
        named = {key: part_named_in(str(key)) for key in data}
        if data and all(named.values()) and not any(_is_column(value) for value in data.values()):
            return [(part, data[key]) for key, part in named.items() if part is not None]
        return None
    if isinstance(data, (tuple, list)) and len(data) in (2, 3) and all(_is_pair_of_columns(part) for part in data):
        names: tuple[Split, ...] = ("train", "test") if len(data) == 2 else ("train", "validation", "test")
        return list(zip(names, data, strict=True))
    return None


def _part(data: Any, columns: ColumnNames | None) -> _Part:
    """Return the examples of one part, whatever form they have."""
    named = _named_columns(data)
    if named is not None:
        return _from_columns(named, columns)
    if isinstance(data, tuple):
        if len(data) != 2:
            raise DataError("data in Python must be a pair (items, labels)", f"{len(data)} values", "give two")
        return _Part(*data)
    if hasattr(data, "targets") and hasattr(data, "samples"):  # an ImageFolder: its paths, unread
        return _Part([path for path, _ in data.samples], _named(list(data.targets), data))
    rows = _rows(data)
    if rows and all(is_row(row) for row in rows):
        return _from_columns(_columns_of_rows(rows), columns)
    if rows and all(isinstance(row, (tuple, list)) and len(row) == 2 for row in rows):
        return _Part([row[0] for row in rows], _named([row[1] for row in rows], data))
    raise DataError("data in Python must hold examples with their labels", f"a {type(data).__name__}", GIVE)


def _named_columns(data: Any) -> Mapping[Any, Any] | None:
    """Return the columns of a frame, of a data set of the library `datasets`, or of a dict; None for anything else."""
    if hasattr(data, "iloc") and hasattr(data, "columns"):  # a frame
        return {str(name): list(data[name]) for name in data.columns}
    if hasattr(data, "column_names") and hasattr(data, "features"):
        return _columns_of(data)
    return data if isinstance(data, Mapping) else None


def _columns_of_rows(rows: Sequence[Any]) -> dict[str, list[Any]]:
    records = [row_of(row) for row in rows]
    names = dict.fromkeys(name for row in records for name in row)
    return {name: [row.get(name) for row in records] for name in names}


def _is_record(item: object) -> bool:
    """Return whether an item is a row of a table, and not a picture or recording as `datasets` holds one."""
    return is_row(item) and not (isinstance(item, Mapping) and item.keys() & _MEDIA)


def _is_table(data: Mapping[Any, Any]) -> bool:
    cells = [value for value in data.values() if hasattr(value, "__len__") and not isinstance(value, (str, bytes))]
    return _is_record(data) and len(cells) == len(data)


def _rows(data: Any) -> list[Any]:
    """Return the rows of a list, of a data set by position, or of what can be iterated; batches as their rows."""
    data = getattr(data, "dataset", data) if not hasattr(data, "__getitem__") else data  # a loader
    if hasattr(data, "as_numpy_iterator"):
        data = data.as_numpy_iterator()
    single = isinstance(data, (str, bytes)) or getattr(data, "shape", None) == ()
    if hasattr(data, "__getitem__") and hasattr(data, "__len__") and not single:
        rows = [data[at] for at in range(len(data))]
    elif isinstance(data, Iterable) and not single:
        rows = list(data)
    else:
        raise DataError("DATA must be a path, or in Python examples with labels", type(data).__name__, GIVE)
    if rows and all(isinstance(row, tuple) and len(row) == 2 and _is_batch(row) for row in rows):
        return [(x, y) for xs, ys in rows for x, y in zip(xs, ys, strict=True)]
    return rows


def _is_batch(row: tuple[Any, Any]) -> bool:
    x, y = as_array(row[0]), as_array(row[1])
    return x is not None and y is not None and x.ndim == 4 and y.ndim >= 1 and len(x) == len(y)


def _is_column(value: object) -> bool:
    """Return whether a value is one column and not a whole data set: a list of plain values, or an array."""
    if isinstance(value, list):
        return not all(is_row(one) or (isinstance(one, (tuple, list)) and len(one) == 2) for one in value)
    return as_array(value) is not None


def _is_pair_of_columns(value: object) -> bool:
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        return False
    sizes = [len(array) if (array := as_array(one)) is not None and array.ndim else -1 for one in value]
    return sizes[0] > 0 and sizes[0] == sizes[1]


def _from_columns(data: Mapping[Any, Any], columns: ColumnNames | None) -> _Part:
    """Return what columns hold; see `_with_roles`."""
    names, roles, values = _with_roles(data, columns=columns)
    labels = values[roles.label[0]] if len(roles.label) == 1 else None
    if labels is None:
        rows = zip(*(values[at] for at in roles.label), strict=True)
        labels = [names[roles.label[at]] for at in plain_labels(list(rows))]
    splits, groups = (None if at is None else values[at] for at in (roles.split, roles.group))
    return _Part(_items(roles, values), labels, splits, groups, _KINDS[roles.content])


def _with_roles(data: Mapping[Any, Any], **asked: Any) -> tuple[tuple[str, ...], Roles, list[Any]]:
    """Return the names of columns, what they are for, and their cells.

    Those of media or of paths are told by what their cells are, all others as in a table; see `find_roles`.
    """
    names, values = tuple(str(name) for name in data), list(data.values())
    sizes = {name: len(cells) for name, cells in zip(names, values, strict=True)}
    if len(set(sizes.values())) > 1:
        received = list_some([f"{size:,} in {name!r}" for name, size in sizes.items()], 3)
        raise DataError("columns must hold equally many cells", received, "give one for each row")
    known = {name.lower() for name in names} & CONTENT.keys()
    chosen = {**(asked.get("remembered") or {}), **(asked.get("columns") or {})}
    if not chosen.keys() & CONTENT.keys() and not known:
        media = [name for name, cells in zip(names, values, strict=True) if _holds_media(cells)]
        asked["columns"] = {**(asked.get("columns") or {}), **({"path": media[0]} if len(media) == 1 else {})}
    table = Table("the data", names, lambda at: values[at], range(max(sizes.values(), default=0)), unit="row")
    return names, find_roles(table, **asked), values


def _items(roles: Roles, values: Sequence[Any]) -> Any:
    """Return what holds the examples; several texts are joined by line breaks."""
    items = values[roles.columns[0]]
    if len(roles.columns) > 1:
        rows = zip(*(values[at] for at in roles.columns), strict=True)
        return ["\n".join(str(cell) for cell in cells if not is_empty(cell)) for cells in rows]
    return [_samples(item) for item in items] if roles.content == "audio" else items


def _holds_media(cells: Any) -> bool:
    """Return whether a column holds pictures, recordings or paths of such."""
    array = as_array(cells)
    if array is not None and array.dtype.kind in "buif":
        return array.ndim > 2
    known = (*IMAGE_SUFFIXES, *SOUND_SUFFIXES)
    sample = [cell for cell in list(cells)[:50] if cell is not None]
    return bool(sample) and all(
        suffix_of(os.fsdecode(cell)) in known
        if isinstance(cell, (str, os.PathLike))
        else isinstance(cell, (bytes, Mapping)) or hasattr(cell, "getexif") or getattr(as_array(cell), "ndim", 0) > 1
        for cell in sample
    )


def _columns_of(data: Any) -> dict[str, Any]:
    """Return the columns of a data set of the library `datasets`, its media as bytes and its labels by name."""
    library = sys.modules.get("datasets")
    for name, feature in data.features.items():
        if library is not None and type(feature).__name__ in ("Image", "Audio"):
            data = data.cast_column(name, type(feature)(decode=False))
    columns: dict[str, Any] = {}
    for name in data.column_names:
        classes = getattr(data.features[name], "names", None)
        values = list(data[name])
        columns[name] = (
            [classes[value] if value is not None and value >= 0 else None for value in values] if classes else values
        )
    return columns


def _samples(item: Any) -> Any:
    """Return a recording in a cell as a pair of its samples and their rate, where it holds these."""
    if isinstance(item, Mapping) and item.get("array") is not None:
        return item["array"], item["sampling_rate"]
    return (item.get("bytes") or item.get("path")) if isinstance(item, Mapping) else item


def _named(labels: list[Any], data: Any) -> list[Any]:
    """Return labels by the class names of a data set, where it has such and the labels are their positions."""
    classes = getattr(data, "classes", None)
    if not isinstance(classes, (list, tuple)) or not all(isinstance(label, int) for label in labels):
        return labels
    return [classes[label] for label in labels] if all(0 <= label < len(classes) for label in labels) else labels


def _split(cell: object, row: int) -> Split:
    part = part_of(cell)
    if part is None:
        raise DataError(
            f"row {row} must name its part: train, validation or test", repr(cell), "write one of these there"
        )
    return part
