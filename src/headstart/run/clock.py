"""The seconds that each part of a run took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Clock:
    """Seconds spent in each named part of a run."""

    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("read", "extract", "head", "tune"), 0.0))
    _start: float = field(default_factory=time.perf_counter)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Add the time of the block to part `name`, that of one that fails too."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - start

    def add(self, name: str, seconds: float) -> None:
        """Add seconds of an earlier stretch of the run, which was resumed, to part `name` and to the total."""
        self.seconds[name] += seconds
        self._start -= seconds

    def read(self) -> dict[str, float]:
        """Return the seconds in total and of each part, rounded to milliseconds."""
        total = time.perf_counter() - self._start
        return {name: round(value, 3) for name, value in {"total": total, **self.seconds}.items()}
