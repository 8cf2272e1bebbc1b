"""Keras's layers as torch's own modules with the same weights.

Keras's model on its torch backend gives the same features and trains. It is not run itself: OpenVINO 2026.4 does not
convert it by the way of our engine (operators without a rule, MobileNetV3Small and ResNet50 alike), and tuning
would have to be written a second time for it: its running statistics are parameters, its kernels lie in no `nn.Conv2d`,
where adapters and fused BatchNorm look for them, its layers turn bfloat16 back into float32 and move what they are
given to the device that Keras has chosen, and a step of training took 1 to 4.7 times as long (VGG16, MobileNetV3Large).

Maps are (n, c, h, w) here and (n, h, w, c) in Keras; Keras keeps kernels as (h, w, in, out), torch as (out, in, h, w).
Imports torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, inf
from typing import Any, cast

import torch
from torch import Tensor, nn

from headstart.base.errors import SourceError

SMALLEST_DEVIATION = 1e-7  # keras.config.epsilon(): the least that Normalization divides by
Parts = list[tuple[str, nn.Module]]
"""What a layer becomes, in the order in which it runs: what its name is followed by, and the module."""
Sides = tuple[int, int, int, int]  # left, right, top, bottom


class Function(nn.Module):
    """A function without weights as a module, so that its output has a name."""

    def __init__(self, function: Callable[..., Tensor], **settings: Any) -> None:
        super().__init__()
        self.function, self.settings = function, settings

    def forward(self, *values: Tensor) -> Tensor:
        """Return what the function gives."""
        return self.function(*values, **self.settings)


class Affine(nn.Module):
    """Each channel times a number, which may learn, plus a constant."""

    bias: Tensor

    def __init__(self, weight: Any, bias: Any = 0.0, *, learns: bool = False) -> None:
        super().__init__()
        factors, shifts = (torch.as_tensor(part, dtype=torch.float32).reshape(-1, 1, 1) for part in (weight, bias))
        self.register_buffer("bias", shifts)
        if learns:
            self.weight: Tensor = nn.Parameter(factors)
        else:
            self.register_buffer("weight", factors)

    def forward(self, x: Tensor) -> Tensor:
        """Return the map in its new units."""
        return x * self.weight + self.bias


class LayerNorm(nn.LayerNorm):
    """Layer normalisation over the channels, of rows or of maps."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised rows or maps, in the shape they came in."""
        if x.ndim == 2:
            return super().forward(x)
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def parts_of(layer: Any) -> Parts:
    """Return what a Keras layer becomes in torch, with its weights; nothing, where only training needs it.

    SourceError: a layer, or an activation of one, that has no counterpart here.
    """
    kind, activation = type(layer).__name__, getattr(getattr(layer, "activation", None), "__name__", "linear")
    if kind not in COUNTERPARTS or activation not in ACTIVATIONS:
        raise _unknown(f"{layer.name!r} of class {kind}, activation {activation}")
    numbers = [value for value in layer._inbound_nodes[0].arguments.args if isinstance(value, int | float)]
    if numbers:  # a map and a number, added or multiplied
        return [("", Affine(1.0, numbers) if kind == "Add" else Affine(numbers))]
    counterpart = COUNTERPARTS[kind](layer)
    parts = counterpart if isinstance(counterpart, list) else [("", counterpart)]
    if activation != "linear":
        parts.append(("_activation" if parts else "", ACTIVATIONS[activation]()))
    return parts


def _unknown(received: str) -> SourceError:
    return SourceError(
        "a Keras model must be built of layers that can be converted", received, "choose another network"
    )


def _value(variable: Any) -> Tensor:
    """Return a copy of a Keras variable's numbers; its mere shape, where the model was built without numbers."""
    return cast(Tensor, variable.value).detach().float().clone()


def _filled(module: nn.Module, weight: Tensor, bias: Any = None, **statistics: Tensor) -> nn.Module:
    """Return a module that was made without numbers, with these in it; `bias` is Keras's own, or None."""
    tensors = {"weight": weight.contiguous(), **({} if bias is None else {"bias": _value(bias)}), **statistics}
    module.load_state_dict(tensors, strict=True, assign=True)
    return module


def _same_padding(layer: Any, kernel: Sequence[int], dilation: Sequence[int] = (1, 1)) -> Sides:
    """Return TensorFlow's `same` padding: an odd one at the right and the bottom."""
    if layer.padding == "valid":
        return 0, 0, 0, 0
    missing = [
        max((ceil(length / stride) - 1) * stride + (width - 1) * gap + 1 - length, 0)
        for length, width, stride, gap in zip(layer.input.shape[1:3], kernel, layer.strides, dilation, strict=True)
    ]
    (top, bottom), (left, right) = ((total // 2, total - total // 2) for total in missing)
    return left, right, top, bottom


def _convolution(weight: Tensor, bias: Any, *, groups: int = 1, layer: Any = None) -> Parts:
    """Return a convolution, behind a step that pads where the sides differ; `weight` is in torch's layout.

    Strides, padding and dilation are those of `layer`; of a convolution of one position without one.
    """
    sides: Sides = (0, 0, 0, 0)
    settings: dict[str, Any] = {"groups": groups, "bias": bias is not None, "device": "meta"}
    if layer is not None:
        sides = _same_padding(layer, layer.kernel_size, layer.dilation_rate)
        settings |= {"stride": layer.strides, "dilation": layer.dilation_rate}
    uneven = sides[0] != sides[1] or sides[2] != sides[3]
    outputs, inputs, high, wide = weight.shape
    padding = 0 if uneven else (sides[2], sides[0])
    module = _filled(nn.Conv2d(inputs * groups, outputs, (high, wide), padding=padding, **settings), weight, bias)
    return [("_pad", nn.ZeroPad2d(sides)), ("", module)] if uneven else [("", module)]


def _conv(layer: Any) -> Parts:
    return _convolution(_value(layer.kernel).permute(3, 2, 0, 1), layer.bias, groups=layer.groups, layer=layer)


def _depthwise(layer: Any, kernel: Any, bias: Any) -> Parts:
    weight = _value(kernel).permute(2, 3, 0, 1)
    return _convolution(weight.reshape(-1, 1, *weight.shape[2:]), bias, groups=len(weight), layer=layer)


def _separable(layer: Any) -> Parts:
    first = [(f"_depthwise{suffix}", module) for suffix, module in _depthwise(layer, layer.depthwise_kernel, None)]
    return first + _convolution(_value(layer.pointwise_kernel).permute(3, 2, 0, 1), layer.bias)


def _dense(layer: Any) -> Parts | nn.Module:
    weight = _value(layer.kernel).T
    if len(layer.output.shape) == 4:  # on a map, a dense layer is a convolution of one position
        return _convolution(weight[:, :, None, None], layer.bias)
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=layer.bias is not None, device="meta")
    return _filled(linear, weight, layer.bias)


def _batch_norm(layer: Any) -> nn.Module:
    mean, variance = _value(layer.moving_mean), _value(layer.moving_variance)
    weight = torch.ones_like(mean) if layer.gamma is None else _value(layer.gamma)
    statistics = {"running_mean": mean, "running_var": variance, "num_batches_tracked": torch.zeros(()).long()}
    return _filled(nn.BatchNorm2d(len(mean), eps=layer.epsilon, device="meta"), weight, layer.beta, **statistics)


def _layer_norm(layer: Any) -> nn.Module:
    weight = _value(layer.gamma)
    return _filled(LayerNorm(len(weight), eps=layer.epsilon, device="meta"), weight, layer.beta)


def _standardise(layer: Any) -> nn.Module:
    """Return Keras's Normalization: each channel minus its mean, divided by the root of its variance."""
    learnt = layer.input_mean is None
    mean, variance = map(_value, layer.weights[:2]) if learnt else (layer.input_mean, layer.input_variance)
    if learnt and variance.is_meta:
        return Affine(torch.ones(mean.shape), torch.zeros(mean.shape))
    deviation = torch.as_tensor(variance, dtype=torch.float64).sqrt().clamp_min(SMALLEST_DEVIATION)
    return Affine(1 / deviation, -torch.as_tensor(mean) / deviation)


def _max_pool(layer: Any) -> Parts:
    sides, pool = _same_padding(layer, layer.pool_size), nn.MaxPool2d(layer.pool_size, layer.strides)
    return [("_pad", nn.ConstantPad2d(sides, -inf)), ("", pool)] if any(sides) else [("", pool)]


def _mean_pool(layer: Any) -> nn.Module:
    left, right, top, bottom = _same_padding(layer, layer.pool_size)
    if left != right or top != bottom:
        raise _unknown(f"uneven sides in {layer.name!r}")
    return nn.AvgPool2d(layer.pool_size, layer.strides, padding=(top, left), count_include_pad=False)


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "gelu": nn.GELU,
    "hard_silu": nn.Hardswish,
    "linear": nn.Identity,
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "softmax": lambda: nn.Softmax(dim=1),
}
COUNTERPARTS: dict[str, Callable[[Any], Parts | nn.Module]] = {
    "Activation": lambda layer: [],
    "Add": lambda layer: Function(torch.add),
    "AveragePooling2D": _mean_pool,
    "BatchNormalization": _batch_norm,
    "Concatenate": lambda layer: Function(lambda *maps: torch.cat(maps, 1)),
    "Conv2D": _conv,
    "CustomScaleLayer": lambda layer: Function(torch.add, alpha=float(layer.scale)),
    "Dense": _dense,
    "DepthwiseConv2D": lambda layer: _depthwise(layer, layer.kernel, layer.bias),
    "Dropout": lambda layer: [],
    "Flatten": lambda layer: Function(lambda x: x.permute(0, 2, 3, 1).flatten(1)),
    "GlobalAveragePooling2D": lambda layer: Function(torch.mean, dim=(2, 3), keepdim=layer.keepdims),
    "InputLayer": lambda layer: [],
    "LayerNormalization": _layer_norm,
    "LayerScale": lambda layer: Affine(_value(layer.gamma), learns=True),
    "MaxPooling2D": _max_pool,
    "Multiply": lambda layer: Function(torch.mul),
    "Normalization": _standardise,
    "ReLU": lambda layer: nn.ReLU() if layer.max_value is None else nn.Hardtanh(0.0, float(layer.max_value)),
    "Rescaling": lambda layer: Affine(layer.scale, layer.offset),
    "Reshape": lambda layer: nn.Flatten() if len(layer.target_shape) == 1 else nn.Unflatten(1, (-1, 1, 1)),
    "SeparableConv2D": _separable,
    "ZeroPadding2D": lambda layer: nn.ZeroPad2d((*layer.padding[1], *layer.padding[0])),
}
