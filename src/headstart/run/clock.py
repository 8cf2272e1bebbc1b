"""The seconds that each part of a run took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Clock:
    """Seconds spent in each named part of a run; `now` gives the seconds since whenever."""

    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("read", "extract", "head", "tune"), 0.0))
    now: Callable[[], float] = time.perf_counter
    _start: float = field(init=False)

    def __post_init__(self) -> None:
        self._start = self.now()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Add the time of the block to part `name`, that of one that fails too."""
        start = self.now()
        try:
            yield
        finally:
            self.seconds[name] += self.now() - start

    def add(self, name: str, seconds: float) -> None:
        """Add seconds of an earlier stretch of the run, which was resumed, to part `name` and to the total."""
        self.seconds[name] += seconds
        self._start -= seconds

    @property
    def total(self) -> float:
        """The seconds since the run began."""
        return self.now() - self._start

    def read(self) -> dict[str, float]:
        """Return the seconds in total and of each part, rounded to milliseconds."""
        return {name: round(value, 3) for name, value in {"total": self.total, **self.seconds}.items()}
