"""What a person sees while work goes on: a live bar on a terminal, plain lines in a pipe, nothing when quiet.

Everything goes to standard error, so that standard output stays free for results.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from headstart.base.errors import one_line

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

PLAIN_EVERY = 10.0  # seconds between two plain lines of one step


class Step:
    """One step of a run, with a known or unknown number of items; this one shows nothing."""

    total: int | None = None  # how many items there are, which may change on the way; None where it is not known

    def advance(self, count: int = 1) -> None:
        """Say that `count` more items are done."""


class Progress:
    """Silent progress: the base of the live and the plain one, and what libraries use by default."""

    @contextmanager
    def step(self, name: str, total: int | None = None, unit: str = "items", *, done: int = 0) -> Iterator[Step]:
        """Show one step while the block runs; a known `total` gives the time left.

        Items that were `done` before take part in the total and not in the rate.
        """
        yield Step()

    def say(self, text: str) -> None:
        """Show one line."""


class PlainProgress(Progress):
    """Lines of text: one at the end of each step, and one every ten seconds of a long one."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @contextmanager
    def step(self, name: str, total: int | None = None, unit: str = "items", *, done: int = 0) -> Iterator[Step]:
        """Show one step as lines."""
        step = _PlainStep(self, name, total, unit, done)
        yield step
        step.close()

    def say(self, text: str) -> None:
        """Show one line."""
        print(one_line(text), file=self._stream, flush=True)


class _PlainStep(Step):
    def __init__(self, progress: PlainProgress, name: str, total: int | None, unit: str, done: int) -> None:
        self._progress, self._name, self.total, self._unit = progress, name, total, unit
        self._done = self._before = done
        self._start = self._shown = time.monotonic()

    def advance(self, count: int = 1) -> None:
        self._done += count
        now = time.monotonic()
        if now - self._shown >= PLAIN_EVERY:
            self._shown = now
            rate = (self._done - self._before) / (now - self._start)
            of_total = f" of {self.total:,}" if self.total else ""
            left = f", {(self.total - self._done) / rate:.0f} s left" if self.total and rate else ""
            self._progress.say(f"{self._name}: {self._done:,}{of_total} {self._unit}, {rate:.0f}/s{left}")

    def close(self) -> None:
        seconds = time.monotonic() - self._start
        if self._done:
            rate = f", {(self._done - self._before) / seconds:.0f}/s" if seconds >= 0.05 else ""
            self._progress.say(f"{self._name}: {self._done:,} {self._unit} in {seconds:.1f} s{rate}")
        else:
            self._progress.say(f"{self._name}: {seconds:.1f} s")


class LiveProgress(Progress):
    """A bar with rate and time left for each step, redrawn in place."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console

        self._console = Console(file=getattr(stream, "unescaped", stream), highlight=False)

    @contextmanager
    def step(self, name: str, total: int | None = None, unit: str = "items", *, done: int = 0) -> Iterator[Step]:
        """Show one step as a bar."""
        from rich import progress as bar

        columns = [bar.SpinnerColumn(finished_text="[green]✓[/]"), bar.TextColumn("{task.description}")]
        if total is not None:
            columns += [bar.BarColumn(bar_width=24), bar.MofNCompleteColumn(), bar.TextColumn("{task.fields[rate]}")]
            columns += [bar.TimeRemainingColumn(compact=True, elapsed_when_finished=True)]
        else:
            columns += [bar.TimeElapsedColumn()]
        with bar.Progress(*columns, console=self._console) as bars:
            step = _LiveStep(bars, bars.add_task(one_line(name), total=total, completed=done, rate=""), total, done)
            yield step
            step.close()

    def say(self, text: str) -> None:
        """Show one line above the bar."""
        self._console.print(one_line(text), markup=False)


class _LiveStep(Step):
    def __init__(self, bars: RichProgress, task: int, total: int | None, done: int) -> None:
        self._bars, self._task, self.total, self._start = bars, task, total, time.monotonic()
        self._done = self._before = done

    def advance(self, count: int = 1) -> None:
        self._done += count
        rate = (self._done - self._before) / max(time.monotonic() - self._start, 1e-9)
        self._bars.update(self._task, total=self.total, advance=count, rate=f"{rate:.0f}/s")  # type: ignore[arg-type]

    def close(self) -> None:
        self._bars.update(self._task, total=self._done or 1, completed=self._done or 1)  # type: ignore[arg-type]


def progress_in_python(progress: Progress | bool) -> Progress:
    """Return where a function that is called from Python shows progress: in a terminal or a notebook, else nowhere.

    A Progress is returned as it is, and False shows nothing.
    """
    if isinstance(progress, Progress):
        return progress
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if progress and hasattr(shell, "kernel"):
        return PlainProgress(sys.stdout)  # in a notebook: a live bar would need its widgets
    return progress_for(quiet=not (progress and sys.stderr.isatty()))


def progress_for(*, quiet: bool = False, stream: TextIO | None = None) -> Progress:
    """Return the progress display that fits `stream` (standard error by default)."""
    stream = stream or sys.stderr
    if quiet:
        return Progress()
    return LiveProgress(stream) if stream.isatty() else PlainProgress(stream)
