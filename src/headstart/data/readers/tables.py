"""Tables of cells: CSV with `,` or `;` and TSV, parsed strictly, JSON lines, and data sets of the library `datasets`.

Of a text, the line number stands in every complaint. `datasets` is never imported: its data sets are known by what they
offer and not by their type.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from headstart.base.errors import DataError, UsageError, did_you_mean, list_some, printable
from headstart.data.dataset import Split
from headstart.data.labels import SPLITS
from headstart.data.modality import Kind
from headstart.data.text import UTF8, Undecodable, decode_text

LINES_SUFFIXES = (".jsonl", ".ndjson")
TABLE_SUFFIXES = (".csv", ".tsv", *LINES_SUFFIXES)
MAX_TABLE = 2**30  # the largest table of text that is read, in bytes

CONTENT: dict[str, Kind] = {"path": "image", "image": "image", "text": "text", "audio": "sound"}
"""The columns that hold the examples, and what kind each says they are; a path may lead to a recording as well."""
FORMULA = ("=", "+", "-", "@", "\t", "\r")

_WRITE_AS = 'write one object a line: {"text": "…", "label": "…"}'
_GIVE = "give a data set with a text and a label column, or write it to Parquet: data.to_parquet(path)"
_SAVE_AS = "save it as CSV in UTF-8, with a header line"


@dataclass(frozen=True)
class Table:
    """The cells of a table by the words of this package."""

    where: str  # the table, for messages
    content: str  # the column that holds the examples: "path", "image", "text" or "audio"
    cells: list[Any]  # one per row
    labels: list[Any] | None  # one per row, or None where the table has no such column
    groups: list[Any] | None  # one per row, or None
    splits: list[Any] | None  # one per row, or None
    lines: list[int] | range  # one per row, where it is found: its line in a text, its row counted from 0 in Parquet
    unit: str = "line"  # what `lines` counts: "line" or "row"
    notes: tuple[str, ...] = ()  # what was noticed while it was read, one sentence each

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
    """Return the table in the bytes of a CSV or TSV file; raises DataError with the line where there is none.

    UTF-8 with or without a byte order mark, else UTF-16 or Windows-1252, which is noted; the delimiter is the one of
    `,` `;` and tab that finds most of our columns in the header, then most columns; quotes may hold line breaks.
    """
    text, notes = decode_table(data, where)
    delimiter = _delimiter(text)
    with _long_fields():
        rows = _rows(text, delimiter, where)
        header = next(rows, None)
        if header is None:
            raise DataError(f"{where} must hold a header and rows", "nothing, it is empty", _SAVE_AS)
        names = [name.strip() for name in header[1]]
        positions, content = find_columns(names, where, columns=columns, labelled=labelled)
        body = list(rows)
    if not body:
        raise DataError(f"{where} must hold rows", "a header only", "add a row for each example")

    def column(word: str) -> list[str] | None:
        return [row[positions[word]] for _, row in body] if word in positions else None

    lines = [line for line, _ in body]
    return Table.from_columns(where, content, column, lines, notes=notes)


def find_columns(
    header: list[str], where: str, *, columns: Mapping[str, str] | None = None, labelled: bool = True
) -> tuple[dict[str, int], str]:
    """Return the position of each column we know by our word for it, and our word for that of the examples.

    Case does not matter. `columns` gives other names by our words ("path", "label", "group", "split"); an example's
    column named there counts before the first that is there.

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
    there = [word for word in CONTENT if word in positions]
    return positions, next((word for word in there if word in (columns or {})), there[0])


def safe_cell(text: str) -> str:
    """Return `text` for a cell of a CSV that we write, so that no spreadsheet runs it and no terminal obeys it.

    A leading `=`, `+`, `-`, `@`, tab or carriage return gets an apostrophe before it, as OWASP advises.
    Control characters but the tab are written as escapes.
    """
    shown = printable(text).replace("\n", "\\n")
    return f"'{shown}" if text.startswith(FORMULA) else shown


def decode_table(data: bytes, where: str) -> tuple[str, tuple[str, ...]]:
    """Return the text of a table, and a note where it is not in UTF-8; DataError where it is empty, or no text."""
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

    def fit(mark: str) -> tuple[int, int]:
        return sum(name.strip().casefold() in words for name in headers[mark]), len(headers[mark])

    return max(headers, key=fit)


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


def read_lines(data: bytes, where: str, *, columns: Mapping[str, str] | None = None, labelled: bool = True) -> Table:
    """Return the table in the bytes of a file of JSON lines; a key that a line lacks is an empty cell.

    Raises:
        DataError: it is no text, a line is no object, or a key is nowhere.
    """
    text, notes = decode_table(data, where)
    rows: list[tuple[int, dict[str, Any]]] = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            rows.append((number, _object(line, f"{where}, line {number}")))
    names = list(dict.fromkeys(key for _, row in rows for key in row))
    positions, content = find_columns(names, where, columns=columns, labelled=labelled)

    def column(word: str) -> list[Any] | None:
        return [row.get(names[positions[word]]) for _, row in rows] if word in positions else None

    lines = [number for number, _ in rows]
    return Table.from_columns(where, content, column, lines, notes=notes)


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} must be a JSON object", error, _WRITE_AS) from error
    if not isinstance(row, dict):
        raise DataError(f"{where} must be a JSON object", type(row).__name__, _WRITE_AS)
    return {key: value for key, value in row.items() if not isinstance(value, (dict, list))}


def is_loaded(data: object) -> bool:
    """Return whether `data` is such a data set, or a dict of them by part."""
    dataset = next(iter(data.values()), None) if isinstance(data, Mapping) else data
    return hasattr(dataset, "column_names") and hasattr(dataset, "features") and hasattr(dataset, "__getitem__")


def tables_of(data: Any, *, columns: Mapping[str, str] | None = None) -> list[tuple[Table, Split | None]]:
    """Return the tables of a data set, or of a dict of them by the name of their part, each with its part.

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
    positions, content = find_columns(names, where, columns=columns)
    if content != "text":
        raise DataError(f"{where} must hold texts", f"a column {names[positions[content]]!r}", _GIVE)

    def column(word: str) -> list[Any] | None:
        if word == "label":
            name = names[positions[word]]
            return name_labels(part[name], getattr(part.features[name], "names", None), where, do="mend it")
        return list(part[names[positions[word]]]) if word in positions else None

    return Table.from_columns(where, content, column, range(len(column(content) or [])), unit="row")


def name_labels(labels: Iterable[Any], names: Sequence[str] | None, where: str, *, do: str) -> list[Any]:
    """Return labels, class ids replaced by their names where there are any; raises DataError for other ids."""
    named: list[Any] = []
    for row, label in enumerate(labels):
        if names is None or label is None or isinstance(label, str):
            named.append(label)
        elif label == -1:  # how data sets without public labels mark them
            named.append(None)
        elif hasattr(label, "__index__") and 0 <= label < len(names):
            named.append(names[label])
        else:
            raise DataError(f"labels of {where} must be class ids below {len(names)}", f"{label!r} in row {row}", do)
    return named
