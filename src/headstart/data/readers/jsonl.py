"""JSON lines as a table: one object a line, its keys the columns."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from headstart.base.errors import DataError
from headstart.data.readers.csv_tables import Table, content_of, decode_table, find_columns

WRITE_AS = 'write one object a line: {"text": "…", "label": "…"}'


def read_lines(data: bytes, where: str, *, columns: Mapping[str, str] | None = None, labelled: bool = True) -> Table:
    """Return the table in the bytes of a file of JSON lines; a key that a line lacks is an empty cell.

    Args:
        data: the file.
        where: what to call it in an error.
        columns: where the objects have other keys: our word ("text", "label", "group", "split") to theirs.
        labelled: whether a label must be there.

    Raises:
        DataError: it is no text, a line is no object, or a key is nowhere.
    """
    text, notes = decode_table(data, where)
    rows: list[tuple[int, dict[str, Any]]] = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            rows.append((number, _object(line, f"{where}, line {number}")))
    names = list(dict.fromkeys(key for _, row in rows for key in row))
    positions = find_columns(names, where, columns=columns, labelled=labelled)

    def column(word: str) -> list[Any] | None:
        return [row.get(names[positions[word]]) for _, row in rows] if word in positions else None

    lines = [number for number, _ in rows]
    return Table.from_columns(where, content_of(positions, columns), column, lines, notes=notes)


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} must be a JSON object", error, WRITE_AS) from error
    if not isinstance(row, dict):
        raise DataError(f"{where} must be a JSON object", type(row).__name__, WRITE_AS)
    nested = [key for key, value in row.items() if isinstance(value, (dict, list))]
    if nested:
        return {key: value for key, value in row.items() if key not in nested}
    return row
