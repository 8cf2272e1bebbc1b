"""Tables read by their content: cells between delimiters, JSON, either packed with gzip; and loaded data sets.

`datasets` is never imported: its data sets are known by what they offer and not by their type.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from headstart.base.errors import DataError
from headstart.data.dataset import Split
from headstart.data.labels import SPLITS
from headstart.data.readers.archives import gunzip
from headstart.data.readers.tables.delimited import MAX_TABLE, read_delimited
from headstart.data.readers.tables.json_tables import holds_lists, read_json
from headstart.data.readers.tables.table import Table
from headstart.data.text import UTF8, Undecodable, decode_text

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json")
PACKED = ".gz"
MARKED = "__label__"
CUT = 1000  # bytes: a beginning that is as long is not the whole file

_SAVE_AS = "save it as CSV in UTF-8, with a header line"


def is_table(name: str) -> bool:
    """Return whether a file is a table of text by its name; what it is by content is seen when it is read."""
    return name.lower().removesuffix(PACKED).endswith(TABLE_SUFFIXES)


def read_table(data: bytes, where: str, *, names: Sequence[str] = (), known: Sequence[Sequence[str]] = ()) -> Table:
    """Return the table in the bytes of a file, whatever its suffix.

    UTF-8 with or without a byte order mark, else UTF-16 or Windows-1252, which is noted; packed with gzip or not.

    Args:
        names: the names of the columns of a table that has no header.
        known: such names of earlier tables; see `read_delimited`.

    Raises:
        DataError: there is none; the message names the line.
    """
    data = gunzip(data, where, limit=MAX_TABLE) if data.startswith(b"\x1f\x8b") else data
    text, notes = decode_table(data, where)
    start = text.lstrip("\ufeff \t\r\n")[:80]
    if start.startswith("{") or start.lstrip("[ \t\r\n").startswith(("{", "]")) or holds_lists(text):
        return read_json(text, where, names=names, known=known, notes=notes)
    if start.startswith(MARKED):
        return _of_marked_lines(text, where, notes)
    return read_delimited(text, where, names=names, known=known, notes=notes)


def _of_marked_lines(text: str, where: str, notes: tuple[str, ...]) -> Table:
    """Return the table in lines that begin with their labels, as fastText has them: `__label__good a fine film`."""
    lines, rows = [], []
    for number, line in enumerate(text.splitlines(), 1):
        labels = re.match(rf"(?:{MARKED}\S+\s*)*", line)[0].split()  # type: ignore[index]
        if line.strip():
            lines.append(number)
            rows.append(([label.removeprefix(MARKED) for label in labels] or None, line.split(None, len(labels))[-1]))
    columns = list(zip(*rows, strict=True))
    return Table(where, ("label", "text"), columns.__getitem__, lines, notes=notes)


def holds_text(head: bytes) -> bool:
    """Return whether the beginning of a file is that of a text, packed with gzip or not."""
    try:
        head = zlib.decompressobj(31).decompress(head, len(head)) if head.startswith(b"\x1f\x8b") else head
        cuts = range(4 if len(head) >= CUT else 1)  # the last character of a longer text may be cut
        return bool(head) and any(_decodes(head[: len(head) - cut]) for cut in cuts)
    except zlib.error:
        return False


def _decodes(data: bytes) -> bool:
    try:
        return "\0" not in decode_text(data)[0]
    except Undecodable:
        return False


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
    if not text.strip("\ufeff\r\n\t "):
        raise DataError(f"{where} must hold a header and rows", "nothing, it is empty", _SAVE_AS)
    return text, () if encoding == UTF8 else (f"{where} is not in UTF-8: it was read as {encoding}.",)


def is_loaded(data: object) -> bool:
    """Return whether `data` is such a data set, or a dict of them by part."""
    dataset = next(iter(data.values()), None) if isinstance(data, Mapping) else data
    return hasattr(dataset, "column_names") and hasattr(dataset, "features") and hasattr(dataset, "__getitem__")


def tables_of(data: Any) -> list[tuple[Table, Split | None]]:
    """Return the tables of a data set, or of a dict of them by the name of their part, each with its part.

    Raises:
        DataError: a part has another name.
    """
    if not isinstance(data, Mapping):
        return [(_table(data, "the data set"), None)]
    unknown = [name for name in data if str(name).lower() not in SPLITS]
    if unknown:
        raise DataError(f"parts of a data set must be named {', '.join(SPLITS)}", repr(unknown[0]), "leave others out")
    return [(_table(part, str(name)), SPLITS[str(name).lower()]) for name, part in data.items()]


def _table(part: Any, where: str) -> Table:
    names = tuple(part.column_names)
    class_names = {at: ids for at, name in enumerate(names) if (ids := getattr(part.features[name], "names", None))}
    length = len(part[names[0]]) if names else 0
    return Table(where, names, lambda at: list(part[names[at]]), range(length), unit="row", class_names=class_names)


def name_labels(labels: Iterable[Any], names: Sequence[str] | None, where: str) -> Sequence[Any]:
    """Return labels, class ids replaced by their names where there are any; raises DataError for other ids."""
    if names is None:
        return labels if isinstance(labels, Sequence) else list(labels)
    named: list[Any] = []
    for row, label in enumerate(labels):
        if label is None or isinstance(label, str):
            named.append(label)
        elif label == -1:  # how data sets without public labels mark them
            named.append(None)
        elif hasattr(label, "__index__") and 0 <= label < len(names):
            named.append(names[label])
        else:
            received = f"{label!r} in row {row}"
            raise DataError(
                f"labels of {where} must be class ids below {len(names)}",
                received,
                "give each label below it, or its name",
            )
    return named
