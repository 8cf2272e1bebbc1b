"""What stands before a table of cells, and lines of other conventions; small twins of what public sets hold."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.base.errors import DataError
from headstart.data.readers.tables.delimited import header_of, read_delimited
from headstart.data.readers.tables.read import holds_text, read_table
from headstart.data.readers.tables.table import Table

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


def rows_of(table: Table) -> list[tuple[str, ...]]:
    return list(zip(*(table.cells(at) for at in range(len(table.names))), strict=True))


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\x85\u2028\u2029\ufeff"), max_size=12)


@settings(max_examples=60)
@given(st.lists(st.tuples(CELLS, CELLS), min_size=2, max_size=12), st.sampled_from(",;\t|"))
def test_what_csv_quotes_whole_comes_back_as_it_was__TAB_10(rows: list[tuple[str, str]], mark: str) -> None:
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=mark, quoting=csv.QUOTE_ALL).writerows([("text", "label"), *rows])
    table = read_delimited(file.getvalue(), "x.csv")
    assert table.names == ("text", "label") and rows_of(table) == rows


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_the_delimiter_is_that_of_equal_rows_and_not_the_most_frequent(mark: str) -> None:
    others = "".join(one for one in ",;|" if one != mark)
    body = "".join(f"first{others * (at % 3)} and last{mark}{'good' if at % 2 else 'bad'}\n" for at in range(9))
    table = read_delimited(f"text{mark}label\n{body}", "x.csv")
    assert table.names == ("text", "label") and set(table.cells(1)) == {"good", "bad"}


@pytest.mark.parametrize(
    ("first", "body", "has_header"),
    [
        (["size", "kind"], [["1.5", "a"], ["2.5", "b"]] * 3, True),
        (["0.5", "a"], [["1.5", "a"], ["2.5", "b"]] * 3, False),
        (["photo", "what"], [["1.jpg", "cat"], ["2.jpg", "dog"]] * 3, True),
        (["0.jpg", "cat"], [["1.jpg", "cat"], ["2.jpg", "dog"]] * 3, False),
        (["a long text " * 6, "good"], [["another", "good"], ["third", "bad"]] * 3, False),
        (["label", "9"], [["1", "2"]] * 3, True),
        (["whatever"], [], True),
        (["name", ""], [["x1", ""], ["x2", " "], ["x3", ""]], True),
    ],
)
def test_a_header_is_told_by_what_stands_below_it(first: list[str], body: list[list[str]], has_header: bool) -> None:
    names = first if has_header else [f"column{at + 1}" for at in range(len(first))]
    assert header_of(first, body, "x.csv") == (has_header, names)


def test_names_that_are_given_stand_for_a_header_or_repeat_it() -> None:
    body = [["a fine film", "good"], ["a dire film", "bad"]]
    assert header_of(body[0], body, "x.csv", names=["text", "label"]) == (False, ["text", "label"])
    assert header_of(["TEXT", "Label"], body, "x.csv", names=["text", "label"]) == (True, ["text", "label"])
    with pytest.raises(
        DataError, match=r"--columns must name each of the 2 columns of x\.csv; found 3 names; .*a fine"
    ):
        header_of(body[0], body, "x.csv", names=["a", "b", "c"])


def test_names_of_an_earlier_table_count_where_they_fit_and_none_is_there() -> None:
    body = [["film one", "good"], ["film two", "bad"]] * 3
    assert header_of(body[0], body, "x.csv", known=[["review", "mood"]]) == (False, ["review", "mood"])
    assert header_of(body[0], body, "x.csv", known=[["review", "mood", "day"]])[1] == ["column1", "column2"]
    assert header_of(["mood", "review"], body, "x.csv", known=[["review", "mood"]])[1] == ["mood", "review"]


def test_a_backslash_may_stand_before_a_quote_inside_quotes() -> None:
    body = "text,label\n" + '"he said \\"no, never\\" twice",bad\n"fine",good\n' * 3
    assert rows_of(read_delimited(body, "x.csv"))[0] == ('he said "no, never" twice', "bad")


def test_a_quote_that_is_never_closed_is_a_plain_character_and_that_is_noted() -> None:
    table = read_delimited("text\tlabel\n" + 'a 5" nail\tgood\n"so dire\tbad\n' * 3, "x.tsv")
    assert rows_of(table)[:2] == [('a 5" nail', "good"), ('"so dire', "bad")]
    assert table.notes == ("Quotes in x.tsv are read as plain characters: so every row has 2 cells.",)


def test_cells_of_several_lines_keep_them_and_rows_know_their_first_line() -> None:
    table = read_delimited('text,label\n"a\nb",x\n\n"c",y\n', "x.csv")
    assert rows_of(table) == [("a\nb", "x"), ("c", "y")]
    assert [table.place(row) for row in range(2)] == ["x.csv, line 2", "x.csv, line 5"]


def test_a_header_alone_and_a_ragged_row_are_named__TAB_10() -> None:
    with pytest.raises(DataError, match=r"x\.csv must hold rows; found a header only"):
        read_delimited("text,label\n", "x.csv")
    with pytest.raises(DataError, match="must have 2 cells; found 3 in line 3; quote cells"):
        read_delimited("text,label\na,b\nc,d,e\n", "x.csv")


def test_a_cell_longer_than_the_limit_of_csv_is_read_and_the_limit_is_as_before() -> None:
    before = csv.field_size_limit()
    table = read_delimited(f'text,label\n"{"x" * (before + 1)}",a\nshort,b\n', "x.csv")
    assert len(table.cells(0)[0]) == before + 1 and csv.field_size_limit() == before
