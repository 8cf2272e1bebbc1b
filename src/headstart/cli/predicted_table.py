"""Predictions beside the rows of the table that was given: all of its columns, one row for each of its rows."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.base.errors import UsageError, list_some
from headstart.data.dataset import TableRows
from headstart.data.readers.tables.table import Table, safe_cell
from headstart.judge.novelty import THRESHOLD

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from headstart.data.dataset import Dataset, Skipped
    from headstart.judge.prediction import Predictions
    from headstart.model import Model

Columns = dict[str, list[Any]]


def check_some(count: int, skipped: Sequence[Skipped], dataset: Dataset) -> None:
    """Raise UsageError where no input at all could be used."""
    if not count:
        reasons = list_some([f"{skip.id}: {skip.reason}" for skip in skipped], separator="; ")
        raise UsageError(
            f"INPUT must hold some {dataset.items} that can be read", reasons or "none", "give other inputs"
        )


def rows_of(
    model: Model, predictions: Predictions
) -> Iterator[tuple[str, str, float, NDArray[np.float32], float | None]]:
    """Yield input, class, its probability, all probabilities, and how unlike the training data it is."""
    novelty = predictions.novelty
    for place, (name, row) in enumerate(zip(predictions.ids, predictions.probabilities, strict=True)):
        best = int(row.argmax())
        yield name, model.classes[best], float(row[best]), row, None if novelty is None else float(novelty[place])


def as_objects(model: Model, predictions: Predictions, *, every_class: bool) -> Iterator[dict[str, Any]]:
    """Yield each prediction as one plain object."""
    texts = predictions.texts or ()
    each = predictions.plain(model.classes, every_class=every_class)
    for place, (name, prediction) in enumerate(zip(predictions.ids, each, strict=True)):
        near = {"nearest": [one.as_dict() for one in predictions.nearest[place]]} if predictions.nearest else {}
        yield {"path": name, **prediction, **near, **({"text": texts[place]} if texts else {})}


def predicted_columns(model: Model, predictions: Predictions, *, every_class: bool) -> Columns:
    """Return the columns that are added to a table, by name; None stands in the cells of rows that could not be used.

    Where the table has a column of the same name, the added ones begin with `predicted_`.
    """
    rows = predictions.rows
    row_of = {name: row for row, name in enumerate(predictions.ids)}
    places = [row_of.get(name) for name in rows.ids]
    reasons = {skip.id: skip.reason for skip in predictions.skipped}
    best = predictions.probabilities.argmax(axis=1)
    highest = predictions.probabilities.max(axis=1, initial=0)
    classes = list(model.classes) if every_class else []
    added: Columns = {
        "label": [None if place is None else model.classes[best[place]] for place in places],
        "probability": [None if place is None else round(float(highest[place]), 6) for place in places],
    }
    for position, name in enumerate(classes):
        shares = predictions.probabilities[:, position]
        added[f"p({name})"] = [None if place is None else round(float(shares[place]), 6) for place in places]
    if predictions.novelty is not None:
        beyond = predictions.novelty > THRESHOLD
        added["unlike"] = [None if place is None else bool(beyond[place]) for place in places]
    near = predictions.nearest or ()
    for rank in range(max(map(len, near), default=0)):
        ranked = [None if place is None else near[place][rank] for place in places]
        added[f"nearest_{rank + 1}"] = [None if each is None else each.name for each in ranked]
        added[f"similarity_{rank + 1}"] = [None if each is None else round(each.similarity, 4) for each in ranked]
    added["reason"] = [reasons.get(name) for name in rows.ids]
    taken = {name.casefold() for name in rows.table.names}
    prefix = "predicted_" if taken & set(added) else ""
    return {f"{prefix}{name}": cells for name, cells in added.items()}


def write_predicted(rows: TableRows, added: Columns, path: Path, *, header: bool = True) -> bytes:
    """Return the bytes of a file with the columns of a table and those added, in the format that its suffix names.

    That is `.tsv`, `.jsonl` (`.ndjson`), `.parquet`, or CSV by any other suffix. Without a `header` they are what
    follows in it, of a format that goes by lines. Columns of bytes are left out.
    """
    table: Table = rows.table
    kept = [at for at in range(len(table.names)) if at not in table.embedded]
    columns = {table.names[at]: list(table.cells(at)) for at in kept} | added
    return WRITERS.get(path.suffix.lower(), _as_csv)(columns, header)


def _as_csv(columns: Columns, header: bool, delimiter: str = ",") -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    if header:
        writer.writerow([_cell(name) for name in columns])
    writer.writerows([_cell(cell) for cell in row] for row in zip(*columns.values(), strict=True))
    return text.getvalue().encode("utf-8", "backslashreplace")


def _cell(cell: object) -> str:
    if cell is None:
        return ""
    if isinstance(cell, (list, dict)):
        cell = json.dumps(cell, ensure_ascii=False, default=str)
    return safe_cell(cell if isinstance(cell, str) else str(cell), keep_lines=True)


def _as_lines(columns: Columns, header: bool) -> bytes:
    rows = zip(*columns.values(), strict=True)
    lines = (json.dumps(dict(zip(columns, row, strict=True)), ensure_ascii=False, default=str) for row in rows)
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace")


def _as_parquet(columns: Columns, header: bool) -> bytes:
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


WRITERS: dict[str, Callable[[Columns, bool], bytes]] = {
    ".tsv": lambda columns, header: _as_csv(columns, header, "\t"),
    ".jsonl": _as_lines,
    ".ndjson": _as_lines,
    ".parquet": _as_parquet,
}
