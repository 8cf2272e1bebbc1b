"""Messages for callers from Python: where a message names flags of the command line, they read the arguments."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar

from headstart.base.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])

_FLAG = re.compile(
    r"(?P<command>headstart [a-z]+ [^;,)`]*)"  # stays a command
    r"|(?<![\w'\"/-])--(?P<no>no-)?(?P<flag>[a-z]+(?:-[a-z]+)*)"
    r"(?P<value>[= ](?:'[^']*'|\"[^\"]*\"|[^\s,;)]*[^\s,;:.)]))?"
)
_VALUE = re.compile(r"[A-Z][A-Z:/_]*|-?\d\S*|['\"].*|\w+:\S+")
"""What is a value wherever it stands behind a flag: a metavar, a number, a quoted text, a mode or a URI."""
_COLUMN, COLUMNS = "-column", "columns"
"""The end of the flags that name a column, and the argument that holds all of their names."""
FLAGS = {"long": "long-texts"}
"""The flags of arguments that are called otherwise."""


def as_arguments(text: str, arguments: Mapping[str, str], words: Collection[str] = ()) -> str:
    """Return a message with arguments in place of flags: "use --tune none" becomes "use tune='none'".

    Args:
        arguments: the name of each argument, by the name of its flag without hyphens in front.
        words: what is a value behind a flag as well; any word is where `=` stands between. A flag that has no value is
            `True` where it is among them.
    """

    def replaced(match: re.Match[str]) -> str:
        flag = match["flag"] or ""
        name = arguments.get(flag)
        of_column = name is None and flag.endswith(_COLUMN) and COLUMNS in arguments
        if match["command"] or not (name or of_column):
            return match[0]
        value, rest = (match["value"] or "")[1:], match["value"] or ""
        if match["no"]:
            return f"{name}=False{rest}"
        stated = rest.startswith("=") or value in words or bool(_VALUE.fullmatch(value))
        plain = value.isupper() or value[:1] in "'\"" or value.replace(".", "").isdigit()
        shown = (value if plain else repr(value)) if stated else ""
        rest = "" if stated else rest
        if of_column:
            return f"{arguments[COLUMNS]}={{{flag.removesuffix(_COLUMN)!r}: {shown or 'NAME'}}}{rest}"
        return f"{name}={shown or ('True' if flag in words else '')}{rest}"

    return _FLAG.sub(replaced, text)


@contextmanager
def naming_arguments(arguments: Mapping[str, str], words: Collection[str] = ()) -> Iterator[None]:
    """Let every UsageError out of the block name arguments in place of flags, as `as_arguments` does."""
    try:
        yield
    except UsageError as error:
        must, received, remedy = (
            as_arguments(str(part), arguments, words) for part in (error.must, error.received, error.remedy)
        )
        UsageError.__init__(error, must, received, remedy)
        raise


def naming_own_arguments(function: F) -> F:
    """Let a function that the command line calls, too, name its arguments to callers outside this package."""
    parameters = inspect.signature(function).parameters.values()
    arguments = {FLAGS.get(one.name, one.name.replace("_", "-")): one.name for one in parameters}
    words = {one.name.replace("_", "-") for one in parameters if one.default is False}

    @wraps(function)
    def call(*positional: Any, **named: Any) -> Any:
        if sys._getframe(1).f_globals.get("__name__", "").startswith("headstart."):
            return function(*positional, **named)
        with naming_arguments(arguments, words):
            return function(*positional, **named)

    return call  # type: ignore[return-value]
