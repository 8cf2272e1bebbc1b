"""The column of labels: one of few values, or one column of 0 and 1 for each class."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from headstart.base.errors import DataError, list_some
from headstart.data.labels import class_name_of, number_of
from headstart.data.readers.tables.read import name_labels
from headstart.data.readers.tables.table import Table, is_empty

_NAMED = re.compile(r"(?:class|label|category|categorie|target)(?:e?s)?(?:[\W_]*names?)?", re.IGNORECASE)
MANY = 20  # in more rows than these, a check of the labels tells what else a column without classes holds
_ONES = frozenset({"1", "1.0", "true"})
_ZEROS = frozenset({"0", "0.0", "false"})


def label_of(table: Table, used: AbstractSet[int]) -> tuple[int, ...]:
    """Return the column of labels among those that are not used, or the columns of 0 and 1 that are one label.

    Raises:
        DataError: none could be it, or several could; the message lists them, with a cell of each.
    """
    free = [at for at in range(len(table.names)) if at not in used and at not in table.embedded]
    values = {at: list(map(class_name_of, table.cells(at))) for at in free}
    few = [at for at in free if _is_few(values[at])]
    flags = [at for at in few if {_flag(value) for value in values[at] if value is not None} == {0, 1}]
    rest = _distinct_ones([at for at in few if at not in flags], values)
    named = [at for at in (*rest, *flags) if _NAMED.fullmatch(table.names[at].strip())]
    if len(named) == 1:
        return (named[0],)
    if len(flags) > 1 and (label := _one_hot(table, flags, rest, values)):
        return label
    candidates = [*rest, *flags]
    if len(candidates) == 1 or (len(free) == 1 and len(table) > MANY):
        return ((candidates or free)[0],)
    if not candidates:
        received = f"the columns {list_some(table.names, 20)}, none with few different values"
        do = "name the one that holds them: --label-column NAME"
        raise DataError(f"{table.where} must have the columns label", received, do)
    candidates.sort(key=lambda at: len(set(values[at])))
    shown = [f"{table.names[at]} ({next(filter(None, values[at]))[:40]!r})" for at in candidates]
    raise DataError(
        f"one column of {table.where} must be the label",
        f"{len(candidates)} that could be: {list_some(shown, 5)}",
        f"name it, such as --label-column={shlex.quote(table.names[candidates[0]])}",
    )


def labels_of(table: Table, places: Sequence[int]) -> list[str | None]:
    """Return the name of the class of each row, None where it has none; of several columns, that of its one 1.

    Raises:
        DataError: a row has several, or its id is none of a class.
    """
    if len(places) > 1:
        return _one_hot_labels(table, places)
    cells = name_labels(table.cells(places[0]), table.class_names.get(places[0]), table.where)
    lists = [row for row, cell in enumerate(cells) if isinstance(cell, (list, tuple)) and len(cell) > 1]
    if lists:
        raise DataError(
            f"rows of {table.where} must have one label each",
            f"several in {len(lists):,} of {len(cells):,} rows: {list_some(cells[lists[0]])} in {table.unit} "
            f"{table.lines[lists[0]]}",
            "keep one of them in each row, or fit one model for each of them, with labels yes and no",
        )
    named = dict.fromkeys(cells) if all(type(cell) is str for cell in cells) else None
    if named is None:
        return list(map(class_name_of, cells))
    written = all(cell.startswith("[") and cell.endswith("]") for cell in named if not is_empty(cell))
    plain = {cell: cell[1:-1].strip(" '\"") if written else cell for cell in named}
    names = {cell: class_name_of(label) for cell, label in plain.items()}
    return [names[cell] for cell in cells]


def _one_hot_labels(table: Table, places: Sequence[int]) -> list[str | None]:
    """Return the label of each row: the name of its one column that holds 1, None where none does.

    Raises:
        DataError: a row has several.
    """
    names = [table.names[at] for at in places]
    labels: list[str | None] = []
    several: list[int] = []
    for row, cells in enumerate(zip(*(table.cells(at) for at in places), strict=True)):
        classes = [name for name, cell in zip(names, cells, strict=True) if _flag(cell) == 1]
        labels.append(classes[0] if classes else None)
        if len(classes) > 1:
            several.append(row)
    if several:
        raise _several_ones(table, several, places)
    return labels


def _several_ones(table: Table, rows: Sequence[int], places: Sequence[int]) -> DataError:
    classes = [table.names[at] for at in places if _flag(table.cells(at)[rows[0]]) == 1]
    return DataError(
        f"rows of {table.where} must have one label each, a single 1",
        f"several in {len(rows):,} of {len(table):,} rows: {list_some(classes)} in {table.unit} {table.lines[rows[0]]}",
        f"keep one of them in each row, or fit one model for each of them: --label-column={shlex.quote(classes[0])}",
    )


def _is_few(values: Sequence[str | None]) -> bool:
    """Return whether there are at least two different values, and each comes twice on average."""
    present = [value for value in values if value is not None]
    distinct = set(present)
    if any(len(value) > 200 for value in distinct):
        return False
    if len(distinct) > 2 and all((number := number_of(value)) and not number.is_integer() for value in distinct):
        return False
    return len(distinct) >= 2 and (len(distinct) == 2 or len(distinct) * 2 <= len(present))


def _flag(cell: Any) -> int | None:
    text = "" if is_empty(cell) else str(cell).strip().lower()
    return 1 if text in _ONES else 0 if text in _ZEROS else None


def _distinct_ones(places: Sequence[int], values: dict[int, list[str | None]]) -> list[int]:
    """Return columns without those that tell the same classes by other names: names stay, and their numbers go."""
    kept: list[int] = []
    for place in sorted(
        places, key=lambda place: (all(number_of(value) is not None for value in set(values[place])), place)
    ):
        mine = set(values[place])
        if not any(
            len(set(values[other])) == len(mine) == len(set(zip(values[place], values[other], strict=True)))
            for other in kept
        ):
            kept.append(place)
    return sorted(kept)


def _one_hot(
    table: Table, flags: list[int], rest: list[int], values: dict[int, list[str | None]]
) -> tuple[int, ...] | None:
    """Return the columns that are one label, where every row has one 1; None where other columns could be it as well.

    Raises:
        DataError: rows have several, and no other column could be it.
    """
    ones = [sum(_flag(value) == 1 for value in row) for row in zip(*(values[at] for at in flags), strict=True)]
    several = [row for row, count in enumerate(ones) if count > 1]
    if rest:
        return None
    if several:
        raise _several_ones(table, several, flags)
    return tuple(flags)
