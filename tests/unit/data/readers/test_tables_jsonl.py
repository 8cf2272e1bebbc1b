"""Lines of JSON are a table; a line that is no object is named."""

from __future__ import annotations

import pytest

from headstart.base.errors import DataError
from headstart.data.readers.tables import read_lines


def test_columns_are_keys_and_lines_keep_their_numbers() -> None:
    data = b'{"text": "good", "label": "a"}\n\n{"label": "b", "text": "bad", "group": 7, "more": [1]}\n'
    table = read_lines(data, "x.jsonl")
    assert (table.content, table.cells, table.labels) == ("text", ["good", "bad"], ["a", "b"])
    assert (table.groups, table.splits, table.lines, table.unit) == ([None, 7], None, [1, 3], "line")


def test_keys_of_other_names_are_named() -> None:
    table = read_lines(b'{"s": "good", "y": 1}', "x.jsonl", columns={"text": "s", "label": "y"})
    assert (table.cells, table.labels) == (["good"], [1])


@pytest.mark.parametrize("line", ["[1]", "{", "3", "null"])
def test_a_line_that_is_no_object_is_refused_with_its_number(line: str) -> None:
    with pytest.raises(DataError, match=r"x\.jsonl, line 2 must be a JSON object"):
        read_lines(f'{{"text": "good", "label": "a"}}\n{line}\n'.encode(), "x.jsonl")
