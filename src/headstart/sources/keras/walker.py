"""From a Keras model to a graph: its configuration, read as plain data, becomes the layers that `keras_graph` runs.

Needs no torch and no Keras: it is given `model.get_config()`, and the shapes of the arrays of each layer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from headstart.base.errors import SourceError

Config = Mapping[str, Any]
INPUT = "input"


@dataclass(frozen=True)
class Slot:
    """One array of a Keras layer and the tensor that it becomes.

    Attributes:
        layer: the Keras layer, as the model names it.
        path: where Keras 3 keeps the array in a `.weights.h5` file.
        shape: in Keras's layout.
        tensor: the tensor's name in the graph; empty for an array that nothing needs.
        turn: how its axes are rearranged: `kernel`, `depthwise`, `transpose`, `dense_kernel`, `channel` or `same`.
    """

    layer: str
    path: str
    shape: tuple[int, ...]
    tensor: str
    turn: str = "same"


@dataclass
class Walk:
    """A graph while it is being written.

    Attributes:
        shapes: of every array, in Keras's order.
        layers: what is written so far.
        slots: where each array goes.
        outputs: for each Keras layer, the graph's layer that holds its output.
        sizes: for each of the graph's layers, its output without the batch: (h, w, c) or (c,).
        constant: tensors that no array of Keras fills: name and length; all ones.
    """

    shapes: Sequence[tuple[int, ...]]
    layers: list[dict[str, Any]] = field(default_factory=list)
    slots: list[Slot] = field(default_factory=list)
    outputs: dict[str, str] = field(default_factory=dict)
    sizes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    constant: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, op: str, sources: Sequence[str], size: Sequence[int], **how: Any) -> str:
        """Write one layer and return its name."""
        if name in self.sizes:
            raise _unknown(f"two layers named {name!r}")
        self.layers.append({"name": name, "op": op, "from": list(sources), **how})
        self.sizes[name] = tuple(size)
        return name

    def fill(self, layer: str, path: str, tensors: Sequence[tuple[str, str]]) -> None:
        """Note that the arrays of `layer` fill these tensors, given with the turn of each, in Keras's order."""
        shapes = self.shapes[len(self.slots) : len(self.slots) + len(tensors)]
        if len(shapes) != len(tensors):
            raise _unknown(f"{len(shapes)} arrays in {layer!r}, for {len(tensors)}")
        for at, (shape, (tensor, turn)) in enumerate(zip(shapes, tensors, strict=True)):
            name = f"layers.{tensor}" if tensor else ""
            self.slots.append(Slot(layer, f"{path}/vars/{at}", tuple(shape), name, turn))


def walk(config: Config, shapes: Sequence[tuple[int, ...]]) -> Walk:
    """Return the graph of a functional Keras model, but for its `final`, `pool` and `scores`.

    Args:
        config: `model.get_config()` of a model with one input of known size, channels last.
        shapes: of all arrays of the model, layer by layer, in the order of each `layer.weights`.

    Raises:
        SourceError: a layer, or an argument of one, that this package cannot run itself.
    """
    found = Walk(shapes)
    for described, path in _with_paths(config["layers"], "layers"):
        name = described["config"]["name"]
        if described["class_name"] == "InputLayer":
            found.outputs[name] = INPUT
            found.sizes[INPUT] = tuple(described["config"]["batch_shape"][1:])
            continue
        sources = [found.outputs[source] for source in _sources(described)]
        found.outputs[name] = _write(found, described, path, sources)
    if len(found.slots) != len(shapes):
        raise _unknown(f"{len(shapes)} arrays, of which {len(found.slots)} have a place")
    return found


def _with_paths(layers: Sequence[Config], folder: str) -> Iterator[tuple[Config, str]]:
    """Yield each layer with its place in a `.weights.h5` file: its class in snake case, counted from the second on."""
    used: dict[str, int] = {}
    for layer in layers:
        plain = _snake_case(layer["class_name"])
        number = used.get(plain, 0)
        used[plain] = number + 1
        yield layer, f"{folder}/{plain}" + (f"_{number}" if number else "")


def _snake_case(name: str) -> str:
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def _sources(described: Config) -> list[str]:
    """Return the names of the layers that a layer takes its inputs from."""
    calls = described["inbound_nodes"]
    if len(calls) != 1:
        raise _unknown(f"the layer {described['config']['name']!r}, which is used {len(calls)} times")
    return list(_histories(calls[0]["args"]))


def _histories(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        if value.get("class_name") == "__keras_tensor__":
            yield value["config"]["keras_history"][0]
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _histories(part)


def _write(found: Walk, described: Config, path: str, sources: list[str]) -> str:
    """Write one Keras layer, with what it is made of, and return the name of its output."""
    kind, how = described["class_name"], _named(described, path)
    if described["module"].startswith(OPERATIONS):
        return _operation(found, described, how, sources)
    if kind == "Sequential":
        (source,) = sources
        inner = [layer for layer in how["layers"] if layer["class_name"] != "InputLayer"]
        for layer, place in _with_paths(inner, f"{path}/layers"):
            source = _write(found, layer, place, [source])
        return source
    if kind in PASSED:
        return sources[0]
    if kind not in WRITERS:
        raise _unknown(f"a layer of class {kind} ({how['name']!r})")
    if how.get("data_format", "channels_last") != "channels_last":
        raise _unknown(f"channels first in {how['name']!r}")
    return WRITERS[kind](found, how, path, sources)


def _named(described: Config, path: str) -> Config:
    """Return the settings of a layer; a name that Keras counted up in this process becomes the layer's place."""
    how = described["config"]
    automatic = re.fullmatch(_snake_case(described["class_name"]) + r"(_\d+)?", how["name"])
    return {**how, "name": path.removeprefix("layers/").replace("/", "_")} if automatic else how


def _operation(found: Walk, described: Config, how: Config, sources: list[str]) -> str:
    """Write an arithmetic operation: on two maps it is a layer; with a number it scales or shifts one."""
    given = described["inbound_nodes"][0]["args"]
    numbers = [float(value) for value in given if isinstance(value, (int, float))]
    if described["class_name"] not in ("Add", "Multiply") or len(sources) + len(numbers) != 2:
        raise _unknown(f"the operation {described['class_name']} ({how['name']!r})")
    if not numbers:
        return WRITERS[described["class_name"]](found, how, "", sources)
    by, plus = ([1.0], numbers) if described["class_name"] == "Add" else (numbers, [0.0])
    return found.add(how["name"], "affine", sources, found.sizes[sources[0]], scale=by, shift=plus)


def _unknown(what: str) -> SourceError:
    return SourceError("a Keras model must be built of layers that can be converted", what, "choose another network")


def _activated(found: Walk, how: Config, source: str) -> str:
    """Write the activation that a layer carries inside, if any."""
    if how.get("activation", "linear") == "linear":
        return source
    return _activation(found, {**how, "name": f"{how['name']}_activation"}, "", [source])


def _activation(found: Walk, how: Config, _path: str, sources: list[str]) -> str:
    name = ALIASES.get(how["activation"], how["activation"])
    if name == "linear":
        return sources[0]
    if name not in KNOWN_ACTIVATIONS:
        raise _unknown(f"the activation {how['activation']!r} ({how['name']!r})")
    return found.add(how["name"], "activation", sources, found.sizes[sources[0]], activation=name)


def _relu(found: Walk, how: Config, _path: str, sources: list[str]) -> str:
    if how["threshold"]:
        raise _unknown(f"a threshold in {how['name']!r}")
    size = found.sizes[sources[0]]
    return found.add(how["name"], "relu", sources, size, ceiling=how["max_value"], slope=how["negative_slope"])


def _padding(how: Config, size: Sequence[int], kernel: Sequence[int], dilation: Sequence[int]) -> list[int]:
    """Return top, bottom, left, right: TensorFlow's `same` pads what is missing, the odd one below and to the right."""
    if how["padding"] == "valid":
        return [0, 0, 0, 0]
    found = []
    for length, width, stride, gap in zip(size, kernel, how["strides"] or kernel, dilation, strict=False):
        missing = max((ceil(length / stride) - 1) * stride + (width - 1) * gap + 1 - length, 0)
        found += [missing // 2, missing - missing // 2]
    return found


def _windowed(size: Sequence[int], pad: Sequence[int], kernel: Sequence[int], stride: Sequence[int]) -> tuple[int, ...]:
    """Return height and width after a window of `kernel` (dilation counted in) has run over a padded map."""
    return tuple((size[at] + pad[2 * at] + pad[2 * at + 1] - kernel[at]) // stride[at] + 1 for at in (0, 1))


def _convolve(found: Walk, how: Config, name: str, source: str, **shape: Any) -> str:
    """Write one convolution; `shape` holds in, out, kernel, groups, bias, and `stride` where it is not the layer's."""
    size, dilation = found.sizes[source], list(how["dilation_rate"])
    stride = shape.pop("stride", list(how["strides"]))
    pad = _padding({**how, "strides": stride}, size, shape["kernel"], dilation)
    reach = [(shape["kernel"][at] - 1) * dilation[at] + 1 for at in (0, 1)]
    after = (*_windowed(size, pad, reach, stride), shape["out"])
    return found.add(name, "conv", [source], after, stride=stride, dilation=dilation, pad=pad, **shape)


def _conv(found: Walk, how: Config, path: str, sources: list[str]) -> str:
    name, channels = str(how["name"]), found.sizes[sources[0]][-1]
    shape = {"in": channels, "out": how["filters"], "kernel": list(how["kernel_size"]), "groups": how["groups"]}
    _convolve(found, how, name, sources[0], bias=how["use_bias"], **shape)
    found.fill(name, path, [(f"{name}.weight", "kernel"), (f"{name}.bias", "same")][: 1 + how["use_bias"]])
    return _activated(found, how, name)


def _depthwise(found: Walk, how: Config, path: str, sources: list[str]) -> str:
    name, channels = str(how["name"]), found.sizes[sources[0]][-1]
    shape = {
        "in": channels,
        "out": channels * how["depth_multiplier"],
        "kernel": list(how["kernel_size"]),
        "groups": channels,
    }
    _convolve(found, how, name, sources[0], bias=how["use_bias"], **shape)
    found.fill(name, path, [(f"{name}.weight", "depthwise"), (f"{name}.bias", "same")][: 1 + how["use_bias"]])
    return _activated(found, how, name)


def _separable(found: Walk, how: Config, path: str, sources: list[str]) -> str:
    name, channels = str(how["name"]), found.sizes[sources[0]][-1]
    middle, first = channels * how["depth_multiplier"], f"{how['name']}_depthwise"
    shape = {"in": channels, "out": middle, "kernel": list(how["kernel_size"]), "groups": channels, "bias": False}
    _convolve(found, how, first, sources[0], **shape)
    shape = {"in": middle, "out": how["filters"], "kernel": [1, 1], "groups": 1, "bias": how["use_bias"]}
    _convolve(found, {**how, "dilation_rate": [1, 1]}, name, first, stride=[1, 1], **shape)
    tensors = [(f"{first}.weight", "depthwise"), (f"{name}.weight", "kernel"), (f"{name}.bias", "same")]
    found.fill(name, path, tensors[: 2 + how["use_bias"]])
    return _activated(found, how, name)


def _dense(found: Walk, how: Config, path: str, sources: list[str]) -> str:
    name, size = str(how["name"]), found.sizes[sources[0]]
    if len(size) == 3:  # on a map, a dense layer is a convolution of one position
        shape = {"in": size[-1], "out": how["units"], "kernel": [1, 1], "groups": 1, "bias": how["use_bias"]}
        one = {"dilation_rate": [1, 1], "strides": [1, 1], "padding": "valid"}
        _convolve(found, one, name, sources[0], **shape)
    else:
        shape = {"in": size[-1], "out": how["units"], "bias": how["use_bias"]}
        found.add(name, "dense", sources, (how["units"],), **shape)
    turn = "dense_kernel" if len(size) == 3 else "transpose"
    found.fill(name, path, [(f"{name}.weight", turn), (f"{name}.bias", "same")][: 1 + how["use_bias"]])
    return _activated(found, how, name)


def _batch_norm(found: Walk, how: Config, path: str, sources: list[str]) -> str:
    name, size = str(how["name"]), found.sizes[sources[0]]
    _last_axis(how, size)
    if len(size) != 3 or not how["center"] or how.get("renorm"):
        raise _unknown(f"the settings of {name!r}")
    found.add(name, "batch_norm", sources, size, channels=size[-1], epsilon=how["epsilon"])
    tensors = [(f"{name}.{part}", "same") for part in ("weight", "bias", "running_mean", "running_var")]
    if not how["scale"]:
        found.constant[f"layers.{tensors.pop(0)[0]}"] = size[-1]
    found.fill(name, path, tensors)
    return name


def _layer_norm(found: Walk, how: Config, path: str, sources: list[str]) -> str:
    name, size = str(how["name"]), found.sizes[sources[0]]
    _last_axis(how, size)
    if not how["center"] or not how["scale"] or how.get("rms_scaling"):
        raise _unknown(f"the settings of {name!r}")
    found.add(name, "layer_norm", sources, size, channels=size[-1], epsilon=how["epsilon"])
    found.fill(name, path, [(f"{name}.weight", "same"), (f"{name}.bias", "same")])
    return name


def _last_axis(how: Config, size: Sequence[int]) -> None:
    """Refuse a normalisation over any other axis than the channels."""
    axis = how["axis"][0] if isinstance(how["axis"], (list, tuple)) and len(how["axis"]) == 1 else how["axis"]
    if axis not in (-1, len(size)):
        raise _unknown(f"the axis {how['axis']} in {how['name']!r}")


def _standardise(found: Walk, how: Config, path: str, sources: list[str]) -> str:
    name, size = str(how["name"]), found.sizes[sources[0]]
    _last_axis(how, size)
    if how["invert"]:
        raise _unknown(f"the inverse in {name!r}")
    if how["mean"] is not None:
        scale = [1 / max(variance**0.5, 1e-7) for variance in how["variance"]]
        shift = [-mean * factor for mean, factor in zip(how["mean"], scale, strict=True)]
        return found.add(name, "affine", sources, size, scale=scale, shift=shift)
    found.add(name, "standardise", sources, size, channels=size[-1])
    found.fill(name, path, [(f"{name}.mean", "channel"), (f"{name}.variance", "channel"), ("", "same")])
    return name


def _rescale(found: Walk, how: Config, _path: str, sources: list[str]) -> str:
    given = (how["scale"], how["offset"])
    scale, shift = (list(value) if isinstance(value, (list, tuple)) else [value] for value in given)
    return found.add(how["name"], "affine", sources, found.sizes[sources[0]], scale=scale, shift=shift)


def _layer_scale(found: Walk, how: Config, path: str, sources: list[str]) -> str:
    name, size = str(how["name"]), found.sizes[sources[0]]
    found.add(name, "scale", sources, size, channels=size[-1])
    found.fill(name, path, [(f"{name}.weight", "channel")])
    return name


def _pool(op: str) -> Callable[[Walk, Config, str, list[str]], str]:
    def write(found: Walk, how: Config, _path: str, sources: list[str]) -> str:
        size, kernel = found.sizes[sources[0]], list(how["pool_size"])
        stride = list(how["strides"] or kernel)
        pad = _padding({**how, "strides": stride}, size, kernel, [1, 1])
        if op == "mean_pool" and (pad[0] != pad[1] or pad[2] != pad[3]):
            raise _unknown(f"uneven sides in {how['name']!r}")
        after = (*_windowed(size, pad, kernel, stride), size[-1])
        return found.add(how["name"], op, sources, after, kernel=kernel, stride=stride, pad=pad)

    return write


def _mean(found: Walk, how: Config, _path: str, sources: list[str]) -> str:
    channels = found.sizes[sources[0]][-1]
    after = (1, 1, channels) if how["keepdims"] else (channels,)
    return found.add(how["name"], "mean", sources, after, keep=how["keepdims"])


def _sides(sign: int, op: str, key: str) -> Callable[[Walk, Config, str, list[str]], str]:
    def write(found: Walk, how: Config, _path: str, sources: list[str]) -> str:
        (top, bottom), (left, right) = how[key]
        high, wide, channels = found.sizes[sources[0]]
        after = (high + sign * (top + bottom), wide + sign * (left + right), channels)
        return found.add(how["name"], op, sources, after, pad=[top, bottom, left, right])

    return write


def _add(found: Walk, how: Config, _path: str, sources: list[str]) -> str:
    return found.add(how["name"], "add", sources, found.sizes[sources[0]], scale=how.get("scale", 1.0))


def _multiply(found: Walk, how: Config, _path: str, sources: list[str]) -> str:
    largest = max((found.sizes[source] for source in sources), key=lambda size: (len(size), size))
    return found.add(how["name"], "multiply", sources, largest)


def _join(found: Walk, how: Config, _path: str, sources: list[str]) -> str:
    sizes = [found.sizes[source] for source in sources]
    if how["axis"] not in (-1, 3):
        raise _unknown(f"the axis {how['axis']} in {how['name']!r}")
    return found.add(how["name"], "join", sources, (*sizes[0][:-1], sum(size[-1] for size in sizes)))


def _flatten(found: Walk, how: Config, _path: str, sources: list[str]) -> str:
    high, wide, channels = found.sizes[sources[0]]
    return found.add(how["name"], "flat", sources, (high * wide * channels,))


def _reshape(found: Walk, how: Config, _path: str, sources: list[str]) -> str:
    size, target = found.sizes[sources[0]], tuple(how["target_shape"])
    if size[:-1] not in ((), (1, 1)) or target[:-1] not in ((), (1, 1)):
        raise _unknown(f"the shape {target} in {how['name']!r}")  # only there do both layouts order numbers alike
    shape = [size[-1], *target[:-1]]
    return found.add(how["name"], "reshape", sources, (*target[:-1], size[-1]), shape=shape)


OPERATIONS = ("keras.src.ops", "keras.ops")
PASSED = ("Dropout", "SpatialDropout2D", "StochasticDepth", "GaussianNoise")
"""What does nothing once training is over."""
ALIASES = {"swish": "silu", "hard_swish": "hard_silu"}
KNOWN_ACTIVATIONS = ("gelu", "hard_sigmoid", "hard_silu", "relu", "relu6", "sigmoid", "silu", "softmax", "tanh")
WRITERS: dict[str, Callable[[Walk, Config, str, list[str]], str]] = {
    "Activation": _activation,
    "Add": _add,
    "AveragePooling2D": _pool("mean_pool"),
    "BatchNormalization": _batch_norm,
    "Concatenate": _join,
    "Conv2D": _conv,
    "Cropping2D": _sides(-1, "crop", "cropping"),
    "CustomScaleLayer": _add,
    "Dense": _dense,
    "DepthwiseConv2D": _depthwise,
    "Flatten": _flatten,
    "GlobalAveragePooling2D": _mean,
    "LayerNormalization": _layer_norm,
    "LayerScale": _layer_scale,
    "MaxPooling2D": _pool("max_pool"),
    "Multiply": _multiply,
    "Normalization": _standardise,
    "ReLU": _relu,
    "Rescaling": _rescale,
    "Reshape": _reshape,
    "SeparableConv2D": _separable,
    "ZeroPadding2D": _sides(1, "pad", "padding"),
}
