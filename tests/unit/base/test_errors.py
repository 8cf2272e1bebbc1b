"""Errors are one line, whatever they quote."""

from __future__ import annotations

import pickle
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.base.errors import UsageError, check_at_least, check_choice, counted, did_you_mean, list_some, one_line


@given(st.text())
def test_one_line_is_one_printable_line(text: str) -> None:
    shown = one_line(text, limit=10_000)
    assert len(shown.splitlines()) <= 1
    assert not any(unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") for char in shown)
    shown.encode()


@pytest.mark.parametrize("text", ["\x1b[31mred", "a\nb", "\u202ereversed", "\ud800", "a\u2028b", "\x00"])
def test_one_line_escapes_what_could_drive_a_terminal(text: str) -> None:
    assert "\\" in one_line(text)


def test_the_first_names_and_how_many_more() -> None:
    assert list_some(["a", "b", "c"]) == "a, b, c" and list_some(iter("abcd")) == "a, b, c and 1 more"
    assert list_some(["a\nb"] * 2000, 1, separator="; ") == "a\\nb and 1,999 more" and list_some([]) == ""


def test_one_line_is_cut() -> None:
    assert one_line("x" * 1000, limit=10) == "x" * 9 + "…"


def test_an_error_says_what_must_hold_what_was_given_and_what_to_do() -> None:
    error = UsageError("DATA must exist", "no\nsuch", "name another")
    assert str(error) == "DATA must exist; found no\\nsuch; name another"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_did_you_mean() -> None:
    assert did_you_mean("opnvino", ["torch", "openvino"]) == ", did you mean 'openvino'?"
    assert did_you_mean("zzz", ["torch"]) == ""
    with pytest.raises(UsageError, match="must be one of a, b; found 'c'"):
        check_choice("--x", "c", ["a", "b"])
    with pytest.raises(UsageError, match="at least 2"):
        check_at_least("--n", float("nan"), 2)


@pytest.mark.parametrize(
    ("name", "option", "difference"),
    [
        ("Cat", "cat", "case"),
        ("cafe\u0301", "caf\u00e9", "the Unicode form of its letters"),
        ("cat ", "cat", "spaces"),
        ("New York", "new_york", "case and spaces and marks between words"),
    ],
)
def test_names_that_look_alike_are_told_apart(name: str, option: str, difference: str) -> None:
    assert did_you_mean(name, ["dog", option]) == f", did you mean {option!r}, which differs in {difference}?"
    assert did_you_mean(name, ["dog", name]) == f", did you mean {name!r}?"


def test_what_is_counted_is_in_the_singular_where_there_is_one() -> None:
    assert [counted(number, "file is", "files are") for number in (0, 1, 1200)] == [
        "0 files are",
        "1 file is",
        "1,200 files are",
    ]
