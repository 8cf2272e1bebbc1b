"""Lines of JSON are a table; a line that is no object is named."""

from __future__ import annotations

import gzip
from typing import Any

import pytest

from headstart.base.errors import DataError
from headstart.data.readers.tables.read import read_table
from headstart.data.readers.tables.table import Table


def columns(table: Table) -> dict[str, list[Any]]:
    return {name: list(table.cells(at)) for at, name in enumerate(table.names)}


def test_columns_are_keys_and_lines_keep_their_numbers() -> None:
    data = b'{"text": "good", "label": "a"}\n\n{"label": "b", "text": "bad", "group": 7, "more": {"a": 1}}\n'
    table = read_table(data, "x.jsonl")
    assert columns(table) == {"text": ["good", "bad"], "label": ["a", "b"], "group": [None, 7], "more.a": [None, 1]}
    assert (table.lines, table.unit) == ([1, 3], "line")


@pytest.mark.parametrize(
    "data",
    [
        b'[{"text": "good", "label": 1}, {"text": "bad", "label": 0}]',
        b'{"text": ["good", "bad"], "label": [1, 0]}',
        b'{"version": 2, "data": [{"text": "good", "label": 1}, {"text": "bad", "label": 0}]}',
        b'\n{"text": "good", "label": 1}\r\n{"text": "bad", "label": 0}',
        b'[\n {"text": "good",\n  "label": 1},\n {"text": "bad", "label": 0}\n]',
        b"text,label\ngood,1\nbad,0\n",
    ],
)
@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_table_is_what_its_content_is_whatever_its_name(data: bytes, codec: str, packed: bool) -> None:
    data = data.decode().encode(codec)
    table = read_table(gzip.compress(data) if packed else data, "x.csv")
    assert {name: [str(cell) for cell in cells] for name, cells in columns(table).items()} == {
        "text": ["good", "bad"],
        "label": ["1", "0"],
    }


@pytest.mark.parametrize("line", ["[1]", "{", "3", "null"])
def test_a_line_that_is_no_object_is_refused_with_its_number(line: str) -> None:
    with pytest.raises(DataError, match=r"x\.jsonl, line 2 must be a JSON object"):
        read_table(f'{{"text": "good", "label": "a"}}\n{line}\n'.encode(), "x.jsonl")
