"""What is kept when Ctrl-C comes: the clauses of whoever keeps something, the innermost first, and the way on."""

from __future__ import annotations

import pytest

from headstart.base.interrupts import keeping, kept


def test_what_is_kept_is_said_from_the_inside_out__DSK_11() -> None:
    assert kept() == "the same command goes on"
    with keeping(lambda: "the same command with --out runs/1 goes on"), keeping(lambda: ""):
        with keeping(lambda: "3 of 9 features are kept"):
            assert kept() == "3 of 9 features are kept; the same command with --out runs/1 goes on"
        assert kept() == "the same command with --out runs/1 goes on"
    assert kept() == "the same command goes on"


@pytest.mark.parametrize("kind", [KeyboardInterrupt, ImportError])
def test_what_is_raised_takes_it_along(kind: type[BaseException]) -> None:
    with pytest.raises(kind) as raised, keeping(lambda: ""), keeping(lambda: "2 runs are kept"):
        raise kind
    assert kept(raised.value) == "2 runs are kept; the same command goes on"
    assert kept(kind()) == "the same command goes on"
