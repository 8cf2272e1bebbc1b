"""Graphs of OpenVINO as ONNX: each operator has one row in a table, and one that has none is refused by its name.

Imports onnx and OpenVINO.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from headstart.base.errors import UsageError
from headstart.engines.environment import without_telemetry

with without_telemetry():
    import openvino as ov

OPSET, IR = 20, 10
TYPES = {
    "f32": TensorProto.FLOAT,
    "f16": TensorProto.FLOAT16,
    "f64": TensorProto.DOUBLE,
    "u8": TensorProto.UINT8,
    "i8": TensorProto.INT8,
    "i32": TensorProto.INT32,
    "i64": TensorProto.INT64,
    "boolean": TensorProto.BOOL,
}
Names = list[str]


class Writer:
    """An ONNX graph in the making: its nodes and constants, and the names of what the nodes of OpenVINO gave."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def emit(self, operator: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """Add a node, and return the name of its output, or the names of several."""
        names = [f"v{len(self.nodes)}_{at}" for at in range(outputs)]
        self.nodes.append(helper.make_node(operator, inputs, names, **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, array: Any, kind: Any = None) -> str:
        """Add a constant, and return its name."""
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.array(array, dtype=kind, order="C"), name))
        return name


Row = Callable[[Writer, Any, Names], str | Names]


def to_onnx(model: ov.Model, *, optional: Mapping[str, NDArray[Any]], properties: Mapping[str, str]) -> onnx.ModelProto:
    """Return a graph as an ONNX model with the same names of inputs and outputs.

    Args:
        optional: inputs that need not be given, and what they are then.
        properties: what goes into the model's metadata.

    Raises:
        UsageError: an operator has no counterpart here.
    """
    writer, names = Writer(), dict[Any, str]()
    for node in model.get_ordered_ops():
        kind = node.get_type_name()
        needed = [names[value] for value in node.input_values()]
        if kind == "Parameter":
            made: str | Names = _name(node.output(0))
        elif kind == "Constant":
            made = writer.constant(node.data)
        elif kind == "Result":
            writer.nodes.append(helper.make_node("Identity", needed, [_name(node.input_value(0))]))
            continue
        elif kind in ROWS:
            made = ROWS[kind](writer, node, needed)
        else:
            raise UsageError(
                "every operator of a graph must have one in ONNX that is known here", kind, "use --to openvino"
            )
        for output, name in zip(node.outputs(), [made] if isinstance(made, str) else made, strict=False):
            names[output] = name
    used = {name for node in writer.nodes for name in node.input}
    constants = [constant for constant in writer.constants if constant.name in used]
    inputs, outputs = ([_value(port) for port in ports] for ports in (model.inputs, model.outputs))
    defaults = [numpy_helper.from_array(array, name) for name, array in optional.items()]
    graph = helper.make_graph(writer.nodes, "headstart", inputs, outputs, [*constants, *defaults])
    made_of = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
    helper.set_model_props(made_of, dict(properties))
    return made_of


def _name(output: Any) -> str:
    return str(sorted(output.get_tensor().names)[0])


def _value(port: Any) -> onnx.ValueInfoProto:
    name, axes = port.any_name, list(port.partial_shape)
    shape = [length.get_length() if length.is_static else f"{name}_{place}" for place, length in enumerate(axes)]
    return helper.make_tensor_value_info(name, TYPES[port.element_type.get_type_name()], shape)


def _known(node: Any, place: int) -> NDArray[Any]:
    """Return the constant that an input of a node is; UsageError where it is none."""
    source = node.input_value(place).get_node()
    if source.get_type_name() != "Constant":
        raise UsageError(
            "an exported graph must know the arguments of its operators",
            f"{node.get_type_name()} with one that it computes",
            "use --to openvino",
        )
    return np.asarray(source.data)


def _plain(operator: str) -> Row:
    return lambda writer, node, inputs: writer.emit(operator, *inputs)


def _cast(writer: Writer, node: Any, inputs: Names) -> str:
    return str(writer.emit("Cast", inputs[0], to=TYPES[node.get_output_element_type(0).get_type_name()]))


def _window(node: Any) -> dict[str, Any]:
    """Return the attributes of what slides over a map."""
    its = node.get_attributes()
    window: dict[str, Any] = {"strides": its["strides"]}
    if "dilations" in its:
        window["dilations"] = its["dilations"]
    padding = its.get("auto_pad", "explicit")
    if padding == "explicit":
        return {**window, "pads": [*its["pads_begin"], *its["pads_end"]]}
    return {**window, "auto_pad": padding.upper()}


def _convolution(writer: Writer, node: Any, inputs: Names) -> str:
    return str(writer.emit("Conv", *inputs, **_window(node)))


def _group_convolution(writer: Writer, node: Any, inputs: Names) -> str:
    groups, outputs, *rest = node.input_value(1).get_shape()
    weights = writer.emit("Reshape", inputs[1], writer.constant([groups * outputs, *rest], np.int64))
    return str(writer.emit("Conv", inputs[0], weights, group=groups, **_window(node)))


def _pool(operator: str) -> Row:
    def row(writer: Writer, node: Any, inputs: Names) -> str:
        its = node.get_attributes()
        more: dict[str, Any] = {"kernel_shape": its["kernel"], "ceil_mode": int(its["rounding_type"] != "floor")}
        if operator == "AveragePool":
            more["count_include_pad"] = int(not its["exclude-pad"])
        return str(writer.emit(operator, inputs[0], **_window(node), **more))

    return row


def _matmul(writer: Writer, node: Any, inputs: Names) -> str:
    its = node.get_attributes()
    sides = []
    for place, name in enumerate(("transpose_a", "transpose_b")):
        rank, side = len(node.get_input_partial_shape(place)), inputs[place]
        order = [*range(rank - 2), rank - 1, rank - 2]
        sides.append(writer.emit("Transpose", side, perm=order) if its[name] and rank > 1 else side)
    return str(writer.emit("MatMul", *sides))


def _axes_of(operator: str) -> Row:
    return lambda writer, node, inputs: writer.emit(
        operator, inputs[0], writer.constant(_known(node, 1).ravel(), np.int64)
    )


def _squeeze(writer: Writer, node: Any, inputs: Names) -> str:
    return str(_axes_of("Squeeze")(writer, node, inputs) if len(inputs) > 1 else writer.emit("Squeeze", inputs[0]))


def _reduced(operator: str) -> Row:
    def row(writer: Writer, node: Any, inputs: Names) -> str:
        axes = writer.constant(_known(node, 1).ravel(), np.int64)
        return str(writer.emit(operator, inputs[0], axes, keepdims=int(node.get_attributes()["keep_dims"])))

    return row


def _reshape(writer: Writer, node: Any, inputs: Names) -> str:
    return str(writer.emit("Reshape", *inputs, allowzero=int(not node.get_attributes()["special_zero"])))


def _transpose(writer: Writer, node: Any, inputs: Names) -> str:
    return str(writer.emit("Transpose", inputs[0], perm=_known(node, 1).ravel().tolist()))


def _gather(writer: Writer, node: Any, inputs: Names) -> str:
    return str(writer.emit("Gather", *inputs[:2], axis=int(_known(node, 2).item())))


def _slice(writer: Writer, node: Any, inputs: Names) -> str:
    data, start, stop, step, *axes = inputs
    along = axes[0] if axes else writer.constant(range(len(node.get_input_shape(1))), np.int64)
    return str(writer.emit("Slice", data, start, stop, along, step))


def _clamp(writer: Writer, node: Any, inputs: Names) -> str:
    its = node.get_attributes()
    return str(writer.emit("Clip", inputs[0], *(writer.constant(its[end], np.float32) for end in ("min", "max"))))


def _round(writer: Writer, node: Any, inputs: Names) -> str:
    if node.get_attributes()["mode"].lower() == "half_to_even":
        return str(writer.emit("Round", inputs[0]))
    up = writer.emit("Add", writer.emit("Abs", inputs[0]), writer.constant(0.5, np.float32))
    return str(writer.emit("Mul", writer.emit("Floor", up), writer.emit("Sign", inputs[0])))


def _shape(writer: Writer, node: Any, inputs: Names) -> str:
    return _cast(writer, node, [writer.emit("Shape", inputs[0])])


def _along(operator: str, attribute: str = "axis") -> Row:
    return lambda writer, node, inputs: writer.emit(operator, *inputs, axis=int(node.get_attributes()[attribute]))


def _scatter(writer: Writer, node: Any, inputs: Names) -> str:
    return str(writer.emit("ScatterElements", *inputs[:3], axis=int(_known(node, 3).item())))


def _pad(writer: Writer, node: Any, inputs: Names) -> str:
    data, begin, end, *value = inputs
    mode = node.get_attributes()["pad_mode"].replace("symmetric", "wrap")
    return str(writer.emit("Pad", data, writer.emit("Concat", begin, end, axis=0), *value, mode=mode))


def _prelu(writer: Writer, node: Any, inputs: Names) -> str:
    slope = node.get_input_shape(1)
    rank = len(node.get_input_partial_shape(0))
    if len(slope) == 1 and slope[0] > 1:  # one for each channel, which is the second axis
        shape = [slope[0], *[1] * (rank - 2)]
        inputs = [inputs[0], writer.emit("Reshape", inputs[1], writer.constant(shape, np.int64))]
    return str(writer.emit("PRelu", *inputs))


def _mvn(writer: Writer, node: Any, inputs: Names) -> str:
    its, axes = node.get_attributes(), writer.constant(_known(node, 1).ravel(), np.int64)
    centred = writer.emit("Sub", inputs[0], writer.emit("ReduceMean", inputs[0], axes))
    if not its["normalize_variance"]:
        return str(centred)
    variance, eps = writer.emit("ReduceMean", writer.emit("Mul", centred, centred), axes), its["eps"]
    small = writer.constant(eps, np.float32)
    if its["eps_mode"].lower() == "inside_sqrt":
        return str(writer.emit("Div", centred, writer.emit("Sqrt", writer.emit("Add", variance, small))))
    return str(writer.emit("Div", centred, writer.emit("Add", writer.emit("Sqrt", variance), small)))


def _attention(writer: Writer, node: Any, inputs: Names) -> str:
    query, key, value, *more = inputs
    rank, width = len(node.get_input_partial_shape(1)), node.get_input_partial_shape(0)[-1].get_length()
    if node.get_attributes()["causal"]:
        raise UsageError("attention of an exported graph must look both ways", "a causal one", "use --to openvino")
    scale = more[1] if len(more) > 1 else writer.constant(1 / math.sqrt(width), np.float32)
    turned = writer.emit("Transpose", key, perm=[*range(rank - 2), rank - 1, rank - 2])
    scores = writer.emit("Mul", writer.emit("MatMul", query, turned), scale)
    if more and node.get_input_element_type(3).get_type_name() == "boolean":
        lowest = writer.constant(np.finfo(np.float32).min)
        scores = writer.emit("Where", more[0], scores, lowest)
    elif more:
        scores = writer.emit("Add", scores, more[0])
    return str(writer.emit("MatMul", writer.emit("Softmax", scores, axis=-1), value))


def _lstm(writer: Writer, node: Any, inputs: Names) -> Names:
    def by_gate(weights: NDArray[Any]) -> NDArray[Any]:
        """Return weights, whose gates are forget, input, cell and output, as input, output, forget and cell."""
        forget, entry, cell, output = np.split(weights, 4, axis=1)
        return np.concatenate([entry, output, forget, cell], axis=1)

    inner, outer, bias = (writer.constant(by_gate(_known(node, at))) for at in (4, 5, 6))
    nothing = writer.constant(np.zeros_like(_known(node, 6)))
    both = writer.emit("Concat", bias, nothing, axis=1)
    turned = [writer.emit("Transpose", name, perm=[1, 0, 2]) for name in inputs[:3]]
    lengths = writer.emit("Cast", inputs[3], to=TensorProto.INT32)
    its = node.get_attributes()
    made = writer.emit(
        "LSTM",
        turned[0],
        inner,
        outer,
        both,
        lengths,
        *turned[1:],
        outputs=3,
        hidden_size=its["hidden_size"],
        direction=its["direction"],
    )
    rows = writer.emit("Transpose", made[0], perm=[2, 1, 0, 3])
    return [rows, *(writer.emit("Transpose", last, perm=[1, 0, 2]) for last in made[1:])]


def _swish(writer: Writer, node: Any, inputs: Names) -> str:
    scaled = writer.emit("Mul", *inputs) if len(inputs) > 1 else inputs[0]
    return str(writer.emit("Mul", inputs[0], writer.emit("Sigmoid", scaled)))


def _gelu(writer: Writer, node: Any, inputs: Names) -> str:
    kind = node.get_attributes()["approximation_mode"].lower()
    return str(writer.emit("Gelu", inputs[0], approximate="tanh" if kind == "tanh" else "none"))


def _split(writer: Writer, node: Any, inputs: Names) -> Names:
    sizes = [output.partial_shape[int(_known(node, 1).item())].get_length() for output in node.outputs()]
    made = writer.emit(
        "Split",
        inputs[0],
        writer.constant(sizes, np.int64),
        outputs=len(sizes),
        axis=int(_known(node, 1).item()),
    )
    return [made] if isinstance(made, str) else made


def _batch_norm(writer: Writer, node: Any, inputs: Names) -> str:
    return str(writer.emit("BatchNormalization", *inputs, epsilon=node.get_attributes()["epsilon"]))


SAME = {
    **{name: name for name in "Sqrt Exp Log Erf Sign Floor Relu Sigmoid Tanh Sin Cos Identity HardSigmoid".split()},  # noqa: SIM905
    **{name: name for name in "Range Greater Less Equal Mish".split()},  # noqa: SIM905
    **{"Add": "Add", "Subtract": "Sub", "Multiply": "Mul", "Divide": "Div", "Power": "Pow"},
    **{"Minimum": "Min", "Maximum": "Max", "Absolute": "Abs", "Abs": "Abs", "Negative": "Neg", "Ceiling": "Ceil"},
    **{"GreaterEqual": "GreaterOrEqual", "LessEqual": "LessOrEqual", "LogicalAnd": "And", "LogicalOr": "Or"},
    **{"LogicalXor": "Xor", "LogicalNot": "Not", "Select": "Where", "HSwish": "HardSwish", "SoftPlus": "Softplus"},
    **{"Tile": "Tile", "Broadcast": "Expand"},
}
"""Operators of OpenVINO that are one of ONNX with the same inputs in the same order."""
ROWS: dict[str, Row] = {
    **{name: _plain(operator) for name, operator in SAME.items()},
    "Broadcast": lambda writer, node, inputs: writer.emit("Expand", *inputs[:2]),
    "Convert": _cast,
    "Convolution": _convolution,
    "GroupConvolution": _group_convolution,
    "MaxPool": _pool("MaxPool"),
    "AvgPool": _pool("AveragePool"),
    "MatMul": _matmul,
    "Squeeze": _squeeze,
    "Unsqueeze": _axes_of("Unsqueeze"),
    "ReduceSum": _reduced("ReduceSum"),
    "ReduceMean": _reduced("ReduceMean"),
    "ReduceMax": _reduced("ReduceMax"),
    "ReduceMin": _reduced("ReduceMin"),
    "Reshape": _reshape,
    "Transpose": _transpose,
    "Gather": _gather,
    "Slice": _slice,
    "Clamp": _clamp,
    "Round": _round,
    "ShapeOf": _shape,
    "Concat": _along("Concat"),
    "Softmax": _along("Softmax"),
    "ScatterElementsUpdate": _scatter,
    "Pad": _pad,
    "PRelu": _prelu,
    "MVN": _mvn,
    "ScaledDotProductAttention": _attention,
    "LSTMSequence": _lstm,
    "Swish": _swish,
    "Gelu": _gelu,
    "HSigmoid": lambda writer, node, inputs: writer.emit("HardSigmoid", inputs[0], alpha=1 / 6, beta=0.5),
    "Split": _split,
    "VariadicSplit": _split,
    "BatchNormInference": _batch_norm,
}
"""What each operator of OpenVINO is in ONNX."""
