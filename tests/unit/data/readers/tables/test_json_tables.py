"""Tables in JSON come in many forms; each is told by its structure."""

from __future__ import annotations

import json
from typing import Any

import pytest

from headstart.base.errors import DataError
from headstart.data.readers.tables.read import read_table

TEXTS = ["a fine film", "a dire day", "so fine", "so dire"]
LABELS = ["good", "bad", "good", "bad"]
ROWS = [{"text": text, "label": label} for text, label in zip(TEXTS, LABELS, strict=True)]
CELLS = [[text, label] for text, label in zip(TEXTS, LABELS, strict=True)]


def columns(value: Any) -> dict[str, list[Any]]:
    table = read_table(json.dumps(value).encode(), "x.json")
    return {name: list(table.cells(at)) for at, name in enumerate(table.names)}


@pytest.mark.parametrize(
    "value",
    [
        ROWS,
        {"text": TEXTS, "label": LABELS},
        {"text": {str(at): text for at, text in enumerate(TEXTS)}, "label": dict(zip("0123", LABELS, strict=True))},
        {str(at): row for at, row in enumerate(ROWS)},
        {f"r{at}": row for at, row in enumerate(ROWS)},
        {"columns": ["text", "label"], "index": [0, 1, 2, 3], "data": CELLS},
        [["text", "label"], *CELLS],
        {"version": "1", "data": ROWS},
        {"meta": {"made": 1}, "inner": {"rows": ROWS}},
        [{"text": text, "label": [label]} for text, label in CELLS],
    ],
    ids=["rows", "columns", "pandas", "index", "keys", "split", "cells", "wrapped", "deep", "lists"],
)
def test_every_orientation_is_the_same_table(value: Any) -> None:
    found = columns(value)
    assert found["text"] == TEXTS
    assert [label[0] if isinstance(label, list) else label for label in found["label"]] == LABELS


def test_rows_under_the_names_of_parts_say_their_part() -> None:
    found = columns({"train": ROWS[:3], "test": ROWS[3:]})
    assert found["split"] == ["train"] * 3 + ["test"] and found["text"] == TEXTS
    found = columns({"train": CELLS * 4, "test": CELLS})
    assert found["column3"] == ["train"] * 16 + ["test"] * 4 and found["column1"] == TEXTS * 5


def test_files_with_their_labels_and_lists_of_one_object() -> None:
    labels = {f"{at}.png": "cat" if at % 2 else "dog" for at in range(6)}
    assert columns(labels) == {"key": list(labels), "value": list(labels.values())}
    nested = [{"data": {"text": text}, "annotations": [{"value": {"choices": [label]}}]} for text, label in CELLS]
    assert columns(nested) == {"data.text": TEXTS, "annotations.value.choices": [[label] for label in LABELS]}


def test_annotations_of_pictures_give_each_category_once() -> None:
    value = {
        "images": [{"id": at, "file_name": f"{at}.jpg"} for at in range(3)],
        "annotations": [{"image_id": at, "category_id": category} for at, category in ((0, 7), (0, 7), (1, 7), (1, 9))],
        "categories": [{"id": 7, "name": "cat"}, {"id": 9, "name": "dog"}],
    }
    assert columns(value) == {"path": ["0.jpg", "1.jpg", "2.jpg"], "label": [["cat"], ["cat", "dog"], None]}
    value["annotations"][0]["category_id"] = 8
    with pytest.raises(DataError, match="name images and categories by ids that are there; found KeyError 8"):
        columns(value)


@pytest.mark.parametrize(
    ("value", "says"), [([["a"], ["b", "c"]], "equally many cells"), ([], "hold rows"), ([["text", "label"]], "rows")]
)
def test_what_is_no_table_is_said(value: Any, says: str) -> None:
    with pytest.raises(DataError, match=says):
        columns(value)
