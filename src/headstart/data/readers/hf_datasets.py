"""Data sets of the library `datasets`, recognised by what they offer and not by their type: it is never imported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headstart.base.errors import DataError
from headstart.data.dataset import Split
from headstart.data.labels import SPLITS
from headstart.data.readers.csv_tables import Table, content_of, find_columns

DO = "give a data set with a text and a label column, or write it to Parquet: data.to_parquet(path)"


def is_loaded(data: object) -> bool:
    """Return whether `data` is such a data set, or a dict of them by part."""
    dataset = next(iter(data.values()), None) if isinstance(data, Mapping) else data
    return hasattr(dataset, "column_names") and hasattr(dataset, "features") and hasattr(dataset, "__getitem__")


def tables_of(data: Any, *, columns: Mapping[str, str] | None = None) -> list[tuple[Table, Split | None]]:
    """Return the tables of a data set, or of a dict of them, each with its part.

    Args:
        data: one data set, or several by the name of their part (`train`, `validation`, `test`).
        columns: where they have other columns: our word ("text", "label") to theirs.

    Raises:
        DataError: a part has another name, a column is missing, or it holds no texts.
    """
    if not isinstance(data, Mapping):
        return [(_table(data, "the data set", columns), None)]
    unknown = [name for name in data if str(name).lower() not in SPLITS]
    if unknown:
        raise DataError(f"parts of a data set must be named {', '.join(SPLITS)}", repr(unknown[0]), "leave others out")
    return [(_table(part, str(name), columns), SPLITS[str(name).lower()]) for name, part in data.items()]


def _table(part: Any, where: str, columns: Mapping[str, str] | None) -> Table:
    names = list(part.column_names)
    positions = find_columns(names, where, columns=columns)
    content = content_of(positions, columns)
    if content != "text":
        raise DataError(f"{where} must hold texts", f"a column {names[positions[content]]!r}", DO)

    def column(word: str) -> list[Any] | None:
        if word == "label":
            return _labels(part, names[positions[word]], where)
        return list(part[names[positions[word]]]) if word in positions else None

    return Table.from_columns(where, content, column, range(len(column(content) or [])), unit="row")


def _labels(part: Any, column: str, where: str) -> list[Any]:
    """Return the labels, class ids replaced by the names that the data set gives them."""
    names = getattr(part.features[column], "names", None)
    named: list[Any] = []
    for row, label in enumerate(part[column]):
        if names is None or label is None or isinstance(label, str):
            named.append(label)
        elif label == -1:  # how data sets without public labels mark them
            named.append(None)
        elif 0 <= label < len(names):
            named.append(names[label])
        else:
            raise DataError(
                f"labels of {where} must be class ids below {len(names)}", f"{label} in row {row}", "mend it"
            )
    return named
