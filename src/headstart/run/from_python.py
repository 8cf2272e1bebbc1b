"""What a command is as a Python function: its docstring, where its progress and warnings go, and what messages name."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, TypeVar

from headstart.base.arguments import as_arguments, naming_arguments
from headstart.base.errors import HeadstartWarning
from headstart.run.option_model import Options, flag_of, metadata_of

F = TypeVar("F", bound=Callable[..., Any])


def vocabulary(options: type[Options]) -> tuple[dict[str, str], frozenset[str]]:
    """Return the arguments by their flags, and the words that are values, as `as_arguments` takes them."""
    arguments: dict[str, str] = {}
    words: set[str] = set()
    for name, field in options.model_fields.items():
        flag, more = flag_of(name, field).removeprefix("--"), metadata_of(field)
        arguments[flag] = name
        words |= {*more.get("choices", ()), *more.get("values", ()), *([flag] if field.default is False else [])}
    return arguments, frozenset(words)


def from_python(options: type[Options]) -> Callable[[F], F]:
    """Return a decorator that makes a Python function of a command.

    The sentences of `options` are written into its docstring, under `Args`, and what it raises names its arguments
    where the command line names flags.
    """
    arguments, words = vocabulary(options)

    def decorate(function: F) -> F:
        fields = options.model_fields.items()
        sentences = "\n".join(f"        {name}: {field.description}" for name, field in fields)
        function.__doc__ = (function.__doc__ or "").replace("        OPTIONS", sentences)

        @wraps(function)
        def call(*positional: Any, **named: Any) -> Any:
            with naming_arguments(arguments, words):
                return function(*positional, **named)

        return call  # type: ignore[return-value]

    return decorate


def warn(notes: Iterable[str], options: type[Options]) -> None:
    """Issue each note as a HeadstartWarning at the caller's line, the first one that is not in this package."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("headstart."):
        frame, level = frame.f_back, level + 1
    for note in notes:
        warnings.warn(as_arguments(note, *vocabulary(options)), HeadstartWarning, stacklevel=level)
