"""The suite of reliability: every test is slow, its attempts are counted, and one table says how they ended.

`make test-slow` runs it. `RELIABILITY=0.05 make test-slow` makes a twentieth of the attempts.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tally import Tally

SHARE = float(os.environ.get("RELIABILITY", "1"))
HERE = Path(__file__).parent
ROWS: dict[str, list[int]] = {}  # of the table: attempts, and wrong ones


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def tries() -> Callable[[int], int]:
    """Return a function: of a number of attempts, the share that is asked for, one at least."""
    return lambda count: max(1, math.ceil(count * SHARE))


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Iterator[Tally]:
    """Return what counts the attempts of a test; they stand in the table under its `row`."""
    counted = Tally(request.module.ROW)
    yield counted
    request.node.user_properties.append(("reliability", (counted.row, counted.tried, len(counted.wrong))))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    for name, value in report.user_properties if report.when == "teardown" else ():
        if name == "reliability":
            row, tried, wrong = value
            counts = ROWS.setdefault(row, [0, 0])
            counts[0] += tried
            counts[1] += wrong


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not ROWS:
        return
    terminalreporter.section("reliability")
    terminalreporter.line("| what is done | tried | as expected | wrong |")
    terminalreporter.line("|---|---|---|---|")
    whole = [sum(column) for column in zip(*ROWS.values(), strict=True)]
    for row, (tried, wrong) in [*sorted(ROWS.items()), ("all", whole)]:
        terminalreporter.line(f"| {row} | {tried:,} | {tried - wrong:,} | {wrong:,} |")
