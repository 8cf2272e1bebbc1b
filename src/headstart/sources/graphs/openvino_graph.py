"""Graphs that OpenVINO reads: where their pictures go in, and where their features and scores can be taken.

Imports OpenVINO: import this file only where a graph is about to be read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headstart.base.errors import SourceError, did_you_mean
from headstart.data.images.preprocessing import Preprocessing
from headstart.engines.environment import without_telemetry
from headstart.sources.graphs.traversal import Head, ancestors, channel_axes, find_head, last_maps, sizes
from headstart.sources.layers import Stage, Tap

with without_telemetry():
    import openvino as ov
    from openvino import frontend
    from openvino import opset13 as ops

FAILURES: tuple[type[Exception], ...] = (
    *(getattr(frontend, name) for name in dir(frontend) if name.endswith("Failure")),
    RuntimeError,
    UnicodeDecodeError,
)
"""OpenVINO's own errors, which have no class in common; it decodes names in a file, and its own messages about them."""


@dataclass(frozen=True)
class PictureInput:
    """Where pictures go into a graph."""

    size: tuple[int, int] | None  # height and width in pixels; None where the graph leaves it open
    channels: int
    channels_last: bool  # whether it takes (n, h, w, c) and not (n, c, h, w)
    whole: bool  # whether it takes whole numbers in 0..255


@dataclass(frozen=True)
class GraphTensors:
    """The tensors of a graph that blocks and scores are made of."""

    pool: Any  # the pooled features, or the map that they are averaged from
    head: Head | None  # the classifier; None where there is none
    maps: Mapping[str, tuple[Any, int]]  # the last map of each resolution, by name, as (tensor, axis of channels)
    axes: Mapping[Any, int]


def read(path: Path, framework: str) -> ov.Model:
    """Return the graph in a file of `onnx` or a folder of `tf`; SourceError where OpenVINO cannot read it."""
    reader = frontend.FrontEndManager().load_by_framework(framework)
    try:
        return reader.convert(reader.load(str(path)))
    except FAILURES as error:
        raise SourceError(
            f"{path} must be a network that OpenVINO can read",
            _reason(str(error)),
            "export it again with standard operators, or name another source",
        ) from error


def _reason(message: str) -> str:
    """Return the telling line of an error of OpenVINO: the operator that it lacks, or the last one."""
    lines = [line.strip(" -") for line in message.splitlines() if line.strip(" -")]
    lacking = [line for line in lines if line.startswith("No conversion rule")]
    lines = [line for line in lines if not line.startswith("To facilitate")]
    telling = (lacking or lines[-1:] or ["an error without words"])[0]
    return telling.replace("No conversion rule found for operations:", "operators that it does not know:")


def find_input(model: ov.Model, where: str) -> PictureInput:
    """Return where the pictures go in; SourceError where there is another input than one that takes pictures."""

    def refused(port: str) -> SourceError:
        return SourceError(
            f"{where} must read one picture of 1 or 3 channels, (n, channels, height, width) or channels last",
            port,
            "name a network for pictures",
        )

    if len(model.inputs) != 1:
        raise refused(f"{len(model.inputs)} inputs: {', '.join(map(_shown, model.inputs))}")
    (port,) = model.inputs
    shape = port.partial_shape
    if shape.rank.is_dynamic or len(shape) != 4:
        raise refused(f"the input {_shown(port)}")
    lengths = [dim.get_length() if dim.is_static else 0 for dim in shape]
    last = lengths[3] in (1, 3) and lengths[1] not in (1, 3)
    channels = lengths[3 if last else 1] or 3
    height, width = lengths[1:3] if last else lengths[2:4]
    kind = port.element_type
    if channels not in (1, 3) or (kind.is_integral() and kind != ov.Type.u8):
        raise refused(f"the input {_shown(port)}")
    return PictureInput((height, width) if height and width else None, channels, last, kind == ov.Type.u8)


def _shown(port: Any) -> str:
    names = sorted(port.names)
    return f"{names[0] if names else 'unnamed'} of {port.element_type.get_type_name()} {port.partial_shape}"


def check_finite(model: ov.Model, where: str) -> None:
    """Raise SourceError, naming the first, where a weight is NaN, or an infinity among numbers that are not zero."""
    for node in model.get_ordered_ops():
        if node.get_type_name() != "Constant" or not node.get_element_type().is_real():
            continue
        values = node.get_data(dtype=np.float32) if node.get_element_type() == ov.Type.bf16 else node.data
        finite = np.isfinite(values)
        # Masks of attention are zeros and infinities; limits of a clamp are infinities alone.
        if not finite.all() and (np.isnan(values).any() or values[finite].any()):
            raise SourceError(
                f"{where} must hold finite numbers only",
                f"NaN or infinity in {node.get_friendly_name()}",
                "get the weights again from where they came from",
            )


def count(model: ov.Model, outputs: Sequence[Any]) -> int:
    """Return how many weights `outputs` depend on: numbers in constants that are no shapes and no scalars."""
    small = (ov.Type.i8, ov.Type.u8, ov.Type.i4, ov.Type.u4)
    used = set[str]().union(*(ancestors(node.output(0)) for node in outputs))
    nodes = [node for node in model.get_ordered_ops() if node.get_name() in used]
    constants = [node for node in nodes if node.get_type_name() == "Constant"]
    weights = [node for node in constants if node.get_element_type().is_real() or node.get_element_type() in small]
    return sum(size for node in weights if (size := int(np.prod(node.get_output_shape(0)))) > 1)


def give_size(model: ov.Model, entry: PictureInput, size: tuple[int, int], where: str) -> None:
    """Give the graph its own batch, or one of 1, and pictures of `size`; SourceError where it takes none such."""
    batch = model.input(0).partial_shape[0]
    first = batch.get_length() if batch.is_static else 1
    try:
        shape = (*size, entry.channels) if entry.channels_last else (entry.channels, *size)
        model.reshape([first, *shape])
    except RuntimeError as error:
        raise SourceError(
            f"{where} must take pictures of {size[0]} x {size[1]} pixels",
            _reason(str(error)),
            "state its size in a file beside it (PATH.preprocessing.json)",
        ) from error


def find_tensors(model: ov.Model, pool: str, where: str) -> GraphTensors:
    """Return the tensors that features and scores can be taken from; `pool` names one, or is empty.

    SourceError: no such tensor, or no output that could be features.
    """
    real = [result.input_value(0) for result in model.get_results() if result.get_element_type().is_real()]
    flat = sorted(real, key=lambda value: _rank(value) != 2)
    head = next((classifier for value in flat if (classifier := find_head(value)) is not None), None)
    chosen = flat[0] if flat else None
    if pool:
        chosen = _named(model, pool, where)
    elif head is not None:
        chosen = head.features
    if chosen is None or not 2 <= len(sizes(chosen)) <= 4:
        raise SourceError(
            f"{where} must have an output of features or scores, of 2 to 4 axes of fixed sizes",
            ", ".join(map(_shown, model.outputs)),
            f'name the tensor to take in {where}.preprocessing.json: {{"pool": "NAME"}}',
        )
    before = ancestors(chosen)
    nodes = [node for node in model.get_ordered_ops() if node.get_name() in before]
    axes = channel_axes(nodes)
    maps = {f"stage{at}": placed for at, placed in enumerate(last_maps(nodes, axes))}
    return GraphTensors(chosen, head, maps, axes)


def _rank(value: Any) -> int:
    return len(value.partial_shape) if value.partial_shape.rank.is_static else 0


def _named(model: ov.Model, name: str, where: str) -> Any:
    tensors: dict[str, Any] = {}
    for node in model.get_ordered_ops():
        for output in node.outputs():
            if output.get_element_type().is_real() and _rank(output) in (2, 3, 4):
                tensors |= dict.fromkeys([node.get_friendly_name(), *output.names], output)
    if name not in tensors:
        raise SourceError(
            f"{where} must have the tensor that {where}.preprocessing.json names as pool",
            repr(name),
            f"name a tensor of 2, 3 or 4 axes{did_you_mean(name, tensors)}",
        )
    return tensors[name]


def describe(tensors: GraphTensors) -> tuple[int, list[Stage], int]:
    """Return how wide `pool` is, the stages, first to last, and of how many classes the graph gives scores.

    That is 0 for none, and for a lone score, which is no probability.
    """
    stages: list[Stage] = []
    for name, (value, axis) in tensors.maps.items():
        shape = sizes(value)
        positions = int(np.prod(shape[1:])) // shape[axis]
        stages.append(Stage(name, name, shape[axis], channels_last=axis == len(shape) - 1, positions=positions))
    scores = int(np.prod(sizes(tensors.head.scores)[1:])) if tensors.head is not None else 0
    return int(_pooled(tensors).get_output_shape(0)[1]), stages, scores if scores > 1 else 0


def blocks(tensors: GraphTensors, taps: Sequence[Tap]) -> list[Any]:
    """Return the nodes that give the blocks of `taps`, each of shape (n, width)."""
    return [
        _pooled(tensors) if tap.reduce == "pool" else _reduced(*tensors.maps[tap.module], tap.reduce) for tap in taps
    ]


def probabilities(head: Head) -> Any:
    """Return the node that gives the classifier's probabilities, of shape (n, k)."""
    return ops.softmax(_rows(head.scores), axis=1)


def _pooled(tensors: GraphTensors) -> Any:
    value = tensors.pool
    if _rank(value) == 2:
        return _rows(value)
    shape = sizes(value)
    # One position: whichever axis is longer than 1 holds the channels.
    long = [axis for axis in range(1, len(shape)) if shape[axis] > 1]
    default = len(shape) - 1 if len(shape) == 3 else 1
    axis = long[0] if len(long) == 1 else tensors.axes.get(value, default)
    return _reduced(value, axis, "avg")


def _reduced(value: Any, axis: int, reduction: str) -> Any:
    if reduction == "flatten":
        return _rows(value)
    others = np.array([other for other in range(1, _rank(value)) if other != axis], dtype=np.int64)
    reduce = ops.reduce_mean if reduction == "avg" else ops.reduce_max
    return _rows(reduce(value, others, keep_dims=False))


def _rows(value: Any) -> Any:
    flat = ops.reshape(value, np.array([0, -1], dtype=np.int64), special_zero=True)
    return ops.convert(flat, "f32")


def with_both_views(model: ov.Model) -> ov.Model:
    """Return a graph whose outputs are the means of those of `model`, for each picture and its mirror image.

    Both take uint8 of shape (n, h, w, c), and give blocks of shape (n, width); `model` is used up.
    """
    (old,) = model.get_parameters()
    pictures = ops.parameter(old.get_partial_shape(), ov.Type.u8, name="pictures")
    backwards = np.arange(old.get_partial_shape()[2].get_length())[::-1].astype(np.int64)
    both = ops.concat([pictures, ops.gather(pictures, backwards, np.int64(2))], 0)
    for target in old.output(0).get_target_inputs():
        target.replace_source_output(both.output(0))
    outputs = []
    for result in model.get_results():
        block = result.input_value(0)
        views = np.array([2, -1, block.get_partial_shape()[1].get_length()])
        outputs.append(ops.reduce_mean(ops.reshape(block, views, special_zero=False), np.array([0])))
    return ov.Model([ops.result(output) for output in outputs], [pictures], "both views")


def with_pictures(
    model: ov.Model, entry: PictureInput, preprocessing: Preprocessing, outputs: Sequence[Any]
) -> ov.Model:
    """Return a graph from prepared pictures, uint8 of shape (n, h, w, c), to `outputs` of `model`, which is used up."""
    (old,) = model.get_parameters()
    pictures = ops.parameter([-1, *preprocessing.size, entry.channels], ov.Type.u8, name="pictures")
    std, mean = (np.asarray(values, dtype=np.float64) for values in (preprocessing.std, preprocessing.mean))
    scaled = ops.multiply(ops.convert(pictures, "f32"), (1 / (255 * std)).astype(np.float32))
    inputs = ops.add(scaled, (-mean / std).astype(np.float32))
    if not entry.channels_last:
        inputs = ops.transpose(inputs, np.array([0, 3, 1, 2], dtype=np.int64))
    inputs = ops.convert(inputs, old.get_element_type())
    for target in old.output(0).get_target_inputs():
        target.replace_source_output(inputs.output(0))
    graph = ov.Model([ops.result(output) for output in outputs], [pictures], "headstart")
    graph.validate_nodes_and_infer_types()
    return graph
