"""Tables in JSON: a list of objects, an object of columns, either of them inside an object, or an object a line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from headstart.base.errors import DataError
from headstart.data.readers.table import Table

_WRITE_AS = 'write one object a line: {"text": "…", "label": "…"}'


def read_json(text: str, where: str, *, notes: tuple[str, ...] = ()) -> Table:
    """Return the table in a text of JSON; a key that an object lacks is an empty cell.

    Objects inside an object are columns with a dot in their names (`label.name`).

    Raises:
        DataError: it is no JSON, or no objects.
    """
    whole, lines = _whole(text), None
    if whole is None or (isinstance(whole, dict) and _table_in(whole) is None):
        rows, lines = _lines(text, where)
    else:
        found = whole if isinstance(whole, list) else _table_in(whole)
        if isinstance(found, dict):
            columns = {str(name): cells for name, cells in found.items() if isinstance(cells, list)}
            values = list(columns.values())
            return Table(where, tuple(columns), values.__getitem__, range(len(values[0])), unit="row", notes=notes)
        rows = [_object(row, f"{where}, row {at}") for at, row in enumerate(found or ())]
    if not rows:
        raise DataError(f"{where} must hold rows", "none", _WRITE_AS)
    rows = [_flat(row) for row in rows]
    names = tuple(dict.fromkeys(key for row in rows for key in row))
    return Table(
        where,
        names,
        lambda at: [row.get(names[at]) for row in rows],
        range(len(rows)) if lines is None else lines,
        unit="row" if lines is None else "line",
        notes=notes,
    )


def _whole(text: str) -> Any:
    """Return the one value that a text of JSON is, or None where it is none."""
    start = text.lstrip("\ufeff \t\r\n")
    first, _, rest = start.partition("\n")
    if start.startswith("{") and rest and _parsed(first) is not None:
        return None  # a line that is an object, with others below: JSON Lines, which are not read twice
    return _parsed(text)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _table_in(value: dict[str, Any]) -> list[Any] | dict[str, Any] | None:
    """Return the rows or columns in an object: it is columns itself, or one of its values is a list of objects."""
    lists = [cells for cells in value.values() if isinstance(cells, list)]
    if lists and len(lists) == len(value) and len({len(cells) for cells in lists}) == 1 and len(lists) > 1:
        return value
    of_objects = [cells for cells in lists if cells and all(isinstance(row, dict) for row in cells)]
    if len(of_objects) == 1:
        return of_objects[0]
    inner = [table for part in value.values() if isinstance(part, dict) and (table := _table_in(part)) is not None]
    return inner[0] if len(inner) == 1 else None


def _lines(text: str, where: str) -> tuple[list[dict[str, Any]], Sequence[int]]:
    rows, lines = [], []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            place = f"{where}, line {number}"
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise DataError(f"{place} must be a JSON object", error, _WRITE_AS) from error
            rows.append(_object(row, place))
            lines.append(number)
    return rows, lines


def _object(row: Any, where: str) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise DataError(f"{where} must be a JSON object", type(row).__name__, _WRITE_AS)
    return row


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """Return an object whose values that are objects are keys with a dot."""
    if not any(isinstance(value, dict) for value in row.values()):
        return row
    flat: dict[str, Any] = {}
    for key, value in row.items():
        flat |= {f"{key}.{name}": cell for name, cell in value.items()} if isinstance(value, dict) else {key: value}
    return flat
