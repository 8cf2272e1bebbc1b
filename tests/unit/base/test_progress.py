"""Progress: a bar on a terminal, plain lines elsewhere, nothing when quiet."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace

import pytest

from headstart.base import progress
from headstart.base.progress import (
    LiveProgress,
    PlainProgress,
    Progress,
    SeveralProgress,
    progress_for,
    progress_in_python,
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def work(shown: Progress, count: int = 3) -> None:
    with shown.step("Extracting", count, "photos") as step:
        for _ in range(count):
            step.advance()
    shown.say("a note\nwith \x1b[31mescapes")


def test_the_display_fits_the_stream() -> None:
    assert isinstance(progress_for(stream=Terminal()), LiveProgress)
    assert isinstance(progress_for(stream=io.StringIO()), PlainProgress)
    assert type(progress_for(quiet=True, stream=Terminal())) is Progress


def test_called_from_python_it_is_shown_in_terminals_and_notebooks(monkeypatch: pytest.MonkeyPatch) -> None:
    own = PlainProgress(io.StringIO())
    assert progress_in_python(own) is own
    assert type(progress_in_python(True)) is Progress  # noqa: FBT003
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert isinstance(progress_in_python(True), LiveProgress)  # noqa: FBT003
    notebook = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=object()))
    monkeypatch.setitem(sys.modules, "IPython", notebook)  # type: ignore[arg-type]
    assert isinstance(progress_in_python(True), PlainProgress)  # noqa: FBT003
    assert type(progress_in_python(False)) is Progress  # noqa: FBT003


def test_quiet_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    work(progress_for(quiet=True))
    assert capsys.readouterr() == ("", "")


def test_plain_lines() -> None:
    stream = io.StringIO()
    work(PlainProgress(stream, every=0))
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("Extracting: 1 of 3 photos, ")
    assert lines[0].endswith("s left")
    assert lines[-2].startswith("Extracting: 3 photos in ")
    assert lines[-1] == "a note\\nwith \\x1b[31mescapes"


def test_what_was_done_before_is_no_part_of_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(100))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    stream = io.StringIO()
    with PlainProgress(stream, every=0).step("Training", 10, "photos", done=8) as step:
        step.advance()
    assert stream.getvalue().splitlines()[0] == "Training: 9 of 10 photos, 1/s, 1 s left"


def test_the_total_may_change_on_the_way() -> None:
    stream = io.StringIO()
    for shown in (PlainProgress(stream, every=0), LiveProgress(Terminal()), Progress()):
        with shown.step("Training", 2, "photos") as step:
            step.advance(2)
            step.total = 4
            step.advance()
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("Training: 2 of 2 photos, ") and lines[1].startswith("Training: 3 of 4 photos, ")


def test_a_bar_fits_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    work(LiveProgress(stream), count=20_000)
    text = stream.getvalue()
    assert "20000/20000" in text
    assert "/s" in text
    last = text.split("\r")[-1]
    assert all(len(line) <= 160 for line in last.splitlines()), "a bar and its colours on one line"
    assert "\x1b[31mescapes" not in text


def test_what_a_step_inside_takes_is_no_part_of_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    stream = io.StringIO()
    for shown in (PlainProgress(stream), LiveProgress(Terminal())):
        with shown.step("Reading", 4, "photos") as step:
            with shown.step("Preparing"):
                clock[0] += 100
            clock[0] += 2
            step.advance(4)
    lines = stream.getvalue().splitlines()
    assert (lines[0], lines[-1]) == ("Preparing: 100.0 s", "Reading: 4 photos in 2.0 s, 2/s")


def test_what_is_known_stands_beside_the_count_in_every_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    plain, live = io.StringIO(), Terminal()
    with SeveralProgress(PlainProgress(plain), LiveProgress(live), Progress()).step("Choosing", unit="heads") as step:
        step.advance(note="best so far: ridge")
        step.total = 3
        step.advance()
        assert step.total == 3
    assert "Choosing: 2 heads in 0.0 s; best so far: ridge" in plain.getvalue()
    assert "Choosing: 2, best so far: ridge" in live.getvalue()
