"""Pictures handed over in Python."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from headstart.base.errors import DataError
from headstart.base.progress import Progress
from headstart.data.audit import scan
from headstart.data.readers.arrays.in_memory import from_items
from headstart.data.readers.open import open_dataset

GREY = np.arange(12, dtype=np.uint8).reshape(3, 4)


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def test_paths_bytes_pictures_and_arrays(tmp_path, fill):
    path = fill(tmp_path, {"a": 1}) / "a/0.jpg"
    colour = np.random.default_rng(0).integers(0, 255, (5, 6, 3), dtype=np.uint8)
    items = [path, str(path), path.read_bytes(), Image.fromarray(colour), colour, colour[:, ::-1], GREY]
    data = open_dataset((items, ["x", "y", "x", "y", "x", "y", "x"]))
    assert data.classes == ("x", "y")
    assert [example.id for example in data.examples[:3]] == [str(path), f"{path}#1", "item 2"]
    assert data.read(0) == data.read(1) == data.read(2)
    for at, wanted in ((3, colour), (4, colour), (5, colour[:, ::-1]), (6, GREY)):
        np.testing.assert_array_equal(pixels(data.read(at)), wanted)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK", "I", "F"])
def test_a_picture_in_memory_is_kept_exactly(mode):
    picture = Image.fromarray(GREY * 20).convert(mode)
    found = Image.open(io.BytesIO(from_items([picture]).read(0)))
    assert found.mode == mode
    np.testing.assert_array_equal(np.asarray(found), np.asarray(picture))


def test_the_orientation_of_an_opened_picture_is_kept():
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(GREY).save(file, "JPEG", exif=exif)
    data = from_items([Image.open(file)])
    assert Image.open(io.BytesIO(data.read(0))).getexif()[0x0112] == 6


def test_a_stack_of_pictures_and_labels_as_arrays():
    data = open_dataset((np.zeros((4, 8, 8, 3), dtype=np.uint8), np.array([0, 1, 0, 1])))
    assert (len(data), data.classes) == (4, ("0", "1"))


def test_labels_keep_their_spelling_and_missing_ones_are_skipped__TAB_02_TAB_03():
    labels = [1, 1.0, "1", "01", None, float("nan"), np.float32("nan"), ""]
    data = open_dataset(([b"x"] * 8, labels))
    assert data.classes == ("01", "1", "1.0")
    assert [item.reason for item in data.skipped] == ["no label"] * 4


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (np.zeros((4, 4, 2), np.uint8), "shape (4, 4, 2)"),
        (np.zeros(4, np.uint8), "shape (4,)"),
        (np.zeros((0, 4), np.uint8), "without pixels"),
        (3, "(int)"),
        (None, "(NoneType)"),
        ("no/such.jpg", "vanished"),
        ("a\0b.jpg", "NUL"),
        (b"", "empty"),
    ],
)
def test_what_is_no_picture_is_skipped_with_a_reason(item, reason):
    (skipped,) = scan(from_items([item]), progress=Progress()).dataset.skipped
    assert reason in skipped.reason


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (([b"x"], ["a", "b"]), "1 and 2"),
        (([], []), "none"),
        (([b"x", b"y"], ["a", "a"]), "at least two classes"),
        (([b"x"],), "a pair"),
        ([b"x"], "list"),
        (None, "NoneType"),
    ],
)
def test_pairs_that_cannot_be_used(data, says):
    with pytest.raises(DataError, match=says):
        open_dataset(data)


@pytest.mark.parametrize("data", [(None, None), (3, [1]), (["x.jpg"], 4.0), (np.array(1), np.array(2))])
def test_what_is_no_list_is_refused(data):
    with pytest.raises(DataError, match="items and labels must be lists or arrays"):
        open_dataset(data)
