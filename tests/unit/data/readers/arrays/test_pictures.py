"""Arrays as people hold them: where the channels are, what white is, and labels in any form, with no guess."""

from __future__ import annotations

import io
from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headstart.base.errors import DataError
from headstart.data.dataset import BadExample
from headstart.data.readers.arrays.pictures import (
    ArrayPictures,
    as_array,
    channel_axis,
    is_row,
    picture_bytes,
    pictures_of,
    plain_labels,
    row_of,
)

ONE = np.arange(2 * 5 * 3, dtype=np.uint8).reshape(2, 5, 3)


class Tensor:
    """What tensors of other libraries offer: they must be detached and brought home before numpy sees them."""

    def __init__(self, array: Any, *, at_home: bool = False) -> None:
        self.array, self.at_home = np.asarray(array), at_home
        self.shape, self.dtype = self.array.shape, self.array.dtype

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("bring it home first")

    def detach(self) -> Tensor:
        return self

    def cpu(self) -> Tensor:
        return Tensor(self.array, at_home=True)

    def numpy(self) -> Any:
        assert self.at_home
        return self.array


def test_a_tensor_of_any_library_is_an_array_and_nothing_else_is() -> None:
    assert (as_array(Tensor(ONE)) == ONE).all() and as_array(ONE) is ONE
    assert [as_array(item) for item in ("a", b"a", [1, 2], None, 3)] == [None] * 5


@pytest.mark.parametrize(
    ("shape", "axis"), [((8, 9), 2), ((8, 9, 3), 2), ((8, 9, 4), 2), ((8, 9, 1), 2), ((3, 8, 9), 0)]
)
def test_the_axis_of_the_channels_is_the_small_one(shape: tuple[int, ...], axis: int) -> None:
    assert channel_axis(shape) == axis


@pytest.mark.parametrize(
    ("shape", "says"), [((3, 8, 3), "it could be two"), ((8, 9, 7), "must be (n, height"), ((8,), "must be")]
)
def test_an_axis_that_nobody_can_tell_is_an_error(shape: tuple[int, ...], says: str) -> None:
    with pytest.raises(DataError) as failure:
        channel_axis(shape)
    assert says in str(failure.value)


def test_channels_come_last_whatever_came_in() -> None:
    first = pictures_of(ONE.transpose(2, 0, 1)[None])
    last = pictures_of(ONE[None])
    grey = pictures_of(ONE[None, :, :, :1])
    assert (first[0] == ONE).all() and (last[0] == ONE).all() and (grey[0] == ONE[..., 0]).all()
    assert (pictures_of(ONE)[0] == ONE).all() and len(pictures_of(ONE)) == 1
    assert (pictures_of(ONE[..., 0])[0] == ONE[..., 0]).all()


def test_rows_of_labels_tell_that_three_axes_are_many_grey_pictures() -> None:
    stack = np.zeros((6, 5, 3), np.uint8)
    assert len(pictures_of(stack)) == 1
    assert len(pictures_of(stack, rows=6)) == 6
    with pytest.raises(DataError, match=r"found \(3, 5, 3\), which could be either; give x\[None\]"):
        pictures_of(stack[:3])


@pytest.mark.parametrize(
    ("white", "dtype", "shown"),
    [
        (1.0, float, 255),
        (0.5, np.float32, 128),
        (255.0, float, 255),
        (200, np.int64, 200),
        (1, np.uint8, 1),
        (True, bool, 255),
    ],
)
def test_white_is_told_by_the_range_of_the_whole_set(white: Any, dtype: Any, shown: int) -> None:
    array = np.zeros((2, 4, 4), dtype)
    array[1, 0, 0] = white
    picture = pictures_of(array, rows=2)[1]
    assert picture.dtype == np.uint8 and picture[0, 0] == shown and picture[1, 1] == 0


def test_whole_numbers_beyond_a_byte_keep_their_depth() -> None:
    picture = pictures_of(np.full((1, 4, 4), 40_000), rows=1)[0]
    assert picture.dtype == np.uint16 and picture[0, 0] == 40_000


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.full((1, 4, 4), -1.0), "finite and not negative; found values in -1..-1"),
        (np.full((1, 4, 4), np.nan), "finite and not negative"),
        (np.full((1, 4, 4), 5.0), "in 0..1 or in 0..255; found values in 5..5"),
        (np.full((1, 4, 4), 300.0), "in 0..1 or in 0..255"),
        (np.full((1, 4, 4), "a"), "must hold numbers"),
        (np.zeros(4), "found one of shape (4,); reshape it"),
        (np.zeros((1, 1, 1, 1, 1)), "found one of shape (1, 1, 1, 1, 1)"),
    ],
)
def test_a_range_or_shape_that_tells_nothing_is_an_error(array: Any, says: str) -> None:
    with pytest.raises(DataError) as failure:
        pictures_of(array, rows=1)
    assert says in str(failure.value)


def test_a_picture_that_is_none_is_lost_alone() -> None:
    pictures = ArrayPictures([ONE, np.zeros((0, 4), np.uint8), np.zeros((2, 4, 7), np.uint8)])
    assert (pictures[0] == ONE).all() and len(pictures) == 3
    for at, reason in ((1, "an array without pixels"), (2, r"an array of shape \(2, 4, 7\)")):
        with pytest.raises(BadExample, match=reason):
            pictures[at]


@pytest.mark.parametrize("array", [ONE, ONE[..., 0], np.dstack([ONE, ONE[..., :1]])], ids=["rgb", "grey", "rgba"])
def test_bytes_of_a_picture_lose_nothing(array: Any) -> None:
    assert (np.asarray(Image.open(io.BytesIO(picture_bytes(array)))) == array).all()


def test_bytes_of_a_deep_picture_are_those_of_pnm() -> None:
    deep = np.array([[1, 65535]], np.uint16)
    assert picture_bytes(deep) == b"P5 2 1 65535\n\0\x01\xff\xff"
    colour = np.array([[[1, 2, 3, 4]]], np.uint16)
    assert picture_bytes(colour) == b"P6 1 1 65535\n\0\x01\0\x02\0\x03"
    with pytest.raises(BadExample, match=r"an array of shape \(2, 2, 2\)"):
        picture_bytes(np.zeros((2, 2, 2), np.uint8))


@pytest.mark.parametrize(
    ("labels", "plain"),
    [
        (["a", "b"], ["a", "b"]),
        (np.array([[3], [4]]), [3, 4]),
        (np.array([1.0, np.nan, 2.0]), [1, None, 2]),
        (np.array([[0, 1], [1, 0]]), [1, 0]),
        ([[1, 0, 0], [0, 0, 1]], [0, 2]),
        ([[5], [6]], [5, 6]),
        ([np.array(7), Tensor([8])], [7, 8]),
        ((label for label in "ab"), ["a", "b"]),
        (Tensor(np.array([0, 1])), [0, 1]),
    ],
)
def test_labels_of_every_form_are_plain(labels: Any, plain: list[Any]) -> None:
    assert plain_labels(labels) == plain


def test_floats_that_are_no_whole_numbers_stay() -> None:
    assert plain_labels(np.array([0.5, 1.0])) == [0.5, 1.0]


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (np.array([[1, 1], [1, 0]]), "found rows of several ones or none"),
        (np.array([[0, 0], [1, 0]]), "found rows of several ones or none"),
        (np.array([[0.2, 0.8], [0.5, 0.5]]), "found an array of float64 of shape (2, 2)"),
        (np.zeros((2, 2, 2)), "labels must be a list"),
        ([["a"], ["a", "b"]], "every example must have one label; found lists of several"),
        ([["a", "b"], ["c", "d"]], "labels in columns must be one-hot"),
        ([(None, [])], "every example must have one label; found lists of several"),
    ],
)
def test_several_labels_are_an_error(labels: Any, says: str) -> None:
    with pytest.raises(DataError) as failure:
        plain_labels(labels)
    assert says in str(failure.value)


def test_records_of_every_kind_are_rows() -> None:
    @dataclass
    class Held:
        text: str
        label: int

    Named = namedtuple("Named", ("text", "label"))
    for row in ({"text": "a", "label": 1}, Named("a", 1), Held("a", 1)):
        assert is_row(row) and row_of(row) == {"text": "a", "label": 1}
    assert not any(is_row(item) for item in ("a", ("a", 1), ["a"], 1))
