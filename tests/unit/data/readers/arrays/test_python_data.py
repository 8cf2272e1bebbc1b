"""Tables that Python holds give the example of each row; what is no table is left alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest

from headstart.base.errors import DataError
from headstart.data.readers.arrays.python_data import examples_of_table, from_python

TEXTS = ["a fine film", "so dire a day", None]


@dataclass
class Review:
    review: str | None
    stars: int


class Frame:
    """A frame as pandas makes one, as far as it is looked at."""

    iloc = None
    columns: ClassVar = ["review", "stars"]

    def __getitem__(self, name: str) -> list[Any]:
        return TEXTS if name == "review" else [1, 2, 3]


@pytest.mark.parametrize(
    "table",
    [
        Frame(),
        {"review": TEXTS, "stars": [1, 2, 3]},
        [{"review": text, "stars": at} for at, text in enumerate(TEXTS)],
        [Review(text, at) for at, text in enumerate(TEXTS)],
    ],
    ids=["frame", "columns", "records", "dataclasses"],
)
def test_every_form_of_a_table_gives_its_rows(table: Any) -> None:
    assert examples_of_table(table, kind="text") == TEXTS
    assert examples_of_table(table, remembered={"text": ("review",), "label": ("stars",)}, kind="text") == TEXTS


def test_columns_that_were_joined_are_joined_again() -> None:
    table = {"title": ["One", "Two"], "body": ["first words", None], "label": [0, 1]}
    joined = examples_of_table(table, remembered={"text": ("title", "body")}, kind="text")
    assert joined == ["One\nfirst words", "Two"]


@pytest.mark.parametrize(
    "items",
    [
        "a text",
        TEXTS[:2],
        np.zeros((2, 8, 8)),
        {"array": np.zeros(9), "sampling_rate": 8000},
        [{"array": np.zeros(9), "sampling_rate": 8000}],
        [{"bytes": b"x", "path": None}],
        [],
    ],
    ids=["text", "texts", "arrays", "recording", "recordings", "pictures", "nothing"],
)
def test_what_is_no_table_is_left_alone(items: Any) -> None:
    assert examples_of_table(items) is None


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"review": TEXTS, "stars": [1]}, "equally many cells; found 3 in 'review', 1 in 'stars'"),
        ({"a": [1, 2]}, "texts"),
    ],
)
def test_a_table_without_examples_is_an_error(table: Any, says: str) -> None:
    with pytest.raises(DataError, match=says):
        examples_of_table(table, kind="text")


@pytest.mark.parametrize("data", [np.zeros(()), np.float32(1), "text"])
def test_a_single_value_is_no_data(data: Any) -> None:
    with pytest.raises(DataError, match="in Python examples with labels"):
        from_python(data)
