"""Data sets of Hugging Face's library, and dicts of them, are tables of texts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from headstart.base.errors import DataError
from headstart.data.readers.open import open_dataset
from headstart.data.readers.tables.label_column import labels_of
from headstart.data.readers.tables.read import is_loaded, tables_of


class Loaded:
    """The few attributes of `datasets.Dataset` that are read."""

    def __init__(self, columns: dict[str, list[Any]], names: list[str] | None = None) -> None:
        self._columns = columns
        self.column_names = list(columns)
        self.features = {name: SimpleNamespace(names=names if name == "label" else None) for name in columns}

    def __getitem__(self, name: str) -> list[Any]:
        return self._columns[name]


TEXTS = Loaded({"text": ["good", "bad"], "label": [1, 0]}, ["minus", "plus"])


def test_class_ids_get_their_names_and_parts_their_split() -> None:
    assert is_loaded(TEXTS) and is_loaded({"train": TEXTS}) and not is_loaded([1]) and not is_loaded({})
    ((table, split),) = tables_of({"train": TEXTS})
    assert (table.names, table.cells(0), labels_of(table, (1,))) == (
        ("text", "label"),
        ["good", "bad"],
        ["plus", "minus"],
    )
    assert (table.lines, table.unit) == (range(2), "row")
    assert split == "train" and tables_of(TEXTS)[0][1] is None


def test_another_part_or_pictures_are_refused() -> None:
    with pytest.raises(DataError, match=r"parts of a data set must be named .*; found 'mystery'"):
        tables_of({"mystery": TEXTS})
    with pytest.raises(DataError, match="must hold texts; found a column 'image'"):
        open_dataset(Loaded({"image": [b""], "label": [0]}))
