"""Checks of arguments that many layers share."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from headstart.base.errors import UsageError


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """Return ", did you mean 'x'?" for the closest option, or an empty string when none is close."""
    close = difflib.get_close_matches(name, list(options), n=1, cutoff=0.6)
    return f", did you mean {close[0]!r}?" if close else ""


def check_choice(what: str, value: str, options: Iterable[str]) -> str:
    """Return `value` when it is one of `options`.

    Raises:
        UsageError: it is not; the message lists the options and names the closest.
    """
    allowed = list(options)
    if value not in allowed:
        raise UsageError(
            f"{what} must be one of {', '.join(allowed)}", repr(value), f"choose one{did_you_mean(value, allowed)}"
        )
    return value


def check_at_least(what: str, value: float, least: float) -> None:
    """Raise UsageError unless `value` is a number of at least `least`."""
    if not value >= least:
        raise UsageError(f"{what} must be at least {least:g}", repr(value), "give a larger number")
