"""Tables in JSON: a list of objects or of lists of cells, an object of columns or of rows, or an object a line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from headstart.base.errors import DataError
from headstart.data.labels import number_of, part_named_in
from headstart.data.readers.tables.delimited import JUDGED, header_of
from headstart.data.readers.tables.table import Table

_WRITE_AS = 'write one object a line: {"text": "…", "label": "…"}'
_FEW = 3  # keys with plain values: no more may be one object, such as settings


def read_json(
    text: str,
    where: str,
    *,
    names: Sequence[str] = (),
    known: Sequence[Sequence[str]] = (),
    notes: tuple[str, ...] = (),
) -> Table:
    """Return the table in a text of JSON; a key that an object lacks is an empty cell.

    `names` and `known` name the columns of rows that are lists; see `read_delimited`.

    Objects inside an object are columns with a dot in their names (`label.name`).

    Raises:
        DataError: it is no JSON, or no objects.
    """
    whole, lines = _whole(text), None
    records = whole if whole is None or isinstance(whole, list) else _rows_in(whole)
    if records is None:
        records, lines = _lines(text, where)
    if records and all(isinstance(row, list) for row in records):
        return _of_cells(records, where, names, known, notes)
    unit, lines = ("row", range(len(records))) if lines is None else ("line", lines)
    rows = records
    for position, number in enumerate(lines):
        rows[position] = _flat(_object(rows[position], f"{where}, {unit} {number}"))
    if not rows:
        raise DataError(f"{where} must hold rows", "none", _WRITE_AS)
    keys = tuple(dict.fromkeys(key for row in rows for key in row))
    return Table(where, keys, lambda place: [row.get(keys[place]) for row in rows], lines, unit=unit, notes=notes)


def _of_cells(
    rows: list[list[Any]],
    where: str,
    names: Sequence[str],
    known: Sequence[Sequence[str]],
    notes: tuple[str, ...],
) -> Table:
    """Return the table of rows that are lists of cells; its first row names the columns where it looks so."""
    if len({len(row) for row in rows}) > 1:
        lengths = sorted({len(row) for row in rows})
        raise DataError(f"every row of {where} must have equally many cells", f"{lengths[0]} and more", _WRITE_AS)
    texts = [["" if cell is None else str(cell) for cell in row] for row in rows[: JUDGED + 1]]
    has_header, header = header_of(texts[0], texts[1:], where, names=names, known=known)
    lines = range(int(has_header), len(rows))
    if not lines:
        raise DataError(f"{where} must hold rows", "none", _WRITE_AS)
    cells = list(zip(*rows[has_header:], strict=True))
    return Table(where, tuple(header), cells.__getitem__, lines, unit="row", notes=notes, has_header=has_header)


def holds_lists(text: str) -> bool:
    """Return whether a text is JSON that begins with a list in a list."""
    return re.match(r"\s*\[\s*\[", text) is not None and isinstance(_parsed(text), list)


def _whole(text: str) -> Any:
    """Return the one value that a text of JSON is, or None where it is none."""
    start = text.lstrip("\ufeff \t\r\n")
    end = start.find("\n")
    if start.startswith("{") and 0 <= end < len(start) - 1 and _parsed(start[:end]) is not None:
        return None  # a line that is an object, with others below: JSON Lines, which are not read twice
    return _parsed(text)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _rows_in(value: dict[str, Any]) -> list[Any] | None:
    """Return the rows in an object, by the first of `_FORMS` that it has; None where it holds none."""
    return next((rows for form in _FORMS if (rows := form(value)) is not None), None)


def _lists_in(value: dict[str, Any]) -> dict[str, list[Any]]:
    return {name: cells for name, cells in value.items() if isinstance(cells, list)}


def _split(value: dict[str, Any]) -> list[Any] | None:
    """Return rows that are lists of cells under `data`, with the names of their `columns`, as pandas writes them."""
    lists = _lists_in(value)
    return [lists["columns"], *lists["data"]] if {"columns", "data"} <= lists.keys() else None


def _by_part(value: dict[str, Any]) -> list[Any] | None:
    """Return rows that stand under the name of their part, with a cell that says so."""
    lists = _lists_in(value)
    parts = {name: part for name in lists if (part := part_named_in(name)) is not None}
    if len(parts) < len(value) or len(set(parts.values())) < 2:
        return None
    return [_in_part(row, part) for name, part in parts.items() for row in lists[name]]


def _by_column(value: dict[str, Any]) -> list[Any] | None:
    """Return the rows of columns, which are lists of one length."""
    lists = _lists_in(value)
    if len(lists) < max(len(value), 2) or len({len(cells) for cells in lists.values()}) > 1:
        return None
    return [dict(zip(lists, cells, strict=True)) for cells in zip(*lists.values(), strict=True)]


def _one_list(value: dict[str, Any]) -> list[Any] | None:
    """Return the one list of objects among other values."""
    lists = [cells for cells in _lists_in(value).values() if cells and all(isinstance(row, dict) for row in cells)]
    return lists[0] if len(lists) == 1 else None


def _inside(value: dict[str, Any]) -> list[Any] | None:
    """Return the rows in the one object inside that holds some."""
    lists = [rows for part in value.values() if isinstance(part, dict) and (rows := _rows_in(part)) is not None]
    return lists[0] if len(lists) == 1 else None


def _pairs(value: dict[str, Any]) -> list[Any] | None:
    """Return keys with one value each, as files with their labels."""
    plain = all(isinstance(cell, (str, int, float)) for cell in value.values())
    return [{"key": key, "value": cell} for key, cell in value.items()] if plain and len(value) > _FEW else None


def _by_key(value: dict[str, Any]) -> list[Any] | None:
    """Return the rows of objects that share their keys: keys that are numbers, or else the more, are those of rows."""
    objects = [row for row in value.values() if isinstance(row, dict)]
    if len(objects) < max(len(value), 2) or len({tuple(row) for row in objects}) > 1:
        return None
    inner = list(objects[0])
    are_numbers = [all(number_of(key) is not None for key in keys) for keys in (inner, value)]
    if are_numbers[0] > are_numbers[1] or (are_numbers[0] == are_numbers[1] and len(inner) > len(value)):
        return [{"key": key} | {name: cells[key] for name, cells in value.items()} for key in inner]
    return [{"key": key} | row for key, row in value.items()]


def _in_part(row: Any, part: str) -> Any:
    """Return a row with a cell that names its part."""
    return {**row, "split": part} if isinstance(row, dict) else [*row, part] if isinstance(row, list) else row


def _annotated(value: dict[str, Any]) -> list[Any] | None:
    """Return a row for each picture of annotations as COCO has them: its path, and each category in it once."""
    lists = _lists_in(value)
    if not {"images", "annotations", "categories"} <= lists.keys():
        return None
    try:
        names = {entry["id"]: entry["name"] for entry in lists["categories"]}
        labels: dict[Any, dict[Any, None]] = {entry["id"]: {} for entry in lists["images"]}
        for entry in lists["annotations"]:
            labels[entry["image_id"]][names[entry["category_id"]]] = None
        return [{"path": entry["file_name"], "label": list(labels[entry["id"]]) or None} for entry in lists["images"]]
    except (KeyError, TypeError) as error:
        must = "annotations as COCO has them must name images and categories by ids that are there"
        do = "write a table instead, with path and label"
        raise DataError(must, f"{type(error).__name__} {error}", do) from error


_FORMS = (_annotated, _split, _by_part, _by_column, _one_list, _by_key, _inside, _pairs)


def _lines(text: str, where: str) -> tuple[list[Any], Sequence[int]]:
    rows, lines = [], []
    for number, line in enumerate(_each_line(text), 1):
        if line.strip():
            place = f"{where}, line {number}"
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise DataError(f"{place} must be a JSON object", error, _WRITE_AS) from error
            rows.append(row if isinstance(row, list) else _object(row, place))
            lines.append(number)
    return rows, lines


def _each_line(text: str) -> Iterator[str]:
    """Yield the lines of a text one by one, since all of them at once would take as much memory as the text."""
    start = 0
    while start <= len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        yield text[start:end]
        start = end + 1


def _object(row: Any, where: str) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise DataError(f"{where} must be a JSON object", type(row).__name__, _WRITE_AS)
    return row


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """Return an object whose values that are objects, or lists of one object, are keys with a dot."""
    if not any(isinstance(value, (dict, list)) for value in row.values()):
        return row
    flat: dict[str, Any] = {}
    for key, value in row.items():
        inner = value[0] if isinstance(value, list) and len(value) == 1 else value
        if isinstance(inner, dict):
            flat |= {f"{key}.{name}": cell for name, cell in _flat(inner).items()}
        else:
            flat[key] = value
    return flat
