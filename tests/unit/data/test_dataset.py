"""A dataset's own questions: class ids, and examples that are read a second time."""

from __future__ import annotations

import pytest

from headstart.base.errors import DataError
from headstart.data.dataset import BadExample, Dataset, Example

ROWS = {0: b"one", 1: b"two", 2: b"three"}


def numbers() -> Dataset:
    examples = tuple(Example(f"{at}.txt", "even" if at % 2 else "odd") for at in ROWS)
    return Dataset("numbers", "text", examples, ("even", "odd"), ROWS.__getitem__)


def test_class_ids_stand_in_the_order_of_the_positions() -> None:
    assert numbers().class_ids((1, 0, 2)).tolist() == [0, 1, 1]
    assert numbers().class_ids(()).shape == (0,)


def test_what_could_be_read_before_is_prepared_again() -> None:
    assert numbers().reread(2, len) == 5


def test_what_has_gone_since_is_named() -> None:
    def gone(data: bytes) -> int:
        raise BadExample("truncated")

    with pytest.raises(DataError, match=r"1\.txt must be readable again; found truncated"):
        numbers().reread(1, gone)
