"""Several inputs of a prediction as one data set, and as one table: a row for each file or row that was given."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate, chain, count
from pathlib import Path
from typing import Any, NamedTuple

from headstart.data.dataset import Dataset, TableRows
from headstart.data.readers.tables.table import Table

INPUT = "input"
"""The column that says which input a row is of, where there are several."""
PATH = "path"
"""The column of files that no table lists."""


class Input(NamedTuple):
    """One input: where it is, what stands before its ids, and its examples."""

    path: Path
    folder: Path
    dataset: Dataset


def joined(inputs: Sequence[Input]) -> Dataset:
    """Return several inputs as one data set, whose table holds a row for each of their rows or files, in their order.

    Ids have the folder of their input in front; where one comes again, its position stands behind it.
    """
    used: set[str] = set()
    parts = [_named(one, used) for one in inputs]
    starts = tuple(accumulate((len(part) for part in parts[:-1]), initial=0))

    def read(position: int) -> bytes:
        part = bisect_right(starts, position) - 1
        return parts[part].read(position - starts[part])

    return Dataset(
        name=parts[0].name if len(parts) == 1 else "inputs",
        kind=parts[0].kind,
        examples=tuple(example for part in parts for example in part.examples),
        classes=(),
        read=parts[0].read if len(parts) == 1 else read,
        skipped=tuple(skipped for part in parts for skipped in part.skipped),
        ignored=sum(part.ignored for part in parts),
        entries=sum(part.total for part in parts),
        notes=tuple(note for part in parts for note in part.notes),
        layout=parts[0].layout,
        table=_one_table([(str(one.path), part.table) for one, part in zip(inputs, parts, strict=True) if part.table]),
        runs=parts[0].runs if len(parts) == 1 else None,
    )


def blocks(dataset: Dataset, size: int, *, start: int = 0) -> Iterator[Dataset]:
    """Yield the rows of joined inputs in blocks of `size`, from row `start` on, each with its part of the table."""
    assert dataset.table is not None
    rows, table = dataset.table, dataset.table.table
    place = {example.id: position for position, example in enumerate(dataset.examples)}
    reasons = {skip.id: skip for skip in dataset.skipped}
    for begin in range(start, len(rows.ids), size):
        part = slice(begin, begin + size)
        ids = rows.ids[part]
        positions = [place[name] for name in ids if name in place]

        def cells(column: int, part: slice = part) -> Sequence[Any]:
            return list(table.cells(column)[part])

        yield replace(
            dataset.keep(positions),
            skipped=tuple(reasons[name] for name in ids if name in reasons),
            ignored=0,
            entries=None,
            table=TableRows(rows.columns, replace(table, cells=cells, lines=table.lines[part]), ids),
        )


def _named(item: Input, used: set[str]) -> Dataset:
    """Return the examples of an input with ids that begin with its folder and are not among those `used`, in a table.

    Files that no table lists are a table of one column.
    """
    dataset, rows = item.dataset, item.dataset.table
    prefix = "" if item.folder == Path() else f"{str(item.folder).rstrip('/')}/"
    ids = (*(example.id for example in dataset.examples), *(skipped.id for skipped in dataset.skipped))
    ids = ids if rows is None or rows.table is None else rows.ids
    names: dict[str, str] = {}
    for name in dict.fromkeys(ids):
        new = f"{prefix}{name}"
        names[name] = next(
            free for free in chain([new], (f"{new}#{at}" for at in count(len(used)))) if free not in used
        )
        used.add(names[name])
    named = tuple(names.values())
    listed = rows.table if rows is not None else None
    table = listed or Table(str(item.path), (PATH,), lambda _: named, range(len(named)))
    return replace(
        dataset,
        table=TableRows({}, table, named),
        examples=tuple(replace(example, id=names[example.id]) for example in dataset.examples),
        skipped=tuple(replace(skipped, id=names[skipped.id]) for skipped in dataset.skipped),
    )


def _one_table(tables: Sequence[tuple[str, TableRows]]) -> TableRows:
    """Return the tables of all inputs as one, with the columns of each."""
    if len(tables) == 1:
        return tables[0][1]
    names = dict.fromkeys(name for _, rows in tables for name in rows.table.names)
    columns: dict[str, list[Any]] = {INPUT: [where for where, rows in tables for _ in rows.ids]}
    columns |= {name: [cell for _, rows in tables for cell in _cells(rows, name)] for name in names}
    return TableRows(
        {},
        Table("inputs", tuple(columns), list(columns.values()).__getitem__, range(len(columns[INPUT]))),
        tuple(name for _, rows in tables for name in rows.ids),
    )


def _cells(rows: TableRows, name: str) -> Sequence[Any]:
    """Return the cells of a column, empty ones where a table lacks it or where they are bytes."""
    table: Table = rows.table
    column = table.names.index(name) if name in table.names else None
    return [None] * len(rows.ids) if column is None or column in table.embedded else table.cells(column)
