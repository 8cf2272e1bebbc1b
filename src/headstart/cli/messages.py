"""What a person reads: on a terminal wrapped at words, in a pipe one line a message."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from typing import Any, TextIO

from headstart.base.errors import printable

MAX_COLUMNS = 120  # lines on a terminal are no longer than this, for long ones are hard to read


class PrintableStream:
    """Standard output or error as everything shown passes through it: nothing in it can drive a terminal.

    `unescaped` is the stream itself, for bars that are redrawn in place.
    """

    def __init__(self, unescaped: TextIO) -> None:
        self.unescaped = unescaped

    def write(self, text: str) -> int:
        """Write a text, with control characters as escapes."""
        self.unescaped.write(printable(text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.unescaped, name)


def show_json(value: object) -> None:
    """Print a value as one line of JSON, in which every character that is no plain ASCII is an escape."""
    print(json.dumps(value, allow_nan=False).replace("\x7f", "\\u007f"))


def show(text: str, stream: TextIO | None = None, *, indent: int = 0) -> None:
    """Print a message, each of its lines wrapped at words where `stream` (standard output by default) is a terminal.

    What is wrapped goes on behind `indent` spaces.
    """
    stream = stream or sys.stdout
    columns = shutil.get_terminal_size().columns
    print(wrapped(text, columns, indent=indent) if stream.isatty() else text, file=stream, flush=True)


def wrapped(text: str, columns: int, *, indent: int = 0) -> str:
    """Return a text whose lines have at most so many columns, broken between words alone."""
    options: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False, "subsequent_indent": " " * indent}
    lines = [
        textwrap.fill(line, min(columns, MAX_COLUMNS), **options) if len(line) > columns else line
        for line in text.split("\n")
    ]
    return "\n".join(lines)
