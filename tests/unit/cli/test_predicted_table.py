"""Predictions beside the rows of a table: every row comes out, in its order, whatever it is."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from headstart.cli.predicted_table import predicted_columns, write_predicted
from headstart.data.readers.open import open_inputs
from headstart.judge.prediction import Predictions

MODEL: Any = SimpleNamespace(classes=("minus", "plus"))


def predicted(*inputs: Path, every_class: bool = False) -> tuple[Any, dict[str, list[Any]]]:
    data = open_inputs(inputs, kind="text")
    ids = tuple(example.id for example in data.examples)
    shares = np.array([[0.25, 0.75], [1, 0]], np.float32)[np.arange(len(ids)) % 2]
    assert data.table is not None
    predictions = Predictions(ids, shares, data.skipped, rows=data.table)
    return data.table, predicted_columns(MODEL, predictions, every_class=every_class)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "in.csv"
    path.write_text('id,text,gain\n7,"=good, words\nindeed",-1.5\n3,,+2\n9,\x1b[31mbad words,0\n')
    return path


def test_rows_stay_and_cells_are_safe__TAB_12(table: Path) -> None:
    rows, added = predicted(table, every_class=True)
    written = list(csv.reader(io.StringIO(write_predicted(rows, added, Path("out.csv")).decode())))
    assert written == [
        ["id", "text", "gain", "label", "probability", "p(minus)", "p(plus)", "reason"],
        ["7", "'=good, words\nindeed", "-1.5", "plus", "0.75", "0.25", "0.75", ""],
        ["3", "", "+2", "", "", "", "", "empty"],
        ["9", "\\x1b[31mbad words", "0", "minus", "1.0", "1.0", "0.0", ""],
    ]


def test_what_is_unlike_the_training_data_has_a_column(table: Path) -> None:
    data = open_inputs([table], kind="text")
    assert data.table is not None
    ids = tuple(example.id for example in data.examples)
    shares, novelty = np.full((2, 2), 0.5, np.float32), np.array([0.9, 1.1], np.float32)
    added = predicted_columns(
        MODEL, Predictions(ids, shares, data.skipped, rows=data.table, novelty=novelty), every_class=False
    )
    assert list(added) == ["label", "probability", "unlike", "reason"]
    assert added["unlike"] == [False, None, True]


def test_a_column_of_the_same_name_stays(table: Path) -> None:
    table.write_text("text,label\nsome words,plus\n")
    assert list(predicted(table)[1]) == ["predicted_label", "predicted_probability", "predicted_reason"]


@pytest.mark.parametrize("suffix", ["tsv", "jsonl", "parquet"])
def test_every_format_holds_the_same(table: Path, tmp_path: Path, suffix: str) -> None:
    rows, added = predicted(table)
    data = write_predicted(rows, added, Path(f"out.{suffix}"))
    if suffix == "parquet":
        labels = pq.read_table(io.BytesIO(data)).column("label").to_pylist()
    elif suffix == "jsonl":
        labels = [json.loads(line)["label"] for line in data.decode().splitlines()]
    else:
        labels = [row["label"] or None for row in csv.DictReader(io.StringIO(data.decode()), delimiter="\t")]
    assert labels == ["plus", None, "minus"]


def test_several_inputs_are_one_table_of_all_rows_and_files(table: Path, tmp_path: Path) -> None:
    other = tmp_path / "more.csv"
    other.write_text("text,shop\nmany words here,7\nmore words there,8\n")
    (tmp_path / "texts" / "deep").mkdir(parents=True)
    (tmp_path / "texts" / "deep" / "a.txt").write_text("a text in a file")
    (tmp_path / "lone.txt").write_text("another")
    inputs = (table, tmp_path / "lone.txt", other, tmp_path / "texts", table)
    rows, added = predicted(*inputs)
    written = list(csv.DictReader(io.StringIO(write_predicted(rows, added, Path("out.csv")).decode())))
    names = ["in.csv"] * 3 + ["lone.txt"] + ["more.csv"] * 2 + ["texts"] + ["in.csv"] * 3
    assert [Path(row["input"]).name for row in written] == names
    assert [row["id"] for row in written] == ["7", "3", "9", "", "", "", "", "7", "3", "9"]
    assert [row["path"] for row in written if row["path"]] == [
        str(tmp_path / "lone.txt"),
        str(tmp_path / "texts" / "deep" / "a.txt"),
    ]
    assert [row["shop"] for row in written if row["shop"]] == ["7", "8"]
    assert [row["reason"] for row in written] == ["", "empty", "", "", "", "", "", "", "empty", ""]
    assert all(bool(row["label"]) != bool(row["reason"]) for row in written)


def test_files_alone_have_a_row_each_and_broken_ones_their_reason(tmp_path: Path) -> None:
    for name, text in (("a.txt", "some words"), ("b.txt", "others")):
        (tmp_path / name).write_text(text)
    (tmp_path / "c.txt").symlink_to(tmp_path / "nothing")
    rows, added = predicted(tmp_path)
    written = list(csv.reader(io.StringIO(write_predicted(rows, added, Path("out.csv")).decode())))
    assert written[0] == ["path", "label", "probability", "reason"]
    assert [row[0] for row in written[1:]] == [str(tmp_path / name) for name in ("a.txt", "b.txt", "c.txt")]
    assert written[3][1:] == ["", "", "link to nothing"]
