"""Tables as text: CSV with `,` or `;` and TSV, parsed strictly, with the line number in every complaint."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from headstart.base.errors import DataError, UsageError, did_you_mean, list_some
from headstart.data.modality import Kind
from headstart.data.text import UTF8, Undecodable, decode_text

LINES_SUFFIXES = (".jsonl", ".ndjson")
TABLE_SUFFIXES = (".csv", ".tsv", *LINES_SUFFIXES)
MAX_TABLE = 2**30
"""The largest table of text that is read, in bytes."""

CONTENT: dict[str, Kind] = {"path": "image", "image": "image", "text": "text", "audio": "sound"}
"""The columns that hold the examples, and what kind each says they are; a path may lead to a recording as well."""
FORMULA = ("=", "+", "-", "@", "\t", "\r")

_SAVE_AS = "save it as CSV in UTF-8, with a header line"


@dataclass(frozen=True)
class Table:
    """The cells of a table by the words of this package.

    Attributes:
        where: the table, for messages.
        content: the column that holds the examples: "path", "image", "text" or "audio".
        cells: one per row.
        labels: one per row, or None where the table has no such column.
        groups: one per row, or None.
        splits: one per row, or None.
        lines: one per row, where it is found: its line in a text, its row counted from 0 in Parquet.
        unit: what `lines` counts: "line" or "row".
        notes: what was noticed while it was read, one sentence each.
    """

    where: str
    content: str
    cells: list[Any]
    labels: list[Any] | None
    groups: list[Any] | None
    splits: list[Any] | None
    lines: list[int] | range
    unit: str = "line"
    notes: tuple[str, ...] = ()

    @classmethod
    def from_columns(
        cls,
        where: str,
        content: str,
        column: Callable[[str], list[Any] | None],
        lines: list[int] | range,
        *,
        unit: str = "line",
        notes: tuple[str, ...] = (),
    ) -> Table:
        """Return a table whose columns `column` gives by our word for them; None where there is no such column."""
        labels, groups, splits = map(column, ("label", "group", "split"))
        return cls(where, content, column(content) or [], labels, groups, splits, lines, unit, notes)


def read_csv(data: bytes, where: str, *, columns: Mapping[str, str] | None = None, labelled: bool = True) -> Table:
    """Return the table in the bytes of a CSV or TSV file.

    UTF-8 with or without a byte order mark, else UTF-16 or Windows-1252, which is noted; the delimiter is the one of
    `,` `;` and tab that finds most of our columns in the header, then most columns; quotes may hold line breaks.

    Args:
        data: the file.
        where: what to call it in an error.
        columns: where the table has other names: our word ("path", "label", "group", "split") to its column.
        labelled: whether a label column must be there.

    Raises:
        DataError: it is no such text, a row does not fit the header, or a column is missing.
    """
    text, notes = decode_table(data, where)
    delimiter = _delimiter(text)
    with _long_fields():
        rows = _rows(text, delimiter, where)
        header = next(rows, None)
        if header is None:
            raise DataError(f"{where} must hold a header and rows", "nothing, it is empty", _SAVE_AS)
        positions = find_columns([name.strip() for name in header[1]], where, columns=columns, labelled=labelled)
        body = list(rows)
    if not body:
        raise DataError(f"{where} must hold rows", "a header only", "add a row for each example")

    def column(word: str) -> list[str] | None:
        return [row[positions[word]] for _, row in body] if word in positions else None

    lines = [line for line, _ in body]
    return Table.from_columns(where, content_of(positions, columns), column, lines, notes=notes)


def find_columns(
    header: list[str], where: str, *, columns: Mapping[str, str] | None = None, labelled: bool = True
) -> dict[str, int]:
    """Return the position of each column we know by our word for it; case does not matter.

    Raises:
        DataError: a column that must be there is not, or is there twice; the message lists those found.
        UsageError: `columns` uses a word that we do not know.
    """
    words = (*CONTENT, "label", "group", "split")
    names_by_word = {word: word for word in words}
    for word, name in (columns or {}).items():
        if word not in names_by_word:
            raise UsageError(
                f"columns must name {', '.join(words)}", repr(word), f"choose one{did_you_mean(word, words)}"
            )
        names_by_word[word] = name
    names = [name.casefold() for name in header]
    positions = {word: names.index(name.casefold()) for word, name in names_by_word.items() if name.casefold() in names}
    for word, name in names_by_word.items():
        if names.count(name.casefold()) > 1:
            raise DataError(
                f"{where} must have one column {name!r}", list_some(header, 5), f"rename the other {word} columns"
            )
        if columns and word in columns and word not in positions:
            raise DataError(f"{where} must have the column {name!r}", f"the columns {list_some(header, 20)}", "check")
    missing = [] if any(word in positions for word in CONTENT) else ["path (or image, text, audio)"]
    missing += ["label"] if labelled and "label" not in positions else []
    if missing:
        raise DataError(
            f"{where} must have the columns {' and '.join(missing)}",
            f"the columns {list_some(header, 20)}",
            "rename the ones that hold them, or name them with --text-column and --label-column",
        )
    return positions


def content_of(positions: Mapping[str, int], columns: Mapping[str, str] | None = None) -> str:
    """Return the word for the column that holds the examples: the one that was named, else the first that is there."""
    return next(
        (word for word in CONTENT if word in (columns or {})), next(word for word in CONTENT if word in positions)
    )


def safe_cell(text: str) -> str:
    """Return `text` for a cell of a CSV that we write, so that no spreadsheet runs it as a formula.

    A leading `=`, `+`, `-`, `@`, tab or carriage return gets an apostrophe before it, as OWASP advises.
    """
    return f"'{text}" if text.startswith(FORMULA) else text


def decode_table(data: bytes, where: str) -> tuple[str, tuple[str, ...]]:
    """Return the text of a table, and a note where it is not in UTF-8.

    Raises:
        DataError: it is empty, or no text.
    """
    if not data.strip():
        raise DataError(f"{where} must hold a header and rows", "nothing, it is empty", _SAVE_AS)
    if data.startswith(b"PK\x03\x04"):
        raise DataError(f"{where} must be text", "an Excel workbook or another zip file", _SAVE_AS)
    try:
        text, encoding = decode_text(data)
    except Undecodable as error:
        line = data.count(b"\n", 0, error.offset) + 1
        place = f"byte 0x{error.byte:02x} at {error.offset:,}, line {line}"
        raise DataError(f"{where} must be text in UTF-8", place, _SAVE_AS) from error
    return text, () if encoding == UTF8 else (f"{where} is not in UTF-8: it was read as {encoding}.",)


def _delimiter(text: str) -> str:
    start = text[: 1 << 16]
    with _long_fields():
        headers = {mark: next(csv.reader(io.StringIO(start, newline=""), delimiter=mark), []) for mark in ",;\t"}
    words = {*CONTENT, "label", "group", "split"}
    return max(headers, key=lambda mark: (sum(_word(name) in words for name in headers[mark]), len(headers[mark])))


def _word(name: str) -> str:
    return name.strip().casefold()


def _rows(text: str, delimiter: str, where: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each row that is not blank, header first, with the line on which it begins."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    width, line = 0, 1
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            do = "close its quotes, and double the quotes inside a quoted cell"
            raise DataError(f"{where} must be well-formed CSV", f"line {line}: {error}", do) from error
        if row is None:
            return
        if row:
            width = width or len(row)
            if len(row) != width:
                received = f"{len(row)} in line {line}"
                raise DataError(
                    f"every row of {where} must have {width} cells", received, "quote cells with delimiters"
                )
            yield line, row
        line = reader.line_num + 1


@contextmanager
def _long_fields() -> Iterator[None]:
    before = csv.field_size_limit(MAX_TABLE)
    try:
        yield
    finally:
        csv.field_size_limit(before)
