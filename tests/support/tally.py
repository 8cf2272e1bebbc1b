"""Counting attempts: each ends as it must, or is wrong and named; a test fails once, at its end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from headstart.base.errors import one_line


@dataclass
class Tally:
    """Attempts of one row of the table: how many, and what was wrong with which."""

    row: str = ""
    tried: int = 0
    wrong: list[str] = field(default_factory=list)

    @contextmanager
    def attempt(self, name: str) -> Iterator[None]:
        """Count the block as an attempt; what it raises makes it a wrong one."""
        self.tried += 1
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever goes wrong in an attempt is what is counted
            self.wrong.append(f"{name}: {one_line(f'{type(error).__name__}: {error}', 600)}")

    def check(self, least: int = 1) -> None:
        """Fail where an attempt was wrong, or where there were fewer than `least`."""
        shown = "\n".join(self.wrong[:20])
        assert not self.wrong, f"{len(self.wrong)} of {self.tried} attempts went wrong:\n{shown}"
        assert self.tried >= least, f"{self.tried} attempts, fewer than {least}"


def check_one_line(message: str) -> None:
    """Fail unless a message is one printable line: what must hold, what was found, and what to do."""
    assert message.strip(), "an empty message"
    assert one_line(message, len(message) + 1) == message, f"not one line: {message!r}"
    assert len(message) < 3_000, f"a message of {len(message)} characters"
