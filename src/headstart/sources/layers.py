"""Layers: which blocks of a network's outputs are the features, chosen after everything was computed once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from headstart.base.errors import UsageError, did_you_mean
from headstart.engines.base import Block

AUTO = "auto"
POOL = "pool"
JOINED = "joined"
FAINT = 1e-6
"""Of a block's length: numbers below it are rounding, which a square root would lift a thousandfold."""


def layer_names(blocks: Sequence[str]) -> tuple[str, ...]:
    """Return the layers of a source whose outputs are named `blocks`: `pool`, `joined` and each stage."""
    return (blocks[0], JOINED, *blocks[1:]) if len(blocks) > 1 else tuple(blocks)


def check_layer(layer: str, layers: Sequence[str]) -> None:
    """Raise UsageError unless `layer` is `auto`, one of `layers`, or several stages joined by `+`."""
    for part in layer.split("+"):
        stages = [name for name in layers if name != JOINED]
        names = stages if "+" in layer else [AUTO, *layers]
        if part not in names:
            raise UsageError(
                f"the layer must be one of {', '.join(layers)} (stages can be joined by +)",
                repr(part),
                f"choose one{did_you_mean(part, names)}",
            )


def select(
    x: NDArray[np.float32], blocks: Sequence[Block], layer: str
) -> tuple[NDArray[np.float32], tuple[Block, ...]]:
    """Return the columns of one layer, and which blocks they are.

    A single block is returned as the network gives it. Of several, every number gives way to its square root, with
    its sign (power normalisation, Perronnin et al. 2010), so that a few strong channels do not drown the rest; then
    each row of each block is scaled to unit length, so that no block outweighs another. A row of zeros stays zero; what
    is but rounding beside the rest of its block becomes zero.

    Args:
        x: float32 of shape (n, d), all blocks side by side; their widths sum to d.
        layer: `pool`, `joined` (every block), the name of a block, or several joined by `+`, in which order they come.

    Raises:
        UsageError: no such layer; the message lists those there are.
    """
    check_layer(layer, layer_names([block.name for block in blocks]))
    if layer == AUTO:
        raise UsageError("a layer must be chosen before columns are taken", repr(layer), "choose pool or joined")
    names = [block.name for block in blocks] if layer == JOINED else list(dict.fromkeys(layer.split("+")))
    starts = np.cumsum([0, *(block.width for block in blocks)])
    place = {block.name: (start, block) for start, block in zip(starts, blocks, strict=False)}
    chosen = tuple(place[name][1] for name in names)
    if len(chosen) == 1:
        start = place[names[0]][0]
        return np.ascontiguousarray(x[:, start : start + chosen[0].width]), chosen
    joined = np.empty((len(x), sum(block.width for block in chosen)), dtype=np.float32)
    column = 0
    for name in names:
        start, block = place[name]
        part = joined[:, column : column + block.width]
        columns = x[:, start : start + block.width]
        faint = FAINT * np.sqrt(np.einsum("ij,ij->i", columns, columns))[:, None]
        np.copysign(np.sqrt(np.abs(columns)), columns, out=part)
        part[np.abs(columns) <= faint] = 0
        length = np.sqrt(np.einsum("ij,ij->i", part, part))[:, None]
        np.divide(part, length, out=part, where=length > 0)
        column += block.width
    return joined, chosen
