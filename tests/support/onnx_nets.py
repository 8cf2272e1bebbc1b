"""Small ONNX networks for pictures, made with the package onnx."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE, CLASSES, WIDTHS = 32, 5, (8, 12)


def weights(seed: int = 0, channels: int = 3) -> dict[str, np.ndarray]:
    """Return the weights of `convnet`, float32."""
    rng = np.random.default_rng(seed)
    shapes = {
        "conv1": (WIDTHS[0], channels, 3, 3),
        "conv2": (WIDTHS[1], WIDTHS[0], 3, 3),
        "head": (CLASSES, WIDTHS[1]),
        "bias": (CLASSES,),
    }
    return {name: rng.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}


def convnet(
    path: Path,
    *,
    shape: tuple[Any, ...] = ("n", 3, SIDE, SIDE),
    values: dict[str, np.ndarray] | None = None,
    end: str = "logits",
    domain: str = "",
    kind: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    """Write a network of two convolutions, a global mean and a classifier, and return it.

    Args:
        path: the file.
        shape: of its input; channels last where the second entry is no number of channels.
        values: its weights, by name.
        end: `logits`, `softmax`, `features` (the means), `map` (the last map) or `tokens` (the same, (n, t, c)).
        domain: of the operator behind the first convolution.
        kind: what its input is made of.
    """
    last = shape[1] not in (1, 3) and shape[3] in (1, 3)
    given = values or weights(channels=shape[3 if last else 1] if isinstance(shape[1], int) else 3)
    node = helper.make_node
    nodes, at = [], "x"
    if kind != TensorProto.FLOAT:
        nodes, at = [node("Cast", [at], ["cast"], to=TensorProto.FLOAT)], "cast"
    if last:
        nodes, at = [*nodes, node("Transpose", [at], ["turned"], perm=[0, 3, 1, 2])], "turned"
    nodes += [
        node("Conv", [at, "conv1"], ["c1"], strides=[2, 2], pads=[1] * 4),
        node("Relu" if not domain else "Bend", ["c1"], ["r1"], domain=domain),
        node("Conv", ["r1", "conv2"], ["c2"], strides=[2, 2], pads=[1] * 4),
        node("Relu", ["c2"], ["r2"]),
        node("GlobalAveragePool", ["r2"], ["mean"]),
        node("Flatten", ["mean"], ["flat"], axis=1),
        node("Gemm", ["flat", "head", "bias"], ["logits"], transB=1),
        node("Softmax", ["logits"], ["softmax"], axis=1),
        node("Transpose", ["r2"], ["last"], perm=[0, 2, 3, 1]),
        node("Reshape", ["last", "tokens_shape"], ["tokens"]),
    ]
    output = {"features": "flat", "map": "r2"}.get(end, end)
    used = _needed(nodes, output)
    held = {**given, "tokens_shape": np.array([0, -1, WIDTHS[1]])}
    names = {name for one in used for name in one.input}
    graph = helper.make_graph(
        used,
        "convnet",
        [helper.make_tensor_value_info("x", kind, list(shape))],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in held.items() if name in names],
    )
    domains = [helper.make_opsetid("", 17), *([helper.make_opsetid(domain, 1)] if domain else [])]
    model = helper.make_model(graph, opset_imports=domains, ir_version=8)
    onnx.save(model, path)
    return model


def _needed(nodes: list[Any], output: str) -> list[Any]:
    wanted, kept = {output}, []
    for node in reversed(nodes):
        if set(node.output) & wanted:
            kept.append(node)
            wanted |= set(node.input)
    return kept[::-1]


def tensor_outside(path: Path, entries: dict[str, str], *, name: str = "head") -> None:
    """Rewrite the model in `path` so that the tensor `name` claims to lie outside it, at `entries`."""
    model = onnx.load(path, load_external_data=False)
    (tensor,) = [one for one in model.graph.initializer if one.name == name]
    tensor.ClearField("raw_data")
    point_outside(tensor, entries)
    path.write_bytes(model.SerializeToString())


def point_outside(tensor: Any, entries: dict[str, str]) -> None:
    """Make a tensor claim to lie outside its model."""
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in entries.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
