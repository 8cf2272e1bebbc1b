"""Predictions beside the rows of the table that was given: all of its columns, one row for each of its rows."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.data.dataset import TableRows
from headstart.data.readers.tables.table import Table, safe_cell

if TYPE_CHECKING:
    from headstart.model import Model, Predictions

Columns = dict[str, list[Any]]


def predicted_columns(model: Model, predictions: Predictions, *, every_class: bool) -> Columns:
    """Return the columns that are added to a table, by name; None stands in the cells of rows that could not be used.

    Where the table has a column of the same name, the added ones begin with `predicted_`.
    """
    rows = predictions.rows
    row_of = {name: row for row, name in enumerate(predictions.ids)}
    places = [row_of.get(name) for name in rows.ids]
    reasons = {skip.id: skip.reason for skip in predictions.skipped}
    best = predictions.probabilities.argmax(axis=1)
    highest = predictions.probabilities.max(axis=1) if len(best) else np.zeros(0)
    classes = list(model.classes) if every_class else []
    added: Columns = {
        "label": [None if place is None else model.classes[best[place]] for place in places],
        "probability": [None if place is None else round(float(highest[place]), 6) for place in places],
    }
    for position, name in enumerate(classes):
        shares = predictions.probabilities[:, position]
        added[f"p({name})"] = [None if place is None else round(float(shares[place]), 6) for place in places]
    if predictions.novelty is not None:
        beyond = predictions.novelty > 1
        added["unlike"] = [None if place is None else bool(beyond[place]) for place in places]
    added["reason"] = [reasons.get(name) for name in rows.ids]
    taken = {name.casefold() for name in rows.table.names}
    prefix = "predicted_" if taken & set(added) else ""
    return {f"{prefix}{name}": cells for name, cells in added.items()}


def write_predicted(rows: TableRows, added: Columns, path: Path) -> bytes:
    """Return the bytes of a file with the columns of a table and those added, in the format that its suffix names.

    That is `.tsv`, `.jsonl` (`.ndjson`), `.parquet`, or CSV by any other suffix. Columns of bytes are left out.
    """
    table: Table = rows.table
    kept = [at for at in range(len(table.names)) if at not in table.embedded]
    columns = {table.names[at]: list(table.cells(at)) for at in kept} | added
    return WRITERS.get(path.suffix.lower(), _as_csv)(columns)


def _as_csv(columns: Columns, delimiter: str = ",") -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    writer.writerow([_cell(name) for name in columns])
    writer.writerows([_cell(cell) for cell in row] for row in zip(*columns.values(), strict=True))
    return text.getvalue().encode("utf-8", "backslashreplace")


def _cell(cell: object) -> str:
    if cell is None:
        return ""
    if isinstance(cell, (list, dict)):
        cell = json.dumps(cell, ensure_ascii=False, default=str)
    return safe_cell(cell if isinstance(cell, str) else str(cell), keep_lines=True)


def _as_lines(columns: Columns) -> bytes:
    rows = zip(*columns.values(), strict=True)
    lines = (json.dumps(dict(zip(columns, row, strict=True)), ensure_ascii=False, default=str) for row in rows)
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace")


def _as_parquet(columns: Columns) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    data = io.BytesIO()
    arrays = [
        pa.array(cells) if not _is_mixed(cells) else pa.array(list(map(_cell, cells))) for cells in columns.values()
    ]
    pq.write_table(pa.Table.from_arrays(arrays, names=list(columns)), data)
    return data.getvalue()


def _is_mixed(cells: list[Any]) -> bool:
    return len({type(cell) for cell in cells if cell is not None}) > 1


WRITERS: dict[str, Callable[[Columns], bytes]] = {
    ".tsv": lambda columns: _as_csv(columns, "\t"),
    ".jsonl": _as_lines,
    ".ndjson": _as_lines,
    ".parquet": _as_parquet,
}
