"""Weights of a network are rounded to 8 bits row by row; what prepares an example and what judges it stays as it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import openvino as ov
from openvino import opset13 as ops

from headstart.engines.openvino import compile_model
from headstart.ship.export.int8 import MAX, round_weights
from headstart.ship.export.networks import NETWORK

RNG = np.random.default_rng(0)


def weights(*shape: int) -> np.ndarray:
    """Return weights whose rows are of very different size, one of them zero."""
    rows = RNG.normal(size=shape) * np.geomspace(1e-3, 10, shape[0]).reshape(-1, *[1] * (len(shape) - 1))
    rows[0] = 0
    return rows.astype(np.float32)


KERNEL, GROUPED, MATRIX, TABLE = weights(64, 8, 3, 3), weights(64, 1, 1, 5, 5), weights(64, 48), weights(100, 16)
TURNED = weights(48, 64)


def graph(prefix: str) -> ov.Model:
    """Return one with each kind of weights, under names that begin with a prefix."""

    def constant(values: np.ndarray) -> Any:
        return ops.constant(values, name=f"{prefix}{values.shape}")

    picture, ids = ops.parameter([1, 8, 9, 9], np.float32), ops.parameter([1, 4], np.int64)
    none, one = [0, 0], [1, 1]
    wide = ops.convolution(picture, constant(KERNEL), one, none, none, one)
    grouped = ops.group_convolution(wide, constant(GROUPED), one, none, none, one)
    pooled = ops.reduce_mean(grouped, np.array([2, 3]), keep_dims=False)
    rows = ops.gather(constant(TABLE), ids, np.int64(0))
    turned = ops.matmul(constant(TURNED), pooled, False, True)  # noqa: FBT003
    product = ops.matmul(pooled, constant(MATRIX), False, False)  # noqa: FBT003
    return ov.Model([product, rows, turned], [picture, ids], "x")


def answers(model: ov.Model) -> list[np.ndarray]:
    picture = np.random.default_rng(1).normal(size=(1, 8, 9, 9)).astype(np.float32)
    return [np.array(each) for each in compile_model(model)([picture, np.array([[0, 1, 50, 99]])]).values()]


def test_each_row_is_rounded_by_its_own_largest_number() -> None:
    model = graph(NETWORK)
    exact = answers(graph(NETWORK))
    assert round_weights(model) == sum(each.size for each in (KERNEL, GROUPED, MATRIX, TURNED, TABLE))
    kinds = {node.get_element_type().get_type_name() for node in model.get_ops() if node.get_type_name() == "Constant"}
    assert "i8" in kinds
    product, rows, turned = answers(model)
    taken = TABLE[[0, 1, 50, 99]]
    assert (np.abs(rows[0] - taken) <= np.abs(taken).max(axis=1, keepdims=True) / (2 * MAX) + 1e-9).all()
    for made, expected in ((product, exact[0]), (turned, exact[2])):
        assert 0 < np.abs(made - expected).max() < 0.02 * np.abs(expected).max()


def test_what_is_no_part_of_a_network_is_left_alone() -> None:
    model = graph("other/")
    assert round_weights(model) == 0
    assert all(np.array_equal(a, b) for a, b in zip(answers(model), answers(graph("other/")), strict=True))
