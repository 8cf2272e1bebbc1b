"""Checks of arguments that many layers share."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from headstart.base.errors import UsageError


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """Return ", did you mean 'x'?" for the closest option, or an empty string when none is close."""
    close = difflib.get_close_matches(name, list(options), n=1, cutoff=0.6)
    return f", did you mean {close[0]!r}?" if close else ""


def one_of(what: str, given: str, options: Iterable[str]) -> str:
    """Return `given` when it is one of `options`.

    Raises:
        UsageError: it is not; the message lists the options and the closest.
    """
    allowed = list(options)
    if given not in allowed:
        raise UsageError(
            f"{what} must be one of {', '.join(allowed)}", repr(given), f"choose one{did_you_mean(given, allowed)}"
        )
    return given


def at_least(what: str, given: float, least: float) -> None:
    """Raise UsageError unless `given` is a number of at least `least`."""
    if not given >= least:
        raise UsageError(f"{what} must be at least {least:g}", repr(given), "give a larger number")
