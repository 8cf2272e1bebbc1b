"""Walks through a graph of OpenVINO: from its outputs back to the classifier, and along its maps of features.

Nodes and outputs are OpenVINO's own; nothing here imports it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

ACTIVATIONS = ("Softmax", "LogSoftmax", "Log", "Sigmoid")
SAME_NUMBERS = ("Reshape", "Squeeze", "Unsqueeze", "Convert", "Transpose")
BIASED = ("Add", "Subtract", "Multiply")
LINEAR = ("MatMul", "Convolution")
MAPPING = ("Convolution", "GroupConvolution", "MaxPool", "AvgPool")
# fmt: off
POINTWISE = frozenset((
    "Add", "Subtract", "Multiply", "Divide", "Power", "Relu", "PRelu", "Clamp", "Swish", "HSwish", "HSigmoid",
    "HardSigmoid", "Sigmoid", "Gelu", "Elu", "Selu", "Mish", "SoftPlus", "Tanh", "Exp", "Sqrt",
    "BatchNormInference", "MVN", "LRN", "Concat", "Pad", "Convert", "FakeQuantize",
))
# fmt: on


@dataclass(frozen=True)
class Head:
    """A classifier: its scores before any softmax, and the features that its last layer reads."""

    scores: Any
    features: Any


def sizes(value: Any) -> tuple[int, ...]:
    """Return the sizes of a tensor along its axes; none where they do not follow from those of the input alone."""
    shape = value.partial_shape
    return tuple(shape.to_shape()) if shape.is_static else ()


def find_head(value: Any) -> Head | None:
    """Return the classifier that ends in `value`, or None where it ends in no linear layer.

    Before the last linear layer may stand a mean over positions and a ReLU, where a softmax says that scores are meant.
    """
    tensor, softmax = value, False
    while _kind(tensor) in (*ACTIVATIONS, *SAME_NUMBERS):
        softmax = softmax or _kind(tensor) in ("Softmax", "LogSoftmax")
        tensor = tensor.get_node().input_value(0)
    scores = tensor
    if softmax and _kind(tensor) in ("ReduceMean", "AvgPool"):
        tensor = tensor.get_node().input_value(0)
        if _kind(tensor) == "Relu":
            tensor = tensor.get_node().input_value(0)
    while _kind(tensor) in BIASED and (rest := _the_other(tensor.get_node())) is not None:
        tensor = rest
    if _kind(tensor) not in LINEAR or not sizes(scores) or sum(size > 1 for size in sizes(scores)[1:]) > 1:
        return None
    features = _the_other(tensor.get_node())
    return None if features is None else Head(scores, features)


def _kind(value: Any) -> str:
    return str(value.get_node().get_type_name())


def _the_other(node: Any) -> Any:
    """Return the one input that is not made of constants, or None."""
    others = [value for value in node.input_values() if not _is_constant(value.get_node())]
    return others[0] if len(others) == 1 else None


def _is_constant(node: Any, depth: int = 0) -> bool:
    """Return whether a node is a constant, or computed from constants in a few steps."""
    if node.get_type_name() == "Constant":
        return True
    inputs = node.input_values()
    return depth < 8 and bool(inputs) and all(_is_constant(value.get_node(), depth + 1) for value in inputs)


def ancestors(end: Any) -> set[str]:
    """Return the names of the nodes that `end` depends on, its own among them."""
    names: set[str] = set()
    waiting = [end.get_node()]
    while waiting:
        node = waiting.pop()
        if node.get_name() not in names:
            names.add(node.get_name())
            waiting += [value.get_node() for value in node.input_values()]
    return names


def channel_axes(nodes: Sequence[Any]) -> dict[Any, int]:
    """Return the axis of channels of every tensor where it is known: OpenVINO's convolutions have it second."""
    axes: dict[Any, int] = {}
    for node in nodes:
        if (axis := _axis(node, axes)) is not None:
            axes[node.output(0)] = axis
    return axes


def _axis(node: Any, axes: Mapping[Any, int]) -> int | None:
    kind, inputs = node.get_type_name(), node.input_values()
    if kind in MAPPING:
        return 1 if len(sizes(node.output(0))) == 4 else None
    incoming = next((axes[value] for value in inputs if value in axes), None)
    if incoming is None:
        return None
    if kind == "Transpose" and inputs[1].get_node().get_type_name() == "Constant":
        return [int(axis) for axis in inputs[1].get_node().data].index(incoming)
    rank = len(sizes(node.output(0)))
    if kind == "MatMul":
        return incoming if incoming == rank - 1 and _is_constant(inputs[1].get_node()) else None
    same = any(value in axes and len(sizes(value)) == rank for value in inputs)
    return incoming if kind in POINTWISE and same else None


def last_maps(nodes: Sequence[Any], axes: Mapping[Any, int]) -> Iterator[tuple[Any, int]]:
    """Yield the last map of each resolution, in order; none where attention follows, whose tokens are no map."""
    maps: dict[int, tuple[Any, int]] = {}
    for node in nodes:
        if _is_attention(node):
            maps.clear()
        output = node.output(0) if node.get_output_size() else None
        if output is None or output not in axes:
            continue
        axis, shape = axes[output], sizes(output)
        positions = prod(size for place, size in enumerate(shape) if place not in (0, axis))
        if positions > 1 and (not maps or positions <= min(maps)):
            maps[positions] = (output, axis)
    yield from maps.values()


def _is_attention(node: Any) -> bool:
    kind, inputs = node.get_type_name(), [value.get_node() for value in node.input_values()]
    return kind == "ScaledDotProductAttention" or (kind == "MatMul" and not any(map(_is_constant, inputs)))
