"""Each row of the table computes in ONNX Runtime what OpenVINO computes; what has no row is refused by its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops

from headstart.base.errors import UsageError
from headstart.engines.openvino import compile_model
from headstart.ship.export.onnx_graph import to_onnx

onnxruntime = pytest.importorskip("onnxruntime")
RNG = np.random.default_rng(0)


def constant(*shape: int) -> Any:
    return ops.constant(RNG.normal(size=shape).astype(np.float32))


def whole(*numbers: int) -> Any:
    return ops.constant(np.array(numbers, np.int64))


def lstm(x: Any) -> Any:
    rows = ops.reshape(x, whole(0, 4, -1), special_zero=True)
    nothing = ops.constant(np.zeros((2, 1, 3), np.float32))
    weights = constant(1, 12, 15), constant(1, 12, 3), constant(1, 12)
    run = ops.lstm_sequence(rows, nothing, nothing, ops.constant(np.array([4, 4])), *weights, 3, "forward")
    return ops.concat([run.output(0), ops.unsqueeze(run.output(1), whole(2))], 2)


def attention(x: Any, mask: Any = None) -> Any:
    heads = ops.reshape(x, whole(0, 4, 5, 3), special_zero=True)
    return ops.scaled_dot_product_attention(heads, heads, heads, *([] if mask is None else [mask]))


ONES, NONE = [1, 1], [0, 0]
OPERATORS: dict[str, Callable[[Any], Any]] = {
    "convolution": lambda x: ops.convolution(x, constant(6, 4, 3, 3), [2, 2], ONES, ONES, ONES),
    "same padding": lambda x: ops.convolution(x, constant(6, 4, 3, 3), [2, 2], NONE, NONE, ONES, "same_upper"),
    "groups": lambda x: ops.group_convolution(x, constant(2, 3, 2, 3, 3), ONES, ONES, ONES, ONES),
    "max pool": lambda x: ops.max_pool(x, [2, 2], ONES, NONE, NONE, [2, 2], "ceil").output(0),
    "mean pool": lambda x: ops.avg_pool(x, [2, 2], ONES, ONES, [3, 3], exclude_pad=True),
    "prelu": lambda x: ops.prelu(x, constant(4)),
    "norm": lambda x: ops.mvn(x, whole(2, 3), normalize_variance=True, eps=1e-5, eps_mode="inside_sqrt"),
    "norm outside": lambda x: ops.mvn(x, whole(3), normalize_variance=True, eps=1e-2, eps_mode="outside_sqrt"),
    "centred": lambda x: ops.mvn(x, whole(1), normalize_variance=False, eps=1e-5, eps_mode="inside_sqrt"),
    "batch norm": lambda x: ops.batch_norm_inference(
        x, constant(4), constant(4), constant(4), ops.exp(constant(4)), 1e-3
    ),
    "attention": attention,
    "added mask": lambda x: attention(x, constant(2, 1, 1, 5)),
    "mask": lambda x: attention(x, ops.constant(np.array([[[[True, True, False, True, True]]]]))),
    "lstm": lstm,
    "gelu": lambda x: ops.add(ops.gelu(x, "erf"), ops.gelu(x, "tanh")),
    "swish": lambda x: ops.add(ops.swish(x), ops.swish(x, np.float32(1.5))),
    "hard": lambda x: ops.add(ops.hswish(x), ops.hsigmoid(x)),
    "smooth": lambda x: ops.add(ops.mish(x), ops.add(ops.softplus(x), ops.sigmoid(ops.tanh(ops.erf(x))))),
    "round": lambda x: ops.add(
        ops.round(x, "half_to_even"), ops.round(ops.multiply(x, np.float32(2)), "half_away_from_zero")
    ),
    "split": lambda x: ops.concat([*ops.split(x, np.int64(1), 2).outputs()][::-1], 1),
    "parts": lambda x: ops.concat([*ops.variadic_split(x, np.int64(1), whole(1, 3)).outputs()][::-1], 1),
    "reduce": lambda x: ops.add(
        ops.reduce_max(x, whole(2), keep_dims=True), ops.reduce_mean(x, whole(3), keep_dims=True)
    ),
    "product": lambda x: ops.matmul(x, constant(6, 5), transpose_a=True, transpose_b=True),
    "squeeze": lambda x: ops.squeeze(ops.slice(x, whole(1), whole(2), whole(1), whole(1)), whole(1)),
    "power": lambda x: ops.power(ops.abs(x), np.float32(1.5)),
    "clamp": lambda x: ops.clamp(ops.negative(x), -0.5, 0.25),
    "tile": lambda x: ops.tile(x, whole(1, 2, 1, 1)),
    "pad": lambda x: ops.pad(x, whole(0, 0, 1, 2), whole(0, 1, 0, 1), "constant", np.float32(3)),
    "logic": lambda x: ops.select(
        ops.logical_or(ops.less(x, np.float32(-1)), ops.greater(x, np.float32(1))), x, np.float32(0)
    ),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_computes_the_same_in_both(name: str) -> None:
    x = ops.parameter([2, 4, 5, 3], np.float32, name="x")
    x.output(0).get_tensor().set_names({"x"})
    y = OPERATORS[name](ops.multiply(x, np.float32(1)))
    value = y.output(0) if hasattr(y, "output") else y
    value.get_tensor().set_names({"y"})
    model = ov.Model([ops.result(value)], [x], "x")
    data = RNG.normal(size=(2, 4, 5, 3)).astype(np.float32)
    expected = compile_model(model)([data])[0]
    made = to_onnx(model, optional={}, properties={"about": "x"})
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    assert np.abs(session.run(None, {"x": data})[0] - expected).max() < 1e-5
    assert session.get_modelmeta().custom_metadata_map == {"about": "x"}


def test_an_operator_without_a_row_is_refused_by_its_name() -> None:
    x = ops.parameter([4], np.float32)
    with pytest.raises(UsageError, match="found Acosh; use --to openvino"):
        to_onnx(ov.Model([ops.acosh(x)], [x], "x"), optional={}, properties={})
