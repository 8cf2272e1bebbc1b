"""Pillow's resize of pictures as a part of a graph, to its very rounding.

Pillow (`Resample.c`) computes the weight of each pixel in double precision, rounds it to 22 bits, and adds up whole
numbers, along one side of the stored picture, then along the other. A graph has float32: places are sums of two of them
(`numbers`), weights come from a table of the filter, are rounded likewise, and split in two, so that every sum of whole
numbers stays below 2 ** 24, where float32 is exact. Imports OpenVINO.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import PIL
from numpy.typing import NDArray

from headstart.engines.environment import without_telemetry
from headstart.ship.export.numbers import (
    Node,
    Pair,
    add,
    axis,
    multiply,
    number,
    product,
    quotient,
    total,
    two_product,
    two_sum,
    whole,
)

with without_telemetry():
    from openvino import opset13 as ops

Floats = NDArray[np.float64]


def _bilinear(x: Floats) -> Floats:
    return np.asarray(np.maximum(1 - np.abs(x), 0))


def _bicubic(x: Floats) -> Floats:
    u = np.abs(x)
    outer = np.where(u < 2, ((2.5 - 0.5 * u) * u - 4) * u + 2, 0)
    return np.asarray(np.where(u < 1, (1.5 * u - 2.5) * u * u + 1, outer))


def _lanczos(x: Floats) -> Floats:
    return np.asarray(np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0))


FILTERS: dict[str, tuple[Callable[[Floats], Floats], float]] = {
    "bilinear": (_bilinear, 1.0),
    "bicubic": (_bicubic, 2.0),
    "lanczos": (_lanczos, 3.0),
}
"""Pillow's filters, and how far from its centre each reaches."""
STEP = 1 / 256  # between the places of the table
GRID = 4096.0  # the first part of a weight is a multiple of 1 / GRID, so that their sums are exact
BITS = 22  # of Pillow's weights
COARSE = 256.0  # the first part of a normalised weight is a multiple of 1 / COARSE
LOW = 128.0  # a rounded weight is split at 7 bits


class Axis(NamedTuple):
    """One side of upright pictures; each is a node of shape (1,), float32 and whole but where stated."""

    pixels: Node  # in the array
    side: Node  # of the picture, in pixels of the array: the last of them may be there in part
    grown: Node  # pixels that all of it becomes
    start: Node  # the first of them that is kept
    kept: Node  # how many are
    backward: Node  # 1 where the file stores it from its end, else 0


def resized(pictures: Node, rows: Axis, columns: Axis, turned: Node, interpolation: str) -> Node:
    """Return the kept part of resized pictures, uint8 (n, h, w, 3), as float32 (n, 3, h, w) of whole numbers.

    `turned`, a bool of shape (1,), says that the file stores rows as columns.
    """
    rows_first = ops.logical_xor(_vertical_first(rows, columns, turned), turned)
    first, second = (
        Axis(*(ops.select(rows_first, one, other) for one, other in zip(*pair, strict=True)))
        for pair in ((rows, columns), (columns, rows))
    )
    flat = ops.reshape(pictures, whole(0, -1, 3), special_zero=True)
    placed = ops.gather(flat, _order([second, first], "pixels", rows_first, columns.pixels), axis(1))
    planes = ops.convert(ops.transpose(placed, whole(0, 2, 1)), "f32")
    narrow = _along_last(_as_planes(planes, second.pixels, first.pixels), first, interpolation)
    small = _along_last(ops.transpose(narrow, whole(0, 1, 3, 2)), second, interpolation)  # (n, c, first, second)
    flat = ops.reshape(small, whole(0, 3, -1), special_zero=True)
    by_columns = ops.logical_not(rows_first)
    placed = ops.gather(flat, _order([rows, columns], "kept", by_columns, rows.kept), axis(2))
    return _as_planes(placed, rows.kept, columns.kept)


def _vertical_first(rows: Axis, columns: Axis, turned: Node) -> Node:
    """Return whether Pillow resizes the columns of the stored picture first, as it does from 13 on."""
    if int(PIL.__version__.partition(".")[0]) < 13:
        return ops.constant(np.array([False]))
    spare = [ops.subtract(side.pixels, side.kept) for side in (rows, columns)]
    high, wide = ops.select(turned, spare[1], spare[0]), ops.select(turned, spare[0], spare[1])
    shrinks = ops.greater(high, number(0))
    return ops.logical_and(shrinks, ops.greater(high, ops.multiply(wide, number(2))))


def _order(sides: list[Axis], what: str, turned: Node, step: Node) -> Node:
    """Return where each value of a plane, rows and columns as `sides`, stands among those of rows of the other plane.

    `turned`: of columns, `step` long. One of the planes is upright, the other as it is stored.
    """
    unit = ops.constant(np.ones(1, np.float32))
    counts = [getattr(side, what) for side in sides]
    steps = ops.select(turned, unit, counts[1]), ops.select(turned, step, unit)
    places = []
    for side, count, length in zip(sides, counts, steps, strict=True):
        forward = _counted(count)
        place = ops.select(ops.greater(side.backward, number(0)), _from_end(forward, count), forward)
        places.append(ops.multiply(ops.convert(place, "i64"), ops.convert(length, "i64")))
    every = ops.add(ops.unsqueeze(places[0], axis(1)), ops.unsqueeze(places[1], axis(0)))
    return ops.reshape(every, whole(-1), special_zero=False)


def _from_end(place: Node, count: Node) -> Node:
    return ops.subtract(ops.subtract(count, number(1)), place)


def _as_planes(values: Node, high: Node, wide: Node) -> Node:
    """Return values (n, 3, high * wide) as (n, 3, high, wide)."""
    shape = ops.concat([whole(0, 3), *(ops.convert(side, "i64") for side in (high, wide))], 0)
    return ops.reshape(values, shape, special_zero=True)


def _along_last(pictures: Node, side: Axis, interpolation: str) -> Node:
    if interpolation == "nearest":
        return ops.gather(pictures, _nearest(side), axis(3))
    return _summed(pictures, *_weights(side, interpolation))


def box_means(pictures: Node, size: tuple[int, int], boxes: int) -> Node:
    """Return planes, float32 (n, c, *size) of whole numbers, averaged over boxes and rounded: (n, c, boxes, boxes)."""
    high, wide = (side // boxes for side in size)
    if size == (high * boxes, wide * boxes):
        parts = ops.reshape(pictures, whole(0, 0, boxes, high, boxes, wide), special_zero=True)
        sums = ops.add(ops.reduce_sum(parts, whole(3, 5), keep_dims=False), number(high * wide // 2))
        return ops.floor(ops.divide(sums, number(high * wide)))
    narrow = _summed(pictures, *map(ops.constant, _box_weights(size[1], boxes)))
    turned = ops.transpose(narrow, whole(0, 1, 3, 2))
    return ops.transpose(_summed(turned, *map(ops.constant, _box_weights(size[0], boxes))), whole(0, 1, 3, 2))


def _box_weights(pixels: int, boxes: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the weights of a known number of pixels in Pillow's box filter, split in two: (pixels, boxes) each."""
    scale = pixels / boxes
    spread = max(scale, 1.0)
    places, centres = np.arange(pixels)[:, None], (np.arange(boxes) + 0.5) * scale
    distance = (places - centres + 0.5) / spread
    weights = ((distance > -0.5) & (distance <= 0.5)).astype(np.float64)
    rounded = np.floor(weights / weights.sum(axis=0) * 2**BITS + 0.5)
    high = np.round(rounded / LOW)
    return high.astype(np.float32), (rounded - high * LOW).astype(np.float32)


def _summed(pictures: Node, high: Node, low: Node) -> Node:
    """Return planes (n, c, h, pixels) times weights (pixels, kept), which are split in two, as bytes are rounded."""
    coarse, fine = (product(pictures, each) for each in (high, low))
    whole_part = ops.floor(ops.multiply(coarse, number(LOW / 2**BITS)))
    rest = ops.subtract(coarse, ops.multiply(whole_part, number(2**BITS / LOW)))
    below = ops.add(ops.multiply(rest, number(LOW)), ops.add(fine, number(2 ** (BITS - 1))))
    return ops.clamp(ops.add(whole_part, ops.floor(ops.multiply(below, number(2.0**-BITS)))), 0.0, 255.0)


def _scale(side: Axis) -> tuple[Node, Pair]:
    """Return where the kept part begins, float32 as Pillow has it, and how many pixels one of the result spans."""
    per = quotient(side.side, side.grown)
    begin = multiply(per, side.start).high
    end = ops.minimum(multiply(per, ops.add(side.start, side.kept)).high, side.pixels)
    return begin, quotient(ops.subtract(end, begin), side.kept)


def _counted(count: Node) -> Node:
    """Return 0, 1, ... as float32 (count,), for a count of shape (1,)."""
    stop = ops.squeeze(ops.convert(count, "i64"), whole(0))
    return ops.convert(ops.range(axis(0), stop, axis(1), "i64"), "f32")


def _centres(side: Axis) -> tuple[Node, Pair, Pair]:
    """Return the centre of each pixel of the result, (kept, 1): its whole part, and the rest; and the scale."""
    begin, scale = _scale(side)
    place = ops.add(_counted(side.kept), number(0.5))
    from_begin = multiply(scale, place)
    floors = ops.floor(from_begin.high), ops.floor(begin)
    rest = two_sum(ops.subtract(from_begin.high, floors[0]), ops.subtract(begin, floors[1]))
    rest = add(rest, from_begin.low)
    floor, rest = (ops.unsqueeze(ops.add(*floors), axis(1)), Pair(*(ops.unsqueeze(part, axis(1)) for part in rest)))
    return floor, rest, scale


def _nearest(side: Axis) -> Node:
    floor, rest, _ = _centres(side)
    place = ops.squeeze(ops.add(floor, ops.floor(ops.add(rest.high, rest.low))), whole(1))
    return ops.convert(ops.minimum(place, ops.subtract(side.pixels, number(1))), "i64")


def _weights(side: Axis, interpolation: str) -> tuple[Node, Node]:
    """Return the weights of all pixels in each of the result, split in two: float32 (pixels, kept) each."""
    reach = FILTERS[interpolation][1]
    floor, rest, scale = _centres(side)
    wide = ops.maximum(scale.high, number(1))
    is_wide = ops.greater(scale.high, number(1))
    spread = Pair(wide, ops.select(is_wide, scale.low, number(0)))
    half = ops.ceiling(ops.multiply(wide, number(reach)))
    taps = ops.subtract(_counted(ops.add(ops.multiply(half, number(2)), number(3))), ops.add(half, number(1)))
    places = ops.add(floor, taps)  # (kept, taps)
    distance = two_sum(ops.add(taps, number(0.5)), ops.multiply(rest.high, number(-1)))
    distance = add(distance, ops.multiply(rest.low, number(-1)))
    inside = ops.logical_and(ops.greater_equal(places, number(0)), ops.less(places, side.pixels))
    first, second = _filtered(_divided(distance, spread), interpolation)
    first, second = (ops.select(inside, part, number(0)) for part in (first, second))
    rounded = _rounded(first, second)
    high = ops.round(ops.multiply(rounded, number(1 / LOW)), "half_to_even")
    split = high, ops.subtract(rounded, ops.multiply(high, number(LOW)))
    return tuple(_spread_out(part, places, inside, side) for part in split)


def _divided(a: Pair, b: Pair) -> Pair:
    """Return a / b."""
    high = ops.divide(a.high, b.high)
    product = two_product(high, b.high)
    rest = ops.subtract(ops.subtract(a.high, product.high), product.low)
    rest = ops.subtract(ops.add(rest, a.low), ops.multiply(high, b.low))
    return two_sum(high, ops.divide(rest, b.high))


def _table(interpolation: str) -> NDArray[np.float32]:
    """Return for each place the value of the filter, on the grid and what is left of it, and three derivatives.

    The derivatives are those of the cubic through the neighbourhood: exact for polynomials, and good to 2 ** -40 else.
    """
    function, reach = FILTERS[interpolation]
    count = round(reach / STEP)
    rows = []
    for place in range(count + 1):
        around = (place + np.array([0.125, 0.375, 0.625, 0.875])) * STEP  # one side: the filters have corners
        cubic = np.linalg.solve(np.vander(around / STEP - place, 4, increasing=True), function(around))
        value = cubic[0] if place < count else 0.0
        grid = np.round(value * GRID) / GRID
        rows.append([grid, value - grid, *(cubic[1:] if place < count else np.zeros(3))])
    return np.array(rows).T.astype(np.float32)


def _filtered(distance: Pair, interpolation: str) -> tuple[Node, Node]:
    """Return the filter at a distance: a multiple of 1 / GRID, and what is left."""
    table = _table(interpolation)
    last = table.shape[1] - 1
    sign = ops.select(ops.less(distance.high, number(0)), number(-1), number(1))
    size, low = ops.multiply(distance.high, sign), ops.multiply(distance.low, sign)
    place = ops.minimum(ops.floor(ops.multiply(size, number(1 / STEP))), number(last))
    step = ops.multiply(ops.add(ops.subtract(size, ops.multiply(place, number(STEP))), low), number(1 / STEP))
    index = ops.convert(place, "i64")
    grid, left, *slopes = (ops.gather(ops.constant(row), index, axis(0)) for row in table)
    tail: Any = slopes.pop()
    while slopes:
        tail = ops.add(ops.multiply(tail, step), slopes.pop())
    return grid, ops.add(ops.multiply(tail, step), left)


def _rounded(first: Node, second: Node) -> Node:
    """Return weights as shares of their sum, times 2 ** 22, rounded: float32 of whole numbers (kept, taps)."""
    sums = [total(part, 1) for part in (first, second)]
    both = ops.add(*sums)
    share = ops.divide(ops.add(first, second), both)
    coarse = ops.round(ops.multiply(share, number(COARSE)), "half_to_even")
    part = ops.multiply(coarse, number(1 / COARSE))
    rest = ops.subtract(first, ops.multiply(part, sums[0]))
    rest = ops.add(rest, ops.subtract(second, ops.multiply(part, sums[1])))
    fine = ops.round(ops.multiply(ops.divide(rest, both), number(2**BITS)), "half_away_from_zero")
    return ops.add(ops.multiply(coarse, number(2**BITS / COARSE)), fine)


def _spread_out(weights: Node, places: Node, inside: Node, side: Axis) -> Node:
    """Return weights (kept, taps) at their places among all pixels: (pixels, kept)."""
    shape = ops.convert(ops.concat([side.kept, ops.add(side.pixels, number(1))], 0), "i64")
    index = ops.convert(ops.select(inside, places, side.pixels), "i64")  # what lies outside comes behind the last
    empty = ops.broadcast(number(0), shape)
    filled = ops.scatter_elements_update(empty, index, weights, axis(1))
    kept = ops.slice(filled, whole(0), ops.convert(side.pixels, "i64"), whole(1), whole(1))
    return ops.transpose(kept, whole(1, 0))
