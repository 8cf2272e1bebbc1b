"""How numbers are written on every page."""

from __future__ import annotations

import pytest

from headstart.judge.report import page


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0123, "12 ms"),
        (0.9996, "1.0 s"),
        (3.14, "3.1 s"),
        (61, "1 min 1 s"),
        (119.7, "2 min 0 s"),
        (3725, "1 h 2 min"),
    ],
)
def test_seconds(value: float, shown: str) -> None:
    assert page.seconds(value) == shown


def test_a_difference_has_its_sign_and_a_true_minus() -> None:
    assert [page.signed(value) for value in (1.25, -1.25, 0.0)] == ["+1.2", "\N{MINUS SIGN}1.2", "+0.0"]
    assert page.signed(-0.1234, 3) == "\N{MINUS SIGN}0.123"
