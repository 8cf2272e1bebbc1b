"""The recipe of a network's blocks: where each is taken, and how it is reduced to one row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from headstart.engines.base import Block

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
