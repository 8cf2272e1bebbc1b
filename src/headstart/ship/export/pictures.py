"""Pictures as people have them, prepared in a graph as `predict` prepares them. Imports OpenVINO."""

from __future__ import annotations

import numpy as np

from headstart.data.images.preprocessing import Preprocessing
from headstart.engines.environment import without_telemetry
from headstart.ship.export.numbers import Node, axis, number, total, whole
from headstart.ship.export.resize import Axis, box_means, resized

with without_telemetry():
    from openvino import opset13 as ops

LUMA = (19595.0, 38470.0, 7471.0)
"""Of 65,536: how Pillow weighs red, green and blue in grey."""
ROUNDING = 32768.0
BACKWARD = ((3, 4, 7, 8), (2, 3, 6, 7))
"""The orientations in which a file stores rows, and columns, from their end."""
SIDE = 16  # boxes a side in which the simple baseline looks at a picture


def prepared(pictures: Node, stored: Node, preprocessing: Preprocessing) -> Node:
    """Return pictures as the network takes them, uint8 of shape (n, *preprocessing.shape).

    Args:
        pictures: uint8 (n, h, w, 3), RGB, upright, of any size.
        stored: float32 (3,), zeros but for what comes from a file. Height and width in pixels of the array: a JPEG that
            was decoded at a reduced scale may end in a part of one. And its orientation in EXIF, 1 to 8.
        preprocessing: how the source wants its pictures.
    """
    sides = ops.convert(ops.shape_of(pictures), "f32")
    pixels = [ops.gather(sides, whole(at), axis(0)) for at in (1, 2)]
    height, width, orientation = (ops.gather(stored, whole(at), axis(0)) for at in range(3))
    sides = [_in_part(*both) for both in zip(pixels, (height, width), strict=True)]
    backward = [_among(orientation, some) for some in BACKWARD]
    rows, columns = (
        _axis(*which, sides, preprocessing, at) for at, which in enumerate(zip(pixels, backward, strict=True))
    )
    planes = resized(pictures, rows, columns, ops.greater(orientation, number(4)), preprocessing.interpolation)
    if preprocessing.resize is not None and preprocessing.resize < max(preprocessing.size):
        planes = _padded(planes, [rows.kept, columns.kept], preprocessing)
    planes = ops.reshape(planes, whole(0, 3, *preprocessing.size), special_zero=True)
    if preprocessing.channels == "grey":
        weighted = ops.multiply(planes, ops.constant(np.array(LUMA, np.float32).reshape(1, 3, 1, 1)))
        sums = ops.add(total(weighted, 1), number(ROUNDING))
        planes = ops.floor(ops.multiply(sums, number(1 / 65536)))
    if preprocessing.channels == "bgr":
        planes = ops.gather(planes, whole(2, 1, 0), axis(1))
    return ops.convert(ops.transpose(planes, whole(0, 2, 3, 1)), "u8")


def pixel_numbers(pictures: Node, preprocessing: Preprocessing) -> Node:
    """Return prepared pictures, uint8 (n, h, w, c), averaged over boxes, float32 (n, 768) in 0..1."""
    planes = ops.transpose(ops.convert(pictures, "f32"), whole(0, 3, 1, 2))
    rows = ops.transpose(box_means(planes, preprocessing.size, SIDE), whole(0, 2, 3, 1))
    if preprocessing.shape[2] == 1:
        rows = ops.concat([rows] * 3, 3)
    return ops.divide(ops.reshape(rows, whole(0, SIDE * SIDE * 3), special_zero=True), number(255))


def _in_part(pixels: Node, side: Node) -> Node:
    """Return the side of a picture of which so many pixels are there, the last perhaps in part; else all of them."""
    fits = ops.logical_and(ops.less_equal(side, pixels), ops.greater(side, ops.subtract(pixels, number(1))))
    return ops.select(fits, side, pixels)


def _among(value: Node, some: tuple[int, ...]) -> Node:
    """Return 1 where a value is one of some, else 0: float32 (1,)."""
    same = ops.convert(ops.equal(value, ops.constant(np.array(some, np.float32))), "f32")
    return ops.reduce_max(same, whole(0), keep_dims=True)


def _axis(pixels: Node, backward: Node, sides: list[Node], preprocessing: Preprocessing, place: int) -> Axis:
    """Return rows or columns: what all of a picture is resized to, and which part of that is kept."""
    size = preprocessing.size[place]
    if preprocessing.resize is None:
        return Axis(pixels, sides[place], _one(size), _one(0), _one(size), backward)
    grown = _floor_division(ops.multiply(sides[place], number(preprocessing.resize)), ops.minimum(*sides))
    spare = ops.maximum(ops.subtract(grown, number(size)), number(0))
    start = ops.round(ops.multiply(spare, number(0.5)), "half_to_even")
    kept = _one(size)
    if preprocessing.resize < size:
        kept = ops.subtract(ops.minimum(ops.add(start, number(size)), grown), start)
    from_end = ops.subtract(ops.subtract(grown, start), kept)
    return Axis(
        pixels, sides[place], grown, ops.select(ops.greater(backward, number(0)), from_end, start), kept, backward
    )


def _one(value: float) -> Node:
    return ops.constant(np.array([value], np.float32))


def _floor_division(a: Node, b: Node) -> Node:
    """Return whole a divided by whole b, rounded down, for a below 2 ** 24."""
    share = ops.floor(ops.divide(a, b))
    rest = ops.subtract(a, ops.multiply(share, b))
    share = ops.subtract(share, ops.convert(ops.less(rest, number(0)), "f32"))
    return ops.add(share, ops.convert(ops.greater_equal(rest, b), "f32"))


def _padded(planes: Node, kept: list[Node], preprocessing: Preprocessing) -> Node:
    """Return planes (n, c, h, w) in the middle of the size, the background around them."""
    missing = [ops.subtract(number(size), side) for size, side in zip(preprocessing.size, kept, strict=True)]
    before = [ops.floor(ops.multiply(each, number(0.5))) for each in missing]
    after = [ops.subtract(each, first) for each, first in zip(missing, before, strict=True)]
    none = ops.constant(np.zeros(2, np.float32))
    ends = [ops.convert(ops.concat([none, *each], 0), "i64") for each in (before, after)]
    return ops.pad(planes, *ends, "constant", number(preprocessing.background))
