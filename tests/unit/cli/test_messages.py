"""Messages: wrapped at words on a terminal, one line in a pipe."""

from __future__ import annotations

import io

import pytest

from headstart.cli.messages import show, wrapped

PATH = "/a-very-long/path/that-has/hyphens-and/no-spaces/" + "x" * 40
TEXT = f"Note: 12 photos were skipped, for they are broken; the list of them is in {PATH}, which is a table of names."


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_whole_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    stream = Terminal()
    show(TEXT, stream)
    lines = stream.getvalue().splitlines()
    assert all(len(line) <= 40 for line in lines if PATH not in line)
    assert " ".join(lines) == TEXT


def test_a_pipe_gets_one_line_a_message() -> None:
    stream = io.StringIO()
    show(TEXT, stream)
    assert stream.getvalue() == TEXT + "\n"


def test_lines_that_fit_stay_as_they_are() -> None:
    table = "accuracy   0.91\nlog loss   0.30"
    assert wrapped(table, 80) == table
