"""Messages: wrapped at words on a terminal, one line in a pipe."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from headstart.cli.app import main
from headstart.cli.messages import PrintableStream, show, show_json, wrapped

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


def test_what_is_wrapped_goes_on_where_its_column_begins() -> None:
    lines = wrapped("engine  " + "word " * 30, 80, indent=8).split("\n")
    assert len(lines) == 3 and all(len(line) <= 80 for line in lines)
    assert [len(line) - len(line.lstrip()) for line in lines] == [0, 8, 8]


HOSTILE = "\x1b]0;owned\x07\x1b[2Jcat\x9b31m\u202egnp\u2066.\u200b\x7f\r\udcff"


def test_nothing_that_is_shown_drives_a_terminal__TXT_07(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    print(f"a\tb é {HOSTILE}", file=PrintableStream(stream))
    assert stream.getvalue().startswith("a\tb é \\x1b]0;owned\\x07")
    assert stream.getvalue().rstrip("\n").replace("\t", "").isprintable()
    show_json({HOSTILE: HOSTILE})
    shown = capsys.readouterr().out
    assert shown.rstrip("\n").isprintable() and json.loads(shown) == {HOSTILE: HOSTILE}


@pytest.mark.parametrize(
    "arguments", [["fit", f"/no{HOSTILE[:-1]}"], ["predict", f"x{HOSTILE[:-1]}", "y"], ["sources", "timm:\x1b[31mx"]]
)
def test_what_a_user_gives_comes_back_as_escapes__TXT_07(
    arguments: list[str], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, errors = ended(arguments, capfd, monkeypatch)
    assert code == 2 and not out
    assert errors.rstrip("\n").isprintable()


def ended(
    arguments: list[str], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> tuple[object, str, str]:
    """Run the command in this process, and return its exit code and what it wrote."""
    monkeypatch.setattr(sys, "argv", ["headstart", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    return end.value.code, *capfd.readouterr()


@pytest.mark.parametrize("arguments", [["fit", ""], ["fit", "x", "--out", ""], ["compare", ""], ["predict", "x", ""]])
def test_an_empty_argument_is_an_error(
    arguments: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    message = "headstart: every argument must hold something; found ''; give a value, or leave it out\n"
    assert ended(arguments, capfd, monkeypatch) == (2, "", message)
    assert not list(tmp_path.iterdir())
