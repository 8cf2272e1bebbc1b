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
from headstart.model import Predictions

MODEL: Any = SimpleNamespace(classes=("minus", "plus"))


def predicted(table: Path, *, every_class: bool = False) -> tuple[Any, dict[str, list[Any]]]:
    data = open_inputs([table], kind="text")
    ids = tuple(example.id for example in data.examples)
    shares = np.array([[0.25, 0.75], [1, 0]], np.float32)[np.arange(len(ids)) % 2]
    predictions = Predictions(ids, shares, data.skipped, rows=data.table)
    assert data.table is not None
    return data.table, predicted_columns(MODEL, predictions, data.table, every_class=every_class)


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
