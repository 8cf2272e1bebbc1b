"""A table as it was read: cells by column, whatever they mean; and cells that are safe to write."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from headstart.base.errors import printable
from headstart.data.labels import number_of
from headstart.data.modality import Kind

CONTENT: dict[str, Kind] = {"path": "image", "image": "image", "text": "text", "audio": "sound"}
"""The columns that hold the examples, and what kind each says they are; a path may lead to others as well."""
ROLES = (*CONTENT, "label", "group", "split", "time", "id")
"""Our words for what a column may hold."""
HEADER = "header"
"""Our word for the names of all columns of a table that has no header."""

ColumnNames = Mapping[str, str | Sequence[str]]
"""Names of columns, by our words for what they hold; several where they are joined."""

FORMULA = ("=", "+", "-", "@", "\t", "\r")
_SAMPLE = 500  # rows that tell what a column holds


@dataclass(frozen=True)
class Table:
    """A table of n rows."""

    where: str  # the table, for messages
    names: tuple[str, ...]  # of its columns
    cells: Callable[[int], Sequence[Any]]  # the n cells of the column at a position
    lines: Sequence[int]  # where each row is found: its line in a text, its row counted from 0 otherwise
    unit: str = "line"  # what `lines` counts: "line" or "row"
    notes: tuple[str, ...] = ()  # what was noticed while it was read, one sentence each
    has_header: bool = True  # whether the names are its own
    embedded: frozenset[int] = frozenset()  # the positions of columns of bytes
    class_names: Mapping[int, Sequence[str]] = field(default_factory=dict)  # by position: the names of class ids

    def __len__(self) -> int:
        return len(self.lines)

    def place(self, row: int) -> str:
        """Return where a row is found, for messages."""
        return f"{self.where}, {self.unit} {self.lines[row]}"

    def sample(self, position: int) -> list[Any]:
        """Return some cells of a column that are not empty, from all over the table."""
        cells = self.cells(position)
        step = max(1, len(cells) // _SAMPLE)
        return [cell for cell in cells[::step] if not is_empty(cell)]


def is_empty(cell: object) -> bool:
    """Return whether a cell holds nothing."""
    return cell is None or cell == "" or (isinstance(cell, str) and cell.isspace())


def safe_cell(text: str, *, keep_lines: bool = False) -> str:
    """Return `text` for a cell of a CSV that we write, so that no spreadsheet runs it and no terminal obeys it.

    A leading `=`, `+`, `-`, `@`, tab or carriage return gets an apostrophe before it, as OWASP advises, unless the text
    is a number. Control characters but the tab are written as escapes, line breaks too unless `keep_lines`.
    """
    shown = printable(text.replace("\r\n", "\n") if keep_lines else text)
    shown = shown if keep_lines else shown.replace("\n", "\\n")
    return f"'{shown}" if text.startswith(FORMULA) and not (keep_lines and number_of(text) is not None) else shown
