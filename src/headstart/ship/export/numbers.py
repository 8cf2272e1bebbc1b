"""Numbers in graphs of OpenVINO, and sums of two float32 that hold 48 bits: graphs compute in float32 alone.

Dekker, "A floating-point technique for extending the available precision", Numerische Mathematik 18 (1971). What must
not be simplified away is made of values that are known only when the graph runs. Imports OpenVINO.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from headstart.engines.environment import without_telemetry

with without_telemetry():
    from openvino import opset13 as ops

Node = Any
SPLIT = 4097.0  # 2 ** 12 + 1: leaves 12 bits in each half


class Pair(NamedTuple):
    """A number as the sum of two float32, the second at most half a unit in the last place of the first."""

    high: Node
    low: Node


def number(value: float) -> Node:
    """Return a constant of float32."""
    return ops.constant(np.float32(value))


def whole(*values: int) -> Node:
    """Return constants of int64, shape (k,)."""
    return ops.constant(np.array(values, np.int64))


def axis(value: int) -> Node:
    """Return one constant of int64, a scalar."""
    return ops.constant(np.int64(value))


def product(a: Node, b: Node, *, turned: bool = False) -> Node:
    """Return the matrix product of two values, the second `turned` or not."""
    return ops.matmul(a, b, transpose_a=False, transpose_b=turned)


def total(values: Node, *axes: int) -> Node:
    """Return sums over axes, which stay, of length 1."""
    return ops.reduce_sum(values, whole(*axes), keep_dims=True)


def two_sum(a: Node, b: Node) -> Pair:
    """Return a + b exactly (Knuth)."""
    high = ops.add(a, b)
    part = ops.subtract(high, a)
    return Pair(high, ops.add(ops.subtract(a, ops.subtract(high, part)), ops.subtract(b, part)))


def _renormalised(high: Node, low: Node) -> Pair:
    total = ops.add(high, low)
    return Pair(total, ops.subtract(low, ops.subtract(total, high)))


def add(a: Pair, b: Node) -> Pair:
    """Return the sum of a pair and a float32."""
    total = two_sum(a.high, b)
    return _renormalised(total.high, ops.add(total.low, a.low))


def _halves(a: Node) -> tuple[Node, Node]:
    shifted = ops.multiply(a, number(SPLIT))
    high = ops.subtract(shifted, ops.subtract(shifted, a))
    return high, ops.subtract(a, high)


def two_product(a: Node, b: Node) -> Pair:
    """Return a * b exactly, both float32."""
    (ah, al), (bh, bl) = _halves(a), _halves(b)
    high = ops.multiply(a, b)
    rest = ops.subtract(ops.multiply(ah, bh), high)
    for left, right in ((ah, bl), (al, bh), (al, bl)):
        rest = ops.add(rest, ops.multiply(left, right))
    return Pair(high, rest)


def multiply(a: Pair, b: Node) -> Pair:
    """Return the product of a pair and a float32."""
    product = two_product(a.high, b)
    return _renormalised(product.high, ops.add(product.low, ops.multiply(a.low, b)))


def quotient(a: Node, b: Node) -> Pair:
    """Return a / b of two float32."""
    high = ops.divide(a, b)
    product = two_product(high, b)
    rest = ops.subtract(ops.subtract(a, product.high), product.low)
    return _renormalised(high, ops.divide(rest, b))
