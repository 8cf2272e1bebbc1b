"""Pixels in cells: a column for each, or all in one; the square, the label and the rows that hold no picture."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headstart.base.errors import DataError
from headstart.data.dataset import Dataset
from headstart.data.readers.arrays.pixel_tables import from_pixel_tables, holds_pixels

PHOTOS = np.random.default_rng(0).integers(0, 256, (4, 8, 8))
NAMES = [f"pixel{at}" for at in range(64)]


def wide(mark: str = ",", *, labels: Any = "abab", header: bool = True, name: str = "label") -> bytes:
    rows = [[label, *map(str, photo.ravel())] for label, photo in zip(labels, PHOTOS, strict=True)]
    return "\n".join(mark.join(row) for row in ([[name, *NAMES]] if header else []) + rows).encode() + b"\n"


def packed(header: str = "emotion,pixels", last: str = "") -> bytes:
    rows = [f"{at % 2},{' '.join(map(str, photo.ravel()))}{last}" for at, photo in enumerate(PHOTOS)]
    return "\n".join([header, *rows]).encode() + b"\n"


def opened(*tables: bytes, label: str | None = None, labelled: bool = True) -> Dataset:
    names = [(f"t{at}.csv", data, None) for at, data in enumerate(tables)]
    return from_pixel_tables(names, name="toy", where="toy", label=label, labelled=labelled)


def pixels(data: Dataset) -> Any:
    return np.stack([np.asarray(Image.open(io.BytesIO(data.read(at)))) for at in range(len(data))])


@pytest.mark.parametrize("table", [wide(), wide(";"), wide("\t"), wide(header=False, labels="0101"), packed()])
def test_pictures_are_what_the_cells_say(table: bytes) -> None:
    assert holds_pixels(table)
    data = opened(table)
    assert (pixels(data) == PHOTOS).all() and len(data.classes) == 2


def test_rows_of_one_cell_that_are_damaged_are_lost_by_number() -> None:
    lines = packed().decode().splitlines()
    lines[2] = lines[2].rpartition(" ")[0]
    data = opened("\n".join(lines).encode())
    assert len(data) == 3 and [one.reason for one in data.skipped] == ["a pixel that is no whole number in 0..255"]
    assert (pixels(data) == PHOTOS[[0, 2, 3]]).all()


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda row: row + ",7", "another number of cells"),
        (lambda row: row.rpartition(",")[0], "another number of cells"),
        (lambda row: row.rpartition(",")[0] + ",256", "a pixel that is no whole number in 0..255"),
        (lambda row: row.rpartition(",")[0] + ",", "a pixel that is no whole number in 0..255"),
        (lambda row: row.rpartition(",")[0] + ",-1", "a pixel that is no whole number in 0..255"),
    ],
)
def test_a_damaged_row_is_lost_and_the_others_stay(spoil: Any, reason: str) -> None:
    lines = wide().decode().splitlines()
    lines[2] = spoil(lines[2])
    data = opened("\n".join(lines).encode())
    assert [one.reason for one in data.skipped] == [reason] and data.total == 4
    assert (pixels(data) == PHOTOS[[0, 2, 3]]).all()
    assert [one.label for one in data.examples] == ["a", "a", "b"]


def test_a_column_of_parts_splits_and_is_no_label() -> None:
    rows = packed("emotion,pixels,Usage").decode().splitlines()
    parts = ["Training", "Training", "PublicTest", "PrivateTest"]
    data = opened("\n".join([rows[0], *(f"{row},{part}" for row, part in zip(rows[1:], parts, strict=True))]).encode())
    assert [one.split for one in data.examples] == ["train", "train", "test", "test"]
    assert data.classes == ("0", "1")


def test_the_label_column_is_named_or_told() -> None:
    lines = wide(name="kind").decode().splitlines()
    both = "\n".join([f"id,{lines[0]}", *(f"k{at},{line}" for at, line in enumerate(lines[1:]))]).encode()
    assert opened(both, label="kind").classes == ("a", "b")
    with pytest.raises(DataError, match="one column of labels beside its pixels; found the columns id, kind; name it"):
        opened(both)
    assert opened(both.replace(b",kind,", b",Label,")).classes == ("a", "b")
    with pytest.raises(DataError, match="--label-column"):
        opened(both, label="absent")


def test_labels_of_numbers_are_no_pixels_even_where_they_look_alike() -> None:
    data = opened(wide(header=False, labels="0110"))
    assert [one.label for one in data.examples] == ["0", "1", "1", "0"]
    assert opened(wide(name="pixel_class", labels="0110"), label="pixel_class").classes == ("0", "1")


def test_without_labels_nothing_is_asked() -> None:
    bare = "\n".join(",".join(map(str, row)) for row in [NAMES, *PHOTOS.reshape(4, 64).tolist()]).encode()
    data = opened(bare, labelled=False)
    assert len(data) == 4 and data.classes == ()
    with pytest.raises(DataError, match="found the columns of pixels alone"):
        opened(bare)


def test_pixels_that_make_no_square_are_refused() -> None:
    rows = [",".join(["label", *NAMES[:60]]), *(",".join(["a", *map(str, range(60))]) for _ in range(3))]
    with pytest.raises(DataError, match=r"must be a square of whole numbers in 0\.\.255"):
        opened("\n".join(rows).encode())


@pytest.mark.parametrize(
    "head",
    [b"", b"text,label\n", b"text,label\na film,good\n", b"a,b\n" + b",".join([b"300"] * 70) + b"\n", b"a\n1 2 3 4\n"],
)
def test_other_tables_hold_no_pixels(head: bytes) -> None:
    assert not holds_pixels(head)
