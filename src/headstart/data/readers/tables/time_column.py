"""A column of times: the past is learned from, and the newest share is the test part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from headstart.base.errors import DataError
from headstart.data.dataset import Example

TEST_SHARE = 0.3


def split_by_time(examples: Sequence[Example], times: Sequence[float], where: str) -> tuple[list[Example], str]:
    """Return the examples, the newest of them in the test part and all others in train, and a note that says so.

    Examples of one time stay on one side: the border is where the test part comes nearest to 30 %.

    Raises:
        DataError: there is only one time, or the data has parts already.
    """
    if any(example.split for example in examples):
        raise DataError(
            f"{where} must be split by its times or by its parts", "both", "leave out --time-column or --split-column"
        )
    ordered = sorted(times)
    borders = {time: at for at, time in reversed(list(enumerate(ordered))) if at}
    borders = {time: at for time, at in borders.items() if ordered[at - 1] < time}
    if not borders:
        raise DataError(f"times of {where} must differ", f"one in all {len(times):,} rows", "leave out --time-column")
    enough = len(times) * (1 - TEST_SHARE)
    border = min(borders, key=lambda time: abs(borders[time] - enough))
    split = [
        replace(example, split="test" if time >= border else "train")
        for example, time in zip(examples, times, strict=True)
    ]
    share = (len(times) - borders[border]) / len(times)
    since = next(iter(sorted(time for time in times if time >= border)))
    return split, f"The newest {share:.0%} of the examples, from time {_shown(since)} on, are the test part."


def _shown(time: float) -> str:
    if abs(time) < 1e8:
        return f"{time:g}"
    try:
        return datetime.fromtimestamp(time, UTC).isoformat(sep=" ").removesuffix("+00:00").removesuffix(" 00:00:00")
    except (OverflowError, ValueError, OSError):
        return f"{time:g}"
