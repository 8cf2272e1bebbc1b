"""What a person sees while work goes on: a live bar on a terminal, plain lines in a pipe, nothing when quiet.

Everything goes to standard error, so that standard output stays free for results.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, TextIO

from headstart.base.errors import one_line

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

PLAIN_EVERY = 10.0  # seconds between two plain lines of one step


class Step:
    """One step of a run, with a known or unknown number of items; this one shows nothing."""

    total: int | None = None  # how many items there are, which may change on the way; None where it is not known

    def advance(self, count: int = 1, note: str = "") -> None:
        """Say that `count` more items are done, and what is known now, such as the best so far."""


class _TimedStep(Step):
    """A step that is shown; `start` is moved by what steps inside it take, so that they do not slow its rate down."""

    def __init__(self, name: str, total: int | None, done: int) -> None:
        self._name, self.total, self._done, self._before, self._note = name, total, done, done, ""
        self.start = self.begun = time.monotonic()

    def advance(self, count: int = 1, note: str = "") -> None:
        """Count, and show it."""
        self._done += count
        self._note = note or self._note
        self.show(time.monotonic() - self.start)

    def show(self, seconds: float) -> None:
        """Show what is done after so many seconds."""

    def close(self) -> None:
        """Show the end."""


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


class Remarks(Progress):
    """The lines of another progress, without the steps: those of a part of a step that is shown."""

    def __init__(self, shown: Progress) -> None:
        self._shown = shown

    def say(self, text: str) -> None:
        """Show one line."""
        self._shown.say(text)


class _ShownProgress(Progress):
    def __init__(self) -> None:
        self._open: list[_TimedStep] = []

    @contextmanager
    def _within(self, step: _TimedStep) -> Iterator[Step]:
        self._open.append(step)
        try:
            yield step
            step.close()
        finally:
            self._open.remove(step)
            for outer in self._open:
                outer.start += time.monotonic() - step.begun


class PlainProgress(_ShownProgress):
    """Lines of text: one at the end of each step, and one every few seconds of a long one."""

    def __init__(self, stream: TextIO, *, every: float = PLAIN_EVERY) -> None:
        super().__init__()
        self._stream, self.every = stream, every

    @contextmanager
    def step(self, name: str, total: int | None = None, unit: str = "items", *, done: int = 0) -> Iterator[Step]:
        """Show one step as lines."""
        with self._within(_PlainStep(self, name, total, unit, done)) as step:
            yield step

    def say(self, text: str) -> None:
        """Show one line."""
        print(one_line(text), file=self._stream, flush=True)


class _PlainStep(_TimedStep):
    def __init__(self, progress: PlainProgress, name: str, total: int | None, unit: str, done: int) -> None:
        super().__init__(name, total, done)
        self._progress, self._unit, self._shown = progress, unit, self.begun

    def show(self, seconds: float) -> None:
        if self.start + seconds - self._shown >= self._progress.every:
            self._shown = self.start + seconds
            rate = (self._done - self._before) / seconds
            of_total = f" of {self.total:,}" if self.total else ""
            left = f", {(self.total - self._done) / rate:.0f} s left" if self.total and rate else ""
            self._progress.say(f"{self._name}: {self._done:,}{of_total} {self._unit}, {rate:.0f}/s{left}{self._noted}")

    @property
    def _noted(self) -> str:
        return f"; {self._note}" if self._note else ""

    def close(self) -> None:
        seconds = time.monotonic() - self.start
        if self._done:
            rate = f", {(self._done - self._before) / seconds:.0f}/s" if seconds >= 0.05 and not self._note else ""
            self._progress.say(f"{self._name}: {self._done:,} {self._unit} in {seconds:.1f} s{rate}{self._noted}")
        else:
            self._progress.say(f"{self._name}: {seconds:.1f} s")


class LiveProgress(_ShownProgress):
    """A bar with rate and time left for each step, redrawn in place."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console

        super().__init__()
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
            task = bars.add_task(one_line(name), total=total, completed=done, rate="")
            with self._within(_LiveStep(bars, task, name, total, done)) as step:
                yield step

    def say(self, text: str) -> None:
        """Show one line above the bar."""
        self._console.print(one_line(text), markup=False)


class _LiveStep(_TimedStep):
    def __init__(self, bars: RichProgress, task: int, name: str, total: int | None, done: int) -> None:
        super().__init__(name, total, done)
        self._bars, self._task = bars, task

    def show(self, seconds: float) -> None:
        rate = (self._done - self._before) / max(seconds, 1e-9)
        noted = f": {self._done:,}, {self._note}" if self._note else ""
        self._bars.update(
            self._task,  # type: ignore[arg-type]
            description=one_line(f"{self._name}{noted}", 70),
            total=self.total,
            completed=self._done,
            rate=f"{rate:.0f}/s",
        )

    def close(self) -> None:
        self._bars.update(self._task, total=self._done or 1, completed=self._done or 1)  # type: ignore[arg-type]


class SeveralProgress(Progress):
    """Progress that is shown in several places."""

    def __init__(self, *places: Progress) -> None:
        self._places = places

    @contextmanager
    def step(self, name: str, total: int | None = None, unit: str = "items", *, done: int = 0) -> Iterator[Step]:
        """Show one step in every place."""
        with ExitStack() as stack:
            yield _Steps([stack.enter_context(place.step(name, total, unit, done=done)) for place in self._places])

    def say(self, text: str) -> None:
        """Show one line in every place."""
        for place in self._places:
            place.say(text)


class _Steps(Step):
    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = steps

    @property
    def total(self) -> int | None:
        return self._steps[0].total

    @total.setter
    def total(self, total: int | None) -> None:
        for step in self._steps:
            step.total = total

    def advance(self, count: int = 1, note: str = "") -> None:
        for step in self._steps:
            step.advance(count, note)


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
