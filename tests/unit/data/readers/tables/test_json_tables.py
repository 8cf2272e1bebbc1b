"""Tables in JSON come in many forms; each is told by its structure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from headstart.base.errors import DataError
from headstart.data.readers.open import open_dataset
from headstart.data.readers.tables.json_tables import holds_lists, read_json
from headstart.data.readers.tables.read import read_table

TEXTS = ["a fine film", "a dire day", "so fine", "so dire"]
LABELS = ["good", "bad", "good", "bad"]
ROWS = [{"text": text, "label": label} for text, label in zip(TEXTS, LABELS, strict=True)]
LABELLED = (("fine", "pos"), ("dire", "neg"))
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


def test_a_key_that_a_row_lacks_is_an_empty_cell_and_objects_are_columns() -> None:
    table = read_json('[{"a": 1, "l": {"id": 7, "name": {"en": "cat"}}}, {"b": [{"c": 2}]}]', "x.json")
    assert table.names == ("a", "l.id", "l.name.en", "b.c")
    assert [list(table.cells(at)) for at in range(4)] == [[1, None], [7, None], ["cat", None], [None, 2]]
    assert (table.unit, table.place(1)) == ("row", "x.json, row 1")


def test_lines_keep_their_numbers_over_blank_ones() -> None:
    table = read_json('{"a": 1}\n\n{"a": 2}\n', "x.jsonl")
    assert (list(table.cells(0)), table.place(1)) == ([1, 2], "x.jsonl, line 3")
    with pytest.raises(DataError, match=r"x\.jsonl, line 3 must be a JSON object; found .*write one object a line"):
        read_json('{"a": 1}\n\n{"a": \n', "x.jsonl")
    with pytest.raises(DataError, match=r"x\.jsonl, line 2 must be a JSON object; found int"):
        read_json('{"a": 1}\n5\n', "x.jsonl")


def test_rows_of_cells_take_a_header_names_or_numbers() -> None:
    body = '["film one", "good"], ["film two", "bad"], ["film three", "good"], ["film four", "bad"]'
    header = read_json(f'[["text", "label"], {body}]', "x.json")
    assert (header.names, header.has_header, header.place(0)) == (("text", "label"), True, "x.json, row 1")
    named = read_json(f"[{body}]", "x.json", names=["review", "mood"])
    assert (named.names, named.has_header, named.place(0)) == (("review", "mood"), False, "x.json, row 0")
    assert read_json(f"[{body}]", "x.json", known=[["a", "b"]]).names == ("a", "b")
    assert [len(table) for table in (header, named)] == [4, 4]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[["a", "b"], ["c"]]', "every row of x.json must have equally many cells"),
        ('[["text", "label"]]', "x.json must hold rows; found none"),
        ("[]", "x.json must hold rows; found none"),
        ("[1, 2]", "x.json, row 0 must be a JSON object; found int"),
        ('[{"a": 1}, [2]]', "x.json, row 1 must be a JSON object; found list"),
        ("[" * 100_000, "x.json, line 1 must be a JSON object"),
    ],
)
def test_rows_that_are_none_are_named(text: str, says: str) -> None:
    with pytest.raises(DataError) as failure:
        read_json(text, "x.json")
    assert str(failure.value).startswith(says)


def test_annotations_whose_ids_lead_nowhere_are_refused_and_a_picture_without_any_has_no_label() -> None:
    coco: dict[str, Any] = {
        "images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}],
        "annotations": [{"image_id": 1, "category_id": 5}],
        "categories": [{"id": 5, "name": "cat"}],
    }
    assert columns(coco) == {"path": ["a.jpg", "b.jpg"], "label": [["cat"], None]}
    coco["annotations"][0]["category_id"] = 6
    with pytest.raises(DataError, match="by ids that are there; found KeyError 6; write a table instead"):
        columns(coco)


def test_few_plain_values_are_one_row_or_settings_and_many_are_files_with_labels() -> None:
    assert columns({"seed": 1, "rate": 0.5}) == {"seed": [1], "rate": [0.5]}
    with pytest.raises(DataError, match=r"x\.json, line 1 must be a JSON object"):
        read_json('{\n"seed": 1,\n"rate": 0.5}', "x.json")
    assert columns({f"{at}.jpg": "cat" for at in range(4)})["value"] == ["cat"] * 4


@pytest.mark.parametrize(
    ("text", "lists"),
    [("[[1]]", True), (" [\n[1, 2],\n[3, 4]]", True), ("[[1]", False), ('[{"a": 1}]', False), ("a", False)],
)
def test_lists_in_a_list_are_json_only_where_they_are_whole(text: str, lists: bool) -> None:
    assert holds_lists(text) is lists


def label_studio(form: str) -> str:
    """Return what Label Studio exports of 12 texts: JSON, JSON-MIN or CSV."""
    texts = [(f"a {word} film number {at}", label) for at, (word, label) in enumerate([*LABELLED, *LABELLED] * 3)]
    when = [f"2026-01-02T10:{at:02}:00.123456Z" for at in range(12)]
    if form == "csv":
        header = "text,id,sentiment,annotator,annotation_id,created_at,updated_at,lead_time\n"
        rows = (
            f"{text},{at + 1},{label},1,{at + 9},{when[at]},{when[at]},{at}.5\n"
            for at, (text, label) in enumerate(texts)
        )
        return header + "".join(rows)
    if form == "min":
        kept = [
            {"text": text, "id": at + 1, "sentiment": label, "annotator": 1, "annotation_id": at + 9}
            | {"created_at": when[at], "updated_at": when[at], "lead_time": at + 0.5}
            for at, (text, label) in enumerate(texts)
        ]
        return json.dumps(kept)
    tasks = []
    for at, (text, label) in enumerate(texts):
        choice = {"value": {"choices": [label]}, "id": f"c{at}", "from_name": "sentiment", "to_name": "text"}
        result = [{**choice, "type": "choices", "origin": "manual"}]
        answer = {"id": at + 9, "completed_by": 1, "result": result, "was_cancelled": False, "lead_time": at + 0.5}
        tasks.append(
            {"id": at + 1, "annotations": [answer], "drafts": [], "predictions": [], "data": {"text": text}, "meta": {}}
            | {"created_at": when[at], "inner_id": at + 1, "total_annotations": 1, "project": 1}
        )
    return json.dumps(tasks)


@pytest.mark.parametrize("form", ["json", "min", "csv"])
def test_what_label_studio_exports_is_read_in_its_three_forms(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"export.{form.replace('min', 'json')}"
    path.write_text(label_studio(form))
    data = open_dataset(path)
    assert (len(data), data.kind, data.classes) == (12, "text", ("neg", "pos"))
    assert data.read(1) == b"a dire film number 1" and data.examples[1].label == "neg"
