"""What a person reads: on a terminal wrapped at words, in a pipe one line a message."""

from __future__ import annotations

import shutil
import sys
import textwrap
from typing import TextIO

MAX_COLUMNS = 120  # lines on a terminal are no longer than this, for long ones are hard to read


def show(text: str, stream: TextIO | None = None) -> None:
    """Print a message, each of its lines wrapped at words where `stream` (standard output by default) is a terminal."""
    stream = stream or sys.stdout
    print(wrapped(text, shutil.get_terminal_size().columns) if stream.isatty() else text, file=stream, flush=True)


def wrapped(text: str, columns: int) -> str:
    """Return a text whose lines have at most so many columns, broken between words alone."""
    lines = [
        textwrap.fill(line, min(columns, MAX_COLUMNS), break_long_words=False, break_on_hyphens=False)
        if len(line) > columns
        else line
        for line in text.split("\n")
    ]
    return "\n".join(lines)
