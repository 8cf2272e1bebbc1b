"""Layers: where the blocks of a network's outputs are taken, and which of them are the features.

Which is chosen after everything was computed once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from headstart.base.errors import UsageError, did_you_mean
from headstart.base.mapped import blocks_of, rows_array
from headstart.engines.base import Block

AUTO = "auto"
POOL = "pool"
JOINED = "joined"
MEMBER = "/"
"""What stands between the number of a member of several sources and its block."""
FAINT = 1e-6
"""Of a block's length: numbers below it are rounding, which a square root would lift a thousandfold."""
POOLINGS = ("cls", "mean", "max", "mean_sqrt_len_tokens")
"""How the vectors of tokens become one vector of a text, by the names of sentence-transformers."""


@dataclass(frozen=True)
class Tap:
    """One block of features and where it is taken."""

    name: str  # the block's name, such as `pool`, `stage4.avg` or `final.max`.
    width: int  # how many features it has
    reduce: Literal["pool", "avg", "max", "flatten"]  # `pool` is the network's own; `flatten` keeps every position
    module: str = ""  # the part whose output is taken, in torch's dotted form; empty for the final map
    channels_last: bool = False  # whether that output is (n, ..., c) and not (n, c, h, w).

    @property
    def block(self) -> Block:
        """The block that it yields."""
        return Block(self.name, self.width)


@dataclass(frozen=True)
class Stage:
    """A part of a network whose output can be taken; `module` and `channels_last` are as in `Tap`."""

    name: str  # what it is called in layers
    module: str
    width: int  # channels of its output
    channels_last: bool = False
    positions: int = 0  # of that output: height times width, or tokens


def taps(
    pool: int, stages: Sequence[Stage], final: Stage | None, *, max_pooled: Sequence[str] | None = None
) -> tuple[Tap, ...]:
    """Return the taps of a network: `pool`, its late stages averaged, the last of them and the final map max-pooled.

    `pool` is the width of the pooled features; `final` is None where the network has no such map; the stages named in
    `max_pooled`, the last two by default, are max-pooled as well.
    """
    last = [stage.name for stage in stages[-2:]] if max_pooled is None else list(max_pooled)
    chosen = [Tap("pool", pool, "pool")]
    chosen += [Tap(f"{at.name}.avg", at.width, "avg", at.module, at.channels_last) for at in stages]
    chosen += [Tap(f"{at.name}.max", at.width, "max", at.module, at.channels_last) for at in stages if at.name in last]
    if final is not None:
        chosen.append(Tap(f"{final.name}.max", final.width, "max", final.module, final.channels_last))
    return tuple(chosen)


def more_taps(standard: Sequence[Tap], stages: Sequence[Stage], final: Stage | None) -> tuple[Tap, ...]:
    """Return the taps that are taken only when a layer names them: what `standard` leaves out, and `flatten`.

    `stages` are all of them, the early ones too; `final` is None where it is the last of them, or there is none.
    """
    maps = [*stages, final] if final is not None else list(stages)
    every = [
        Tap(f"{at.name}.{how}", at.width, how, at.module, at.channels_last) for at in maps for how in ("avg", "max")
    ]
    if maps:
        last = maps[-1]
        every.append(Tap("flatten", last.width * last.positions, "flatten", last.module, last.channels_last))
    taken = {tap.name for tap in standard}
    return tuple(tap for tap in every if tap.name not in taken)


@dataclass(frozen=True)
class Pooling:
    """How the vectors of tokens become one."""

    operation: str  # one of `POOLINGS`
    normalise: bool  # whether the result is scaled to unit length
    layers: tuple[int, ...]  # further layers whose mean is taken, counted from 0


def layer_names(blocks: Sequence[str]) -> tuple[str, ...]:
    """Return the layers of a source whose outputs are named `blocks`: `pool`, `joined` and each stage.

    Of several sources each has its own, after its number: `1/pool`, `1/joined`.
    """
    names: list[str] = []
    for member, own in groupby(blocks, key=member_of):
        first, *others = own
        names += [first, f"{member}{JOINED}", *others] if others else [first]
    return tuple(names)


def member_of(name: str) -> str:
    """Return how the blocks and layers of a member of several sources begin, such as `1/`; empty for those of one."""
    member, slash, _ = name.rpartition(MEMBER)
    return member + slash


def stages_of(layer: str, standard: Sequence[str]) -> tuple[str, ...]:
    """Return the blocks that a layer is made of, each once; `standard` are those that `joined` stands for."""
    names: list[str] = []
    for part in layer.replace(",", "+").split("+"):
        member = member_of(part)
        names += [own for own in standard if member_of(own) == member] if part == f"{member}{JOINED}" else [part]
    return tuple(dict.fromkeys(names))


def check_layer(layer: str, layers: Sequence[str]) -> None:
    """Raise UsageError unless `layer` is `auto`, one of `layers`, stages joined by `+`, or such ones joined by `,`."""
    for side in layer.split(","):
        for part in side.split("+"):
            stages = [name for name in layers if name != JOINED]
            names = stages if "+" in side else [*layers] if "," in layer else [AUTO, *layers]
            if part not in names:
                raise UsageError(
                    f"the layer must be one of {', '.join(layers)} (stages can be joined by +)",
                    repr(part),
                    f"choose one{did_you_mean(part, names)}",
                )


def select_rows(
    x: NDArray[np.float32], rows: NDArray[np.intp], blocks: Sequence[Block], layer: str
) -> tuple[NDArray[np.float32], tuple[Block, ...]]:
    """Return the columns of one layer of some `rows` (n,) of `x`, as `select` does; many of them in a mapped file."""
    chosen = select(x[:0], blocks, layer)[1]
    columns = rows_array((len(rows), sum(block.width for block in chosen)), np.float32)
    for part in blocks_of(len(rows), x.shape[1] * x.itemsize):
        columns[part] = select(x[rows[part]], blocks, layer)[0]
    return columns, chosen


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
        layer: `pool`, `joined` (every block), the name of a block, or several joined by `+`, in which order they come;
            or such layers with `,` between them, each as it is alone, side by side.

    Raises:
        UsageError: no such layer; the message lists those there are.
    """
    check_layer(layer, layer_names([block.name for block in blocks]))
    if layer == AUTO:
        raise UsageError("a layer must be chosen before columns are taken", repr(layer), "choose pool or joined")
    if "," in layer:
        sides = [select(x, blocks, side) for side in layer.split(",")]
        return np.hstack([columns for columns, _ in sides]), tuple(block for _, taken in sides for block in taken)
    names = list(stages_of(layer, [block.name for block in blocks]))
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
