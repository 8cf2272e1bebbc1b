"""One bar over all the runs of a comparison, in seconds of its plan."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from headstart.base.progress import Progress, Step


class Bar(Progress):
    """A progress whose steps move one bar: by the seconds that pass, up to those that the run is planned to take.

    Args:
        step: the bar, in planned seconds.
        now: gives the seconds since whenever.
    """

    def __init__(self, step: Step, now: Callable[[], float]) -> None:
        self._step, self._now = step, now
        self._before = self._shown = self._start = self._planned = 0.0
        self._title = ""

    @contextmanager
    def run(self, name: str, planned: float) -> Iterator[None]:
        """Name the bar after a run of so many planned seconds while the block runs."""
        self._title, self._start, self._planned = name, self._now(), planned
        self.move()
        try:
            yield
        finally:
            self._before += planned
            self._planned = 0.0
            self.move()

    @contextmanager
    def step(self, name: str, total: int | None = None, unit: str = "items", *, done: int = 0) -> Iterator[Step]:
        """Let a step of the run move the bar."""
        yield _Moving(self)
        self.move()

    def move(self) -> None:
        """Show the seconds that are over."""
        over = round(self._before + min(self._now() - self._start, self._planned))
        self._step.advance(max(0, over - round(self._shown)), self._title)
        self._shown = max(self._shown, over)


class _Moving(Step):
    def __init__(self, bar: Bar) -> None:
        self._bar = bar

    def advance(self, count: int = 1, note: str = "") -> None:
        self._bar.move()
