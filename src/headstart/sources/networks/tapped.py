"""Taps: one pass through a torch network that yields its pooled features and what its late stages say.

Imports torch: only the files that build a network import this one, and only when they do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from headstart.data.images.preprocessing import Preprocessing
from headstart.sources.taps import Tap


def reduced(values: Tensor, reduction: str, channels_last: bool) -> Tensor:
    """Return the mean (`avg`) or maximum (`max`) over positions: (n, c) for a map of (n, c, h, w).

    With `channels_last` the map is (n, h, w, c), or (n, tokens, c). `flatten` keeps every number, in the map's order.
    """
    if reduction == "flatten":
        return values.flatten(1)
    axes = tuple(range(1, values.ndim - 1)) if channels_last else tuple(range(2, values.ndim))
    return values.mean(axes) if reduction == "avg" else values.amax(axes)


class Normalised(nn.Module):
    """A body that takes prepared pictures: uint8 of shape (n, h, w, c) in 0..255, normalised inside."""

    scale: Tensor
    shift: Tensor

    def __init__(self, body: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.body = body
        shape = (1, -1, 1, 1)
        std = torch.tensor(preprocessing.std, dtype=torch.float64)
        mean = torch.tensor(preprocessing.mean, dtype=torch.float64)
        self.register_buffer("scale", (1 / (255 * std)).float().reshape(shape), persistent=False)
        self.register_buffer("shift", (-mean / std).float().reshape(shape), persistent=False)

    def normalised(self, pictures: Tensor) -> Tensor:
        """Return float32 of shape (n, c, h, w)."""
        return pictures.permute(0, 3, 1, 2).float() * self.scale + self.shift

    def forward(self, pictures: Tensor) -> Tensor:
        """Return what the body says of the normalised pictures."""
        output: Tensor = self.body(self.normalised(pictures))
        return output


class Probabilities(Normalised):
    """The body's own class probabilities, float32 of shape (n, k)."""

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the softmax of the body's scores."""
        return super().forward(pictures).softmax(-1)


class Tapped(Normalised):
    """The blocks that `taps` name, in one pass: a tuple of float32 of shape (n, width).

    The body has timm's two steps: `forward_features` to its final map, and `forward_head(…, pre_logits=True)` from
    there to its pooled features.
    """

    def __init__(self, body: nn.Module, preprocessing: Preprocessing, taps: Sequence[Tap]) -> None:
        super().__init__(body, preprocessing)
        self.taps = tuple(taps)
        for tap in taps:
            body.get_submodule(tap.module)

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        """Return the blocks in the order of the taps."""
        return self.with_cached(pictures, {})

    def with_cached(self, pictures: Tensor, cached: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """Return the blocks in the order of the taps; those that are `cached`, by name, as they are."""
        body: Any = self.body
        missing = [tap for tap in self.taps if tap.name not in cached]
        # Hooks live for one pass: another network over the same body must not keep this one's maps.
        with seen(body, sorted({tap.module for tap in missing if tap.module})) as outputs:
            final = body.forward_features(self.normalised(pictures))
        outputs[""] = final
        computed = {
            tap.name: (
                body.forward_head(final, pre_logits=True).flatten(1)
                if tap.reduce == "pool"
                else reduced(outputs[tap.module], tap.reduce, tap.channels_last)
            )
            for tap in missing
        }
        blocks = {**cached, **computed}
        return tuple(blocks[tap.name] for tap in self.taps)


@contextmanager
def seen(body: nn.Module, names: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Give a dict that fills with what the modules `names` of `body` return, the first of several, in this context."""
    outputs: dict[str, Any] = {}

    def keep(name: str) -> Callable[[nn.Module, Any, Any], None]:
        return lambda module, inputs, output: outputs.update({name: output[0] if isinstance(output, tuple) else output})

    hooks = [body.get_submodule(name).register_forward_hook(keep(name)) for name in names]
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()
