"""What stands before a table of cells, and lines of other conventions; small twins of what public sets hold."""

from __future__ import annotations

import pytest

from headstart.data.readers.tables.read import holds_text, read_table

BODY = "a fine film,good\na dire film,bad\n" * 4


@pytest.mark.parametrize(
    ("begin", "names", "first"),
    [
        ("sep=,\ntext,label\n", ("text", "label"), 3),
        ('\ufeff"sep=,"\r\ntext,label\n', ("text", "label"), 3),
        ("# made in 2024\n# by us\ntext,label\n", ("text", "label"), 4),
        ("# made in 2024\n# text,label\n", ("text", "label"), 3),
        ("text,label\n", ("text", "label"), 2),
    ],
)
def test_lines_before_the_header_are_no_rows__TAB_10(begin: str, names: tuple[str, ...], first: int) -> None:
    table = read_table((begin + BODY).encode(), "x.csv")
    assert (table.names, len(table), table.lines[0]) == (names, 8, first)
    assert set(table.cells(1)) == {"good", "bad"}
    assert bool(table.notes) == begin.startswith("# made")


def test_rows_that_begin_with_a_hash_are_rows() -> None:
    tweets = "".join(f"#day{at} is {word},{word}\n" for at, word in enumerate(("fine", "dire") * 10))
    assert len(read_table(tweets.encode(), "x.csv")) == 20


def test_quotes_behind_a_blank_close_a_cell() -> None:
    rows = "".join(f'id{at}, 30.000, "/m/0,/m/1"\n' for at in range(9))
    table = read_table(f"# 9 rows\n# ID, start, labels\n{rows}".encode(), "x.csv")
    assert (table.names, len(table)) == (("ID", "start", "labels"), 9)
    assert set(table.cells(2)) == {"/m/0,/m/1"}


def test_names_and_labels_with_blanks_between_them() -> None:
    table = read_table("".join(f"im/{at}.jpg  {at % 2}\n" for at in range(8)).encode(), "list.txt")
    assert [len(set(table.cells(at))) for at in range(2)] == [8, 2] and not table.has_header
    assert len(read_table(BODY.replace(",", " ").encode(), "x.txt").names) == 1


def test_lines_marked_by_their_labels() -> None:
    table = read_table(b"__label__good a fine film\n\n__label__bad __label__old so dire\nnothing\n", "train.ft.txt")
    assert list(table.cells(0)) == [["good"], ["bad", "old"], None]
    assert list(table.cells(1)) == ["a fine film", "so dire", "nothing"] and list(table.lines) == [1, 3, 4]


@pytest.mark.parametrize(
    ("head", "is_text"),
    [(b"a,b\n", True), (b"a\0b", False), (b"", False), (("é" * 700).encode()[:1023], True)],
)
def test_a_text_is_told_by_its_beginning(head: bytes, is_text: bool) -> None:
    assert holds_text(head) is is_text
