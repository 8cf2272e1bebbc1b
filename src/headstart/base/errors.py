"""The errors a user can mend, each one line: what must hold, what was received, what to do; and common checks."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

ESCAPED = ("Cc", "Cf", "Cs", "Zl", "Zp")  # Unicode categories of characters that a terminal does not show as such


def one_line(text: object, limit: int = 400) -> str:
    """Return `text` as one printable line, safe for a terminal, a log and a page.

    Control and format characters, lone surrogates and line breaks are written as escapes, so that a hostile
    file name or label can neither break a line nor drive a terminal.
    """
    shown = "".join(
        char.encode("unicode_escape").decode("ascii") if unicodedata.category(char) in ESCAPED else char
        for char in str(text)
    )
    return shown if len(shown) <= limit else f"{shown[: limit - 1]}…"


def printable(text: str) -> str:
    """Return `text` with its lines and tabs, and everything else that could drive a terminal as escapes."""
    if text.isprintable():
        return text
    return "".join(char if char in "\n\t" else one_line(char) for char in text)


def counted(number: int, singular: str, plural: str) -> str:
    """Return a number with what it counts, as in "1 file is" and "2 files are"."""
    return f"{number:,} {singular if number == 1 else plural}"


def list_some(names: Iterable[object], limit: int = 3, *, separator: str = ", ") -> str:
    """Return the first `limit` names on one line, and how many more there are ("a, b, c and 4 more")."""
    shown = [one_line(name, 120) for name in names]
    more = f" and {len(shown) - limit:,} more" if len(shown) > limit else ""
    return separator.join(shown[:limit]) + more


class HeadstartError(Exception):
    """Base of every error that this package raises on purpose."""


class UsageError(HeadstartError, ValueError):
    """Something the user can mend; the command line shows it as one line and exits with code 2.

    Args:
        must: what must hold, as a clause ("DATA must exist").
        received: what was found instead.
        remedy: what to do about it.
    """

    def __init__(self, must: str, received: object, remedy: str) -> None:
        self.must, self.received, self.remedy = must, received, remedy
        super().__init__(f"{one_line(must)}; found {one_line(received)}; {one_line(remedy)}")

    def __reduce__(self) -> tuple[type, tuple[str, object, str]]:
        return type(self), (self.must, self.received, self.remedy)


class DataError(UsageError):
    """The data set, or too much of it, cannot be used as it is."""


class SourceError(UsageError):
    """A source is unknown, unsound, or does not fit what is asked of it."""


class BundleError(UsageError):
    """A bundle is damaged, from the future, or holds what it must not."""


class HeadstartWarning(UserWarning):
    """What the user of a result must know of it; the command line prints it as a note."""


class MissingExtra(UsageError, ImportError):
    """An optional dependency is not installed; the message holds the pip command."""

    extra: str | None = None
    """The extra of this package that brings it, if one does."""


@contextmanager
def refusing(refuse: Callable[[str], UsageError]) -> Iterator[None]:
    """Let whatever a library raises about a foreign file end in the error that `refuse` makes of the reason.

    Libraries state no family of errors for a file that is not what it says it is, and raise nearly all of them. What
    the user can mend, and a library that is absent, pass as they are.
    """
    try:
        yield
    except (UsageError, ImportError):
        raise
    except Exception as error:
        raise refuse(str(error).strip() or type(error).__name__) from error


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """Return ", did you mean 'x'?" for the closest option, or an empty string when none is close.

    Options that differ in nothing but case, spaces or Unicode form come first, and what differs is said.
    """
    allowed = list(options)
    for option in allowed:
        if difference := _small_difference(name, option):
            return f", did you mean {option!r}, which differs in {difference}?"
    close = difflib.get_close_matches(name, allowed, n=1, cutoff=0.6)
    return f", did you mean {close[0]!r}?" if close else ""


_PLAIN: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("the Unicode form of its letters", lambda text: unicodedata.normalize("NFKC", text)),
    ("case", str.casefold),
    ("spaces", lambda text: "".join(text.split())),
    ("marks between words", lambda text: text.replace("-", "").replace("_", "")),
)
"""What a reader may not see that two names differ in, and what takes it away."""


def _small_difference(name: str, second: str) -> str:
    """Return what two names differ in, where that is in `_PLAIN` alone; else, and for equal names, an empty string."""

    def plainly(text: str, but: str = "") -> str:
        for what, plain in _PLAIN:
            text = text if what == but else plain(text)
        return text

    if name == second or plainly(name) != plainly(second):
        return ""
    needed = [what for what, _ in _PLAIN if plainly(name, but=what) != plainly(second, but=what)]
    return " and ".join(needed) or _PLAIN[0][0]


def check_choice(what: str, value: str, options: Iterable[str]) -> str:
    """Return `value` when it is one of `options`, else raise UsageError, which lists them and names the closest."""
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
