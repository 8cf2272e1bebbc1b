"""Layers as a choice of columns."""

from __future__ import annotations

import re

import numpy as np
import pytest

from headstart.base.errors import UsageError
from headstart.engines.base import Block
from headstart.sources.layers import check_layer, layer_names, select, stages_of

BLOCKS = (Block("pool", 3), Block("stage1.avg", 2), Block("final.max", 4))


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(5, 9)).astype(np.float32)


def test_one_block_is_taken_as_the_network_gives_it(x: np.ndarray) -> None:
    for layer, columns in (("pool", slice(0, 3)), ("stage1.avg", slice(3, 5)), ("final.max", slice(5, 9))):
        taken, blocks = select(x, BLOCKS, layer)
        np.testing.assert_array_equal(taken, x[:, columns])
        assert [block.name for block in blocks] == [layer]
        assert not np.shares_memory(taken, x) or taken.flags.c_contiguous


def test_joined_blocks_are_square_rooted_and_of_unit_length_and_rows_of_zeros_stay_zero(x: np.ndarray) -> None:
    x[2, 3:5] = 0
    taken, blocks = select(x, BLOCKS, "joined")
    assert blocks == BLOCKS
    assert taken.dtype == np.float32
    start = 0
    for block in blocks:
        part = x[:, start : start + block.width].astype(np.float64)
        part = np.sign(part) * np.abs(part) ** 0.5
        length = np.linalg.norm(part, axis=1, keepdims=True)
        expected = np.divide(part, length, out=np.zeros_like(part), where=length > 0)
        np.testing.assert_allclose(taken[:, start : start + block.width], expected, atol=1e-6)
        start += block.width
    assert not taken[2, 3:5].any()


def test_several_layers_come_in_the_order_asked_for(x: np.ndarray) -> None:
    taken, blocks = select(x, BLOCKS, "final.max+pool")
    joined, _ = select(x, BLOCKS, "joined")
    assert [block.name for block in blocks] == ["final.max", "pool"]
    np.testing.assert_array_equal(taken, np.hstack([joined[:, 5:], joined[:, :3]]))


def test_layers_side_by_side_are_each_as_they_are_alone(x: np.ndarray) -> None:
    taken, blocks = select(x, BLOCKS, "pool,joined,pool+final.max")
    alone = [select(x, BLOCKS, layer) for layer in ("pool", "joined", "pool+final.max")]
    np.testing.assert_array_equal(taken, np.hstack([columns for columns, _ in alone]))
    assert blocks == tuple(block for _, part in alone for block in part)
    assert stages_of("pool,joined", [block.name for block in BLOCKS]) == ("pool", "stage1.avg", "final.max")


def test_select_leaves_its_input_alone(x: np.ndarray) -> None:
    before = x.copy()
    select(x, BLOCKS, "joined")
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize(
    ("layer", "says"),
    [
        ("pol", "did you mean 'pool'"),
        ("stage1.max", "one of pool, joined, stage1.avg, final.max"),
        ("pool+stage1.agv", "did you mean 'stage1.avg'"),
        ("pool+joined", "the layer must be one of"),
        ("", "the layer must be one of"),
        ("pool,", "the layer must be one of"),
        ("pool,auto", "the layer must be one of"),
        ("pool,joimed", "did you mean 'joined'"),
        ("auto", "must be chosen before"),
    ],
)
def test_an_unknown_layer_lists_the_known(x: np.ndarray, layer: str, says: str) -> None:
    with pytest.raises(UsageError, match=re.escape(says)):
        select(x, BLOCKS, layer)


def test_a_network_without_stages_has_one_layer() -> None:
    assert layer_names(["pool"]) == ("pool",)
    check_layer("auto", ("pool",))
    with pytest.raises(UsageError):
        check_layer("joined", ("pool",))
