"""Walks through small graphs of OpenVINO: which tensor is the classifier's input, and which are the last maps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops

from headstart.sources.graphs.traversal import ancestors, channel_axes, find_head, last_maps, sizes

WIDTH, CLASSES = 6, 4


def numbers(*shape: int) -> Any:
    return ops.constant(np.random.default_rng(0).normal(size=shape).astype(np.float32))


def entry(*shape: int) -> Any:
    return ops.parameter(list(shape), np.float32)


def linear(features: Any) -> Any:
    return ops.matmul(features, numbers(CLASSES, WIDTH), transpose_a=False, transpose_b=True)


def convolved(maps: Any, width: int, stride: int = 1, kernel: int = 3) -> Any:
    channels, pad = maps.get_output_partial_shape(0)[1].get_length(), [kernel // 2] * 2
    return ops.convolution(maps, numbers(width, channels, kernel, kernel), [stride] * 2, pad, pad, [1, 1])


def walked(end: Any) -> tuple[list[Any], list[tuple[tuple[int, ...], int]]]:
    """Return the nodes of a graph in order, and of its last maps the sizes and the axis of channels."""
    nodes = ov.Model([end], list(_parameters(end))).get_ordered_ops()
    return nodes, [(sizes(value), axis) for value, axis in last_maps(nodes, channel_axes(nodes))]


def _parameters(end: Any) -> set[Any]:
    names, waiting, found = set(), [end], {}
    while waiting:
        node = waiting.pop()
        if node.get_name() not in names:
            names.add(node.get_name())
            waiting += [value.get_node() for value in node.input_values()]
            if node.get_type_name() == "Parameter":
                found[node.get_name()] = node
    return set(found.values())


ENDS: dict[str, Callable[[Any], Any]] = {
    "scores": lambda scores: scores,
    "bias": lambda scores: ops.add(scores, numbers(CLASSES)),
    "bias before": lambda scores: ops.add(numbers(CLASSES), scores),
    "bias computed": lambda scores: ops.add(scores, ops.sqrt(ops.exp(numbers(CLASSES)))),
    "scaled": lambda scores: ops.subtract(ops.multiply(scores, numbers(1)), numbers(CLASSES)),
}
TAILS: dict[str, Callable[[Any], Any]] = {
    "plain": lambda scores: scores,
    "softmax": lambda scores: ops.softmax(scores, axis=1),
    "log softmax": lambda scores: ops.log_softmax(scores, axis=1),
    "log of softmax": lambda scores: ops.log(ops.softmax(scores, axis=1)),
    "sigmoid": ops.sigmoid,
    "reshaped": lambda scores: ops.convert(ops.reshape(scores, np.array([2, CLASSES]), special_zero=False), "f16"),
}


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("end", ENDS)
def test_the_classifier_is_found_behind_its_bias_and_its_softmax(end: str, tail: str) -> None:
    features = entry(2, WIDTH)
    scores = ENDS[end](linear(features))
    head = find_head(TAILS[tail](scores).output(0))
    assert head is not None
    assert head.features == features.output(0)
    assert head.scores == scores.output(0)


def test_a_convolution_of_one_pixel_is_a_classifier_too() -> None:
    features = entry(1, WIDTH, 1, 1)
    scores = convolved(features, CLASSES, kernel=1)
    flat = ops.reshape(scores, np.array([1, CLASSES]), special_zero=False)
    head = find_head(ops.softmax(flat, axis=1).output(0))
    assert head is not None and head.features == features.output(0) and head.scores == scores.output(0)


@pytest.mark.parametrize("active", [False, True])
def test_averaged_maps_are_scores_only_before_a_softmax(active: bool) -> None:
    maps = entry(1, WIDTH, 5, 5)
    scores = convolved(maps, CLASSES, kernel=1)
    mean = ops.reduce_mean(ops.relu(scores) if active else scores, np.array([2, 3]), keep_dims=False)
    head = find_head(ops.softmax(mean, axis=1).output(0))
    assert head is not None and head.features == maps.output(0) and head.scores == mean.output(0)
    assert find_head(mean.output(0)) is None, "without it they are features"


def test_what_ends_in_no_classifier_has_none() -> None:
    one, other = entry(1, WIDTH), entry(WIDTH, CLASSES)
    product = ops.matmul(one, other, transpose_a=False, transpose_b=False)
    assert find_head(one.output(0)) is None
    assert find_head(ops.relu(linear(one)).output(0)) is None, "a ReLU makes features of scores"
    assert find_head(product.output(0)) is None, "a product of two inputs has no weights"
    assert find_head(ops.add(linear(one), linear(entry(1, WIDTH))).output(0)) is None, "a sum of two is no bias"
    assert find_head(convolved(entry(1, 3, 8, 8), CLASSES).output(0)) is None, "a map has several positions"
    assert find_head(linear(entry(-1, WIDTH)).output(0)) is None, "sizes that are left open"


def test_sizes_are_those_of_the_graph_or_none() -> None:
    assert sizes(entry(2, 3, 4).output(0)) == (2, 3, 4)
    assert sizes(entry(2, -1, 4).output(0)) == ()
    assert sizes(ops.parameter(ov.PartialShape.dynamic(), np.float32).output(0)) == ()


def test_ancestors_are_all_that_a_tensor_depends_on_and_nothing_beside() -> None:
    first, second = entry(1, WIDTH), entry(1, WIDTH)
    weights = numbers(CLASSES, WIDTH)
    scores = ops.matmul(first, weights, transpose_a=False, transpose_b=True)
    beside = ops.add(scores, linear(second))
    names = ancestors(scores.output(0))
    assert names == {node.get_name() for node in (first, weights, scores)}
    assert names < ancestors(beside.output(0))


def test_channels_are_followed_through_turns_and_pointwise_steps() -> None:
    maps = ops.relu(convolved(entry(1, 3, 8, 10), WIDTH, 2))
    turned = ops.transpose(maps, np.array([0, 2, 3, 1]))
    mixed = ops.add(ops.matmul(turned, numbers(WIDTH, 9), transpose_a=False, transpose_b=False), numbers(9))
    back = ops.transpose(mixed, np.array([0, 3, 1, 2]))
    nodes, _ = walked(ops.reduce_mean(back, np.array([2, 3]), keep_dims=False))
    axes = channel_axes(nodes)
    assert [axes.get(node.output(0)) for node in (maps, turned, mixed, back)] == [1, 3, 3, 1]
    assert [sizes(node.output(0))[axes[node.output(0)]] for node in (maps, turned, mixed, back)] == [6, 6, 9, 9]
    assert len([node for node in nodes if node.get_output_size() and node.output(0) in axes]) == 6


@pytest.mark.parametrize(
    "lost",
    [
        lambda maps: ops.reshape(maps, np.array([1, WIDTH * 4, 4]), special_zero=False),
        lambda maps: ops.matmul(maps, numbers(4, 7), transpose_a=False, transpose_b=False),  # mixes positions
        lambda maps: ops.reduce_mean(maps, np.array([2]), keep_dims=False),
    ],
)
def test_where_channels_lie_is_not_guessed(lost: Callable[[Any], Any]) -> None:
    maps = convolved(entry(1, 3, 8, 8), WIDTH, 2)
    end = lost(maps)
    nodes, _ = walked(end)
    assert end.output(0) not in channel_axes(nodes)


def test_the_last_map_of_each_resolution_in_order() -> None:
    first = ops.relu(convolved(entry(1, 3, 16, 16), 4, 2))
    second = ops.relu(convolved(ops.relu(convolved(first, 5, 2)), 6))
    third = convolved(second, 7, 2)
    _, maps = walked(ops.reduce_mean(third, np.array([2, 3]), keep_dims=False))
    assert maps == [((1, 4, 8, 8), 1), ((1, 6, 4, 4), 1), ((1, 7, 2, 2), 1)]


def test_neither_a_single_position_nor_a_map_that_grows_again_is_a_stage() -> None:
    small = ops.relu(convolved(entry(1, 3, 8, 8), 4, 2))
    larger = ops.convolution_backprop_data(small, numbers(4, 5, 2, 2), [2, 2])
    grown = convolved(larger, 6)
    _, maps = walked(grown)
    assert maps == [((1, 4, 4, 4), 1)]
    pooled = ops.max_pool(small, [4, 4], [1, 1], [0, 0], [0, 0], [4, 4]).output(0)
    _, maps = walked(ops.relu(pooled))
    assert maps == [((1, 4, 4, 4), 1)]


@pytest.mark.parametrize("fused", [False, True])
def test_tokens_that_attend_to_each_other_are_no_map(fused: bool) -> None:
    patches = convolved(entry(1, 3, 8, 8), WIDTH, 2)
    tokens = ops.transpose(ops.reshape(patches, np.array([1, WIDTH, 16]), special_zero=False), np.array([0, 2, 1]))
    if fused:
        attended = ops.scaled_dot_product_attention(tokens, tokens, tokens)
    else:
        weights = ops.matmul(tokens, tokens, transpose_a=False, transpose_b=True)
        attended = ops.matmul(weights, tokens, transpose_a=False, transpose_b=False)
    assert walked(tokens)[1] == [((1, WIDTH, 4, 4), 1)]
    assert walked(attended)[1] == []
