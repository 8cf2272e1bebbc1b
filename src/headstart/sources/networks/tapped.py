"""Taps: one pass through a torch network that yields its features; and what its parts return, and when they run.

Imports torch: only the files that build a network import this one, and only when they do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn

from headstart.data.images.preprocessing import Preprocessing
from headstart.sources.base import Source
from headstart.sources.layers import Tap


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
        self.body, self.shape = body, preprocessing.shape
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


class BothViews(nn.Module):
    """What a network of blocks says of pictures, uint8 (n, h, w, c), and of their mirror images: the mean of both."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """Return the blocks in the order of the network."""
        blocks: tuple[Tensor, ...] = self.network(torch.cat([pictures, pictures.flip(2)]))
        return tuple((block[: len(pictures)] + block[len(pictures) :]) / 2 for block in blocks)


def accepts_size(source: Source, size: int, width: int = 0) -> bool:
    """Return whether a network gives features of the same widths for pictures of another size, in pixels."""
    preprocessing = source.preprocessing
    assert isinstance(preprocessing, Preprocessing)
    blank = torch.zeros(1, size, width or size, preprocessing.shape[2], dtype=torch.uint8)
    try:
        with torch.inference_mode():
            blocks = Tapped(source.module(), preprocessing, source.taps)(blank)
    except (RuntimeError, ValueError, AssertionError):
        return False  # position embeddings of one size, or a map that vanishes
    return [block.shape[1] for block in blocks] == [tap.width for tap in source.taps]


@contextmanager
def seen(body: nn.Module, names: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Give a dict that fills with what the modules `names` of `body` return, the first of several, in this context."""
    outputs: dict[str, Any] = {}

    def keep(name: str, output: Any) -> None:
        outputs[name] = output[0] if isinstance(output, tuple) else output

    with watching({name: body.get_submodule(name) for name in names}, keep):
        yield outputs


@dataclass(frozen=True)
class Span:
    """When a module ran: its first beginning and last end, in ticks that count those of all modules."""

    first: int
    last: int


def spans(body: nn.Module, run: Callable[[], Any]) -> dict[str, Span]:
    """Return the span of each module of `body` that `run` calls, by name; those that it passes by are absent."""
    ticks = count()
    first: dict[str, int] = {}
    last: dict[str, int] = {}

    def begin(name: str, inputs: Any) -> None:
        first.setdefault(name, next(ticks))

    def end(name: str, output: Any) -> None:
        last[name] = next(ticks)

    with watching(parts_of(body), end, begin):
        run()
    return {name: Span(first[name], last[name]) for name in last}


def parts_of(body: nn.Module) -> dict[str, nn.Module]:
    """Return every module of `body` by name, itself apart."""
    return {name: module for name, module in body.named_modules() if name}


@contextmanager
def watching(
    modules: Mapping[str, nn.Module],
    end: Callable[[str, Any], None],
    begin: Callable[[str, Any], None] = lambda name, inputs: None,
) -> Iterator[None]:
    """Call `begin(name, inputs)` before each of the modules runs and `end(name, output)` after it, inside the block."""
    hooks = []
    for name, module in modules.items():
        hooks.append(module.register_forward_pre_hook(lambda _, inputs, name=name: begin(name, inputs)))
        hooks.append(module.register_forward_hook(lambda _, inputs, output, name=name: end(name, output)))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
