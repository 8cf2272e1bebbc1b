"""Text of cells between delimiters: which delimiter, which convention for quotes, and whether there is a header.

One convention for quotes holds for a whole file: the reading that gives every row as many cells as the first.
"""

from __future__ import annotations

import csv
import io
import re
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from headstart.base.errors import DataError, counted, list_some
from headstart.data.audio.formats import SOUND_SUFFIXES
from headstart.data.file_tree import suffix_of
from headstart.data.images.formats import IMAGE_SUFFIXES
from headstart.data.labels import number_of
from headstart.data.readers.tables.table import ROLES, Table, is_empty

MAX_TABLE = 2**30  # the largest table of text that is read, in bytes
QUOTED: dict[str, Any] = {"strict": True}
SPACED: dict[str, Any] = {"strict": True, "skipinitialspace": True}
ESCAPED: dict[str, Any] = {"strict": True, "doublequote": False, "escapechar": "\\"}
PLAIN: dict[str, Any] = {"quoting": csv.QUOTE_NONE}
_START = 1 << 16  # characters that tell the delimiter
JUDGED = 200  # rows that tell whether the first is a header
_LONG = 60  # characters: no name of a column is longer

Rows = tuple[list[list[str]], Sequence[int]]


def read_delimited(
    text: str,
    where: str,
    *,
    names: Sequence[str] = (),
    known: Sequence[Sequence[str]] = (),
    notes: tuple[str, ...] = (),
) -> Table:
    """Return the table in a text of cells.

    Args:
        names: the names of its columns, where it has no header.
        known: such names of earlier tables, which count where they are as many and none stands in the first row.

    Raises:
        DataError: a row has another number of cells, or quotes fit no convention; the message names the line.
    """
    text, delimiter, remark = _beginning(text, where)
    notes += remark
    with _long_fields():
        (rows, lines), note = _by_one_convention(text, delimiter, where)
    first = [cell.strip() for cell in rows[0]]
    first[0] = first[0].lstrip("# ") if remark else first[0]
    has_header, header = header_of(first, rows[1 : JUDGED + 1], where, names=names, known=known)
    if has_header:
        del rows[0]
        lines = lines[1:]
    if not rows:
        raise DataError(f"{where} must hold rows", "a header only", "add a row for each example")
    columns = list(zip(*rows, strict=True))
    return Table(where, tuple(header), columns.__getitem__, lines, notes=(*notes, *note), has_header=has_header)


def header_of(
    first: Sequence[str],
    body: Sequence[Sequence[str]],
    where: str,
    *,
    names: Sequence[str] = (),
    known: Sequence[Sequence[str]] = (),
) -> tuple[bool, list[str]]:
    """Return whether the first row is a header, and the names of the columns; see `read_delimited`."""
    folded = [name.casefold() for name in first]
    if not names and not any(name.casefold() in folded for one in known for name in one):
        names = next((one for one in known if len(one) == len(first)), ())
    if not names:
        has_header = _is_header(first, body)
        return has_header, list(first) if has_header else [f"column{at + 1}" for at in range(len(first))]
    if len(names) != len(first):
        must = f"--columns must name each of the {len(first)} columns of {where}"
        raise DataError(must, f"{len(names)} names", f"its first row is {list_some(first, 5)}")
    return [name.casefold() for name in names] == folded, list(names)


def _beginning(text: str, where: str) -> tuple[str, str, tuple[str, ...]]:
    """Return a text whose lines before the table are blank, its delimiter, and a note where there are such lines.

    They are `sep=;`, as Excel writes it, and comments (`# ...`) of another number of cells than the rows below.
    """
    if match := re.match(r"\ufeff?\"?sep=([,;\t|])\"?(?=[\r\n])", text):
        return text[match.end() :], match[1], ()
    lines = text[:_START].removeprefix("\ufeff").splitlines(keepends=True)
    above = next((at for at, line in enumerate(lines) if not line.startswith("#")), 0)
    delimiter = _delimiter("".join(lines[above:]) if above else text)
    cells = csv.reader(lines[: above + 1], delimiter=delimiter, skipinitialspace=True, quoting=csv.QUOTE_MINIMAL)
    widths = [len(row) for row in cells]
    comments = next((at for at, width in enumerate(widths) if width == widths[-1]), 0)
    if not comments:
        return text, delimiter, ()
    rest = text[text.index(lines[0]) + sum(map(len, lines[:comments])) :]
    note = f"{counted(comments, 'line of comments', 'lines of comments')} at the beginning of {where} not read."
    return "\n" * comments + rest, delimiter, (note,)


def _delimiter(text: str) -> str:
    """Return the delimiter that gives the first rows equal numbers of cells; of several, the one with our words.

    A list of files with a label each may have blanks between them.
    """
    lines = text[:_START].splitlines(keepends=True)
    start = "".join(lines[: max(1, len(lines) - (len(text) > _START))])

    def fit(mark: str) -> tuple[bool, float, int, int]:
        best = (False, 0.0, 0, 0)
        for convention in ({}, {"skipinitialspace": True}, PLAIN):
            with _long_fields():
                rows = [row for row in csv.reader(io.StringIO(start, newline=""), delimiter=mark, **convention) if row]
            width = len(rows[0]) if rows else 0
            alike = sum(len(row) == width for row in rows) / len(rows) if rows else 0.0
            words = sum(cell.strip().casefold() in ROLES for cell in rows[0]) if rows else 0
            best = max(best, (width > 1, alike if alike == 1 or width > 1 else 0.0, words, width))
        return best

    mark = max(",;\t|", key=fit)
    cells = [line.split() for line in start.splitlines() if line.strip()]
    listed = fit(mark)[3] < 2 and len({len(row) for row in cells}) == 1 and len(cells[0]) > 1
    return " " if listed and all(_is_file_name(row[0]) for row in cells) else mark


def _by_one_convention(text: str, delimiter: str, where: str) -> tuple[Rows, tuple[str, ...]]:
    """Return the rows by the convention for quotes that fits them all, and what there is to say of it."""
    if '"' not in text:
        return _rows(text, delimiter, where, {**PLAIN, "skipinitialspace": delimiter == " "}), ()
    refused: DataError | None = None
    rows: Rows | None = None
    marked = [(SPACED, f'{delimiter} "' in text), (QUOTED, True), (ESCAPED, '\\"' in text)]
    for convention in (one for one, may_be in marked if may_be):
        try:
            rows = _rows(text, delimiter, where, convention)
            break
        except DataError as error:
            refused = refused or error
    if rows is not None and (len(rows[0][0]) == 1 or len(rows[0]) == _count_lines(text)):
        return rows, ()
    try:
        plain = _rows(text, delimiter, where, PLAIN)
    except DataError:
        plain = None
    if plain is not None and len(plain[0][0]) > 1 and (rows is None or _swallows(rows, plain)):
        note = f"Quotes in {where} are read as plain characters: so every row has {len(plain[0][0])} cells."
        return plain, (note,)
    if rows is None:
        assert refused is not None
        raise refused
    return rows, ()


def _swallows(rows: Rows, plain: Rows) -> bool:
    """Return whether cells of several lines hold rows: lines whose cells are like those of the other rows."""
    starts = set(rows[1])
    inner = [row for row, line in zip(*plain, strict=True) if line not in starts]
    for place in range(len(plain[0][0])):
        column, cells = [row[place] for row in plain[0][1:]], [row[place] for row in inner]
        known = {row[place] for row in rows[0][1:]}
        numbers = sum(number_of(cell) is not None for cell in known) * 2 > len(known)
        alike = (number_of(cell) is not None if numbers else cell in known for cell in cells)
        if (numbers or len(set(column)) * 2 <= len(column)) and sum(alike) * 2 > len(cells):
            return True
    return False


def _count_lines(text: str) -> int:
    """Return the number of lines of a text that are not blank, whatever ends them."""
    ends = text.count("\n") or text.count("\r")
    blank = text.count("\n\n") + text.count("\r\n\r\n") + text.startswith("\n")
    return ends + (not text.endswith(("\n", "\r"))) - blank


def _rows(text: str, delimiter: str, where: str, convention: dict[str, Any]) -> Rows:
    """Return every row that is not blank, and the line on which each begins."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, **convention)
    rows: list[list[str]] = []
    lines = array("q")
    width, line = 0, 1
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            do = "close its quotes, and double the quotes inside a quoted cell"
            raise DataError(f"{where} must be well-formed CSV", f"line {line}: {error}", do) from error
        if row is None:
            break
        if row:
            width = width or len(row)
            if len(row) != width:
                received = f"{len(row)} in line {line}"
                do = "quote cells with delimiters"
                raise DataError(f"every row of {where} must have {width} cells", received, do)
            rows.append(row)
            lines.append(line)
        line = reader.line_num + 1
    return rows, range(1, len(rows) + 1) if lines and lines[-1] == len(lines) else lines


def _is_header(first: Sequence[str], body: Sequence[Sequence[str]]) -> bool:
    """Return whether the first row names the columns: it is told from what stands below it."""
    if not body or any(cell.casefold() in ROLES for cell in first):
        return True
    signs: Counter[bool] = Counter()
    for place, cell in enumerate(first):
        below = [row[place] for row in body if not is_empty(row[place])]
        if not below:
            continue
        numbers = sum(number_of(value) is not None for value in below) * 2 > len(below)
        files = sum(_is_file_name(value) for value in below) * 2 > len(below)
        few = len(set(below)) * 2 <= len(below)
        if number_of(cell) is not None or _is_file_name(cell) or len(cell) > _LONG or (few and cell in below):
            signs[False] += 1
        elif numbers or files or few:
            signs[True] += 1
    return signs[True] >= signs[False]


def _is_file_name(cell: str) -> bool:
    return suffix_of(cell) in IMAGE_SUFFIXES or suffix_of(cell) in SOUND_SUFFIXES


@contextmanager
def _long_fields() -> Iterator[None]:
    before = csv.field_size_limit(MAX_TABLE)
    try:
        yield
    finally:
        csv.field_size_limit(before)
