"""Keras networks as plain torch: a graph of named layers, described as data, and its tensors.

A graph is a JSON object, written by `keras_walk.py` and run by `build` without Keras::

    {"schema": 1, "name": "Xception", "input": [299, 299, 3],
     "layers": [{"name": "block1_conv1", "op": "conv", "from": ["input"], "in": 3, "out": 32, "kernel": [3, 3],
                 "stride": [2, 2], "dilation": [1, 1], "groups": 1, "bias": false, "pad": [0, 0, 0, 0]}, …],
     "final": "block14_sepconv2_act", "pool": "avg_pool", "scores": "predictions"}

Layers stand in the order in which they run; `from` names earlier layers, or `input`. `final` is the last feature map,
`pool` the layer with the pooled features (null: the mean of `final` over positions), `scores` the classifier's output
before its softmax (null: none). `pad` is top, bottom, left, right. Maps are (n, c, h, w); tensors are named
`layers.LAYER.weight` and so on, in torch's layout.

A converted source (`headstart sources convert`, opened as `file:FOLDER`) is a folder of `weights.safetensors`, the
tensors, and `source.json`, whose keys `convert.py` lists; `"graph": "keras"` there says that this file builds it.

Imports torch: only the files that build a network import this one, and only when they do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as fn

from headstart.base.errors import SourceError

SCHEMA = 1
INPUT = "input"
NEGLIGIBLE = 1e-7  # keras.config.epsilon(): the least standard deviation that Normalization divides by


class Graph(nn.Module):
    """A network with timm's two steps, `forward_features` and `forward_head`, that runs the layers of a graph.

    Args:
        graph: as this file's docstring describes it.
    """

    def __init__(self, graph: Mapping[str, Any]) -> None:
        super().__init__()
        self.graph = graph
        described = graph["layers"]
        self.layers = nn.ModuleDict({layer["name"]: OPS[layer["op"]](layer) for layer in described})
        self._from: dict[str, list[str]] = {layer["name"]: layer["from"] for layer in described}
        self._final, self._pool, self._scores = graph["final"], graph["pool"], graph["scores"]
        order = list(self._from)
        self._body, self._head = order[: order.index(self._final) + 1], order[order.index(self._final) + 1 :]
        self._last_use = {source: name for name, sources in self._from.items() for source in sources}

    def forward_features(self, pictures: Tensor) -> Tensor:
        """Return the final map, float32 of shape (n, c, h, w)."""
        return self._run(self._body, {INPUT: pictures}, self._final)

    def forward_head(self, final: Tensor, *, pre_logits: bool = False) -> Tensor:
        """Return the pooled features, float32 of shape (n, d), or the classifier's scores, (n, k)."""
        wanted = self._pool if pre_logits else self._scores
        if wanted is None:
            return final.mean((2, 3))
        return self._run(self._head, {self._final: final}, wanted).flatten(1)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the classifier's scores, or the pooled features where there is none."""
        return self.forward_head(self.forward_features(pictures), pre_logits=self._scores is None)

    def _run(self, order: Sequence[str], values: dict[str, Tensor], wanted: str) -> Tensor:
        """Run the layers in order until `wanted`; a map is let go after its last use."""
        for name in order:
            sources = self._from[name]
            values[name] = self.layers[name](*(values[source] for source in sources))
            if name == wanted:
                break
            for source in set(sources):
                if self._last_use[source] == name:
                    del values[source]
        return values[wanted]


class Padded(nn.Module):
    """A layer on a map padded by (top, bottom, left, right) with one value."""

    def __init__(self, inner: nn.Module, pad: Sequence[int], value: float = 0.0) -> None:
        super().__init__()
        top, bottom, left, right = pad
        self.inner, self.sides, self.value = inner, (left, right, top, bottom), value

    def forward(self, x: Tensor) -> Tensor:
        """Return the inner layer's output."""
        return cast(Tensor, self.inner(fn.pad(x, self.sides, value=self.value)))


class Uneven(nn.Conv2d):
    """A convolution whose padding differs from side to side, as TensorFlow's `same` has it where it strides."""

    sides: tuple[int, int, int, int]

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolved map."""
        return super().forward(fn.pad(x, self.sides))


def conv(layer: Mapping[str, Any]) -> nn.Conv2d:
    """Return a convolution with the padding that the graph states."""
    top, bottom, left, right = layer["pad"]
    even = top == bottom and left == right
    made = (nn.Conv2d if even else Uneven)(
        layer["in"],
        layer["out"],
        tuple(layer["kernel"]),
        stride=tuple(layer["stride"]),
        dilation=tuple(layer["dilation"]),
        groups=layer["groups"],
        bias=layer["bias"],
        padding=(top, left) if even else 0,
    )
    if isinstance(made, Uneven):
        made.sides = (left, right, top, bottom)
    return made


class Mean(nn.Module):
    """The mean over positions."""

    def __init__(self, layer: Mapping[str, Any]) -> None:
        super().__init__()
        self.keep = bool(layer["keep"])

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, c), or (n, c, 1, 1)."""
        return x.mean((2, 3), keepdim=self.keep)


class Add(nn.Module):
    """The sum of its inputs, all but the first multiplied by a constant."""

    def __init__(self, layer: Mapping[str, Any]) -> None:
        super().__init__()
        self.scale = float(layer.get("scale", 1.0))

    def forward(self, first: Tensor, *others: Tensor) -> Tensor:
        """Return the sum."""
        for other in others:
            first = first + (other if self.scale == 1.0 else other * self.scale)
        return first


class Multiply(nn.Module):
    """The product of its inputs, broadcast over positions."""

    def forward(self, first: Tensor, *others: Tensor) -> Tensor:
        """Return the product."""
        for other in others:
            first = first * other
        return first


class Join(nn.Module):
    """Its inputs side by side, along the channels."""

    def forward(self, *maps: Tensor) -> Tensor:
        """Return the joined map."""
        return torch.cat(maps, dim=1)


class Flat(nn.Module):
    """A map as one row, positions first and channels last, as Keras stores it."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, h * w * c)."""
        return x.permute(0, 2, 3, 1).flatten(1)


class Reshape(nn.Module):
    """The same numbers in another shape."""

    def __init__(self, layer: Mapping[str, Any]) -> None:
        super().__init__()
        self.shape = tuple(layer["shape"])

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, *shape)."""
        return x.reshape(-1, *self.shape)


class Affine(nn.Module):
    """Each channel times a constant, plus a constant."""

    scale: Tensor
    shift: Tensor

    def __init__(self, layer: Mapping[str, Any]) -> None:
        super().__init__()
        for name in ("scale", "shift"):
            value = torch.tensor(layer[name], dtype=torch.float64).float().reshape(-1, 1, 1)
            self.register_buffer(name, value, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the map in its new units."""
        return x * self.scale + self.shift


class Standardise(nn.Module):
    """Each channel minus its mean, divided by its standard deviation: Keras's Normalization, with learnt numbers."""

    mean: Tensor
    variance: Tensor

    def __init__(self, layer: Mapping[str, Any]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(layer["channels"], 1, 1))
        self.register_buffer("variance", torch.ones(layer["channels"], 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the standardised map."""
        return (x - self.mean) / self.variance.sqrt().clamp_min(NEGLIGIBLE)


class Scale(nn.Module):
    """Each channel times a learnt number."""

    def __init__(self, layer: Mapping[str, Any]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(layer["channels"], 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the scaled map."""
        return x * self.weight


class LayerNorm(nn.LayerNorm):
    """Layer normalisation over the channels, of rows or of maps."""

    def __init__(self, layer: Mapping[str, Any]) -> None:
        super().__init__(layer["channels"], eps=layer["epsilon"])

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised rows or maps, in the shape they came in."""
        if x.ndim == 2:
            return super().forward(x)
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Relu(nn.Module):
    """A rectifier, perhaps with a ceiling, perhaps with a slope below zero."""

    def __init__(self, layer: Mapping[str, Any]) -> None:
        super().__init__()
        self.ceiling, self.slope = layer["ceiling"], float(layer["slope"])

    def forward(self, x: Tensor) -> Tensor:
        """Return the rectified values."""
        x = fn.leaky_relu(x, self.slope) if self.slope else fn.relu(x)
        return x if self.ceiling is None else x.clamp_max(self.ceiling)


def _max_pool(layer: Mapping[str, Any]) -> nn.Module:
    pooled = nn.MaxPool2d(tuple(layer["kernel"]), tuple(layer["stride"]))
    return Padded(pooled, layer["pad"], float("-inf")) if any(layer["pad"]) else pooled


def _mean_pool(layer: Mapping[str, Any]) -> nn.Module:
    top, _, left, _ = layer["pad"]  # the walk refuses uneven sides
    kernel, stride = tuple(layer["kernel"]), tuple(layer["stride"])
    return nn.AvgPool2d(kernel, stride, padding=(top, left), count_include_pad=False)


def _crop(layer: Mapping[str, Any]) -> nn.Module:
    return Padded(nn.Identity(), [-side for side in layer["pad"]])


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "gelu": nn.GELU,
    "hard_sigmoid": nn.Hardsigmoid,
    "hard_silu": nn.Hardswish,
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "softmax": lambda: nn.Softmax(dim=1),
    "tanh": nn.Tanh,
}
OPS: dict[str, Callable[[Mapping[str, Any]], nn.Module]] = {
    "activation": lambda layer: ACTIVATIONS[layer["activation"]](),
    "add": Add,
    "affine": Affine,
    "batch_norm": lambda layer: nn.BatchNorm2d(layer["channels"], eps=layer["epsilon"]),
    "conv": conv,
    "crop": _crop,
    "dense": lambda layer: nn.Linear(layer["in"], layer["out"], bias=layer["bias"]),
    "flat": lambda _: Flat(),
    "join": lambda _: Join(),
    "layer_norm": LayerNorm,
    "max_pool": _max_pool,
    "mean": Mean,
    "mean_pool": _mean_pool,
    "multiply": lambda _: Multiply(),
    "pad": lambda layer: Padded(nn.Identity(), layer["pad"]),
    "relu": Relu,
    "reshape": Reshape,
    "scale": Scale,
    "standardise": Standardise,
}


def build(graph: Mapping[str, Any], tensors: Mapping[str, Tensor], *, where: str = "the weights") -> Graph:
    """Return the network of a graph with `tensors` as its weights, in inference mode.

    Args:
        graph: as this file's docstring describes it.
        tensors: by name, in torch's layout; every one of the network's, and no other.
        where: what holds the tensors, for messages.

    Raises:
        SourceError: the graph is none that this version can run, or the tensors do not fit it.
    """
    from headstart.sources.checkpoints.checks import check_finite, check_shapes

    try:
        if graph["schema"] != SCHEMA:
            raise ValueError(f"schema {graph['schema']!r}")
        with torch.device("meta"):
            body = Graph(graph)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SourceError(
            f"the graph of {where} must be one that this version can run",
            f"{type(error).__name__}: {error}",
            "convert the source again with this version",
        ) from error
    wanted = {name: value for name, value in body.state_dict().items() if not name.endswith("num_batches_tracked")}
    if wanted.keys() != tensors.keys():
        missing, extra = sorted(wanted.keys() - tensors.keys()), sorted(tensors.keys() - wanted.keys())
        raise SourceError(
            f"{where} must hold exactly the {len(wanted)} tensors of the graph",
            f"{len(missing)} missing {missing[:3]}, {len(extra)} too many {extra[:3]}",
            "convert the source again, or get its files again",
        )
    check_shapes(wanted, tensors, where=where)
    check_finite(tensors, where=where)
    counters = {name: torch.zeros((), dtype=torch.long) for name in body.state_dict() if name not in wanted}
    body.load_state_dict({**tensors, **counters}, strict=True, assign=True)
    return _with_constants(body, graph).eval()


def _with_constants(body: Graph, graph: Mapping[str, Any]) -> Graph:
    """Put the constants of the graph, which no tensor holds, in the place of what `meta` left of them."""
    for layer in graph["layers"]:
        if layer["op"] == "affine":
            body.layers[layer["name"]] = Affine(layer)
    return body
