"""What a command says to a caller from Python: arguments, not flags; notes as warnings at the caller's line."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

import headstart as hs
from headstart.base.errors import HeadstartWarning, UsageError
from headstart.run.from_python import from_python, vocabulary, warn
from headstart.run.option_model import Options, flag, option


class Toy(Options):
    count: int = option(3, "Run", "N", least=1)
    """How many. The default is 3."""
    sources: str | None = option(None, "Source", "URI", flag="--source", values=("auto",))
    """What. By default nothing."""
    quick: bool = flag("Run", flag="--fast")
    """Be quick. By default it is not."""


@from_python(Toy)
def count_up(**options: Any) -> Toy:
    """Count.

    Args:
        OPTIONS
    """
    toy = Toy(**options)
    warn(["--source auto counts --fast."], Toy)
    return toy


def test_what_is_raised_names_arguments() -> None:
    with pytest.raises(UsageError, match=r"^count= must be at least 1; found 0"):
        count_up(count=0)
    with pytest.raises(UsageError, match=r"count= must be a whole number|count= must be"):
        count_up(count="many")
    assert vocabulary(Toy) == ({"count": "count", "source": "sources", "fast": "quick"}, {"auto", "fast"})


def test_the_docstring_holds_the_sentences() -> None:
    assert count_up.__name__ == "count_up"
    assert "        count: How many. The default is 3.\n" in str(count_up.__doc__)


def test_notes_are_warnings_at_the_callers_line() -> None:
    with pytest.warns(HeadstartWarning, match="^sources='auto' counts quick=True.$") as caught:
        count_up()
    assert [Path(warning.filename) for warning in caught] == [Path(__file__)]
    with warnings.catch_warnings(record=True) as none:
        warnings.simplefilter("always")
        warn([], Toy)
    assert not none


@pytest.mark.parametrize(
    ("command", "options", "named"),
    [
        (hs.fit, {"labels_per_class": 1}, "labels_per_class= must be at least 2"),
        (hs.fit, {"budget": "soon"}, "budget= must be a time"),
        (hs.fit, {"tune": "last:x"}, "tune= must be one of"),
        (hs.fit, {"tune": "last:N"}, "tune='last:N' must have"),
        (hs.rank, {"labels_per_class": 1}, "labels_per_class= must be"),
        (hs.compare, {"labels_per_class": "few"}, "labels_per_class= must be"),
        (hs.pretrain, {"arch": "arch:resnet9", "epochs": 0}, "epochs= must be at least 1"),
    ],
)
def test_every_function_names_its_arguments(command: Any, options: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError) as caught:
        command("nowhere", **options)
    assert str(caught.value).startswith(named)
    assert "--" not in str(caught.value)
