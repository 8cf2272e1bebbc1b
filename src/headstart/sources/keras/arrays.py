"""From Keras's arrays to the tensors of a graph: which array goes where, and how its axes are turned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.base.errors import SourceError, list_some
from headstart.sources.keras.blueprint import Blueprint

Array = NDArray[np.generic]
TURNS: dict[str, Callable[[Array], Array]] = {
    "same": lambda array: array,
    "kernel": lambda array: array.transpose(3, 2, 0, 1),
    "depthwise": lambda array: array.transpose(2, 3, 0, 1).reshape(-1, 1, *array.shape[:2]),
    "transpose": lambda array: array.T,
    "dense_kernel": lambda array: array.T[:, :, None, None],
    "channel": lambda array: array.reshape(-1, 1, 1),
}
"""Keras keeps kernels as (h, w, in, out), torch as (out, in, h, w)."""


@dataclass(frozen=True)
class Assigned:
    """Arrays of a file in the order of a blueprint's slots.

    Attributes:
        arrays: one for each slot.
        left: names of the file's arrays that no slot needs: a head, or an optimiser's.
    """

    arrays: tuple[Array, ...]
    left: tuple[str, ...]


def to_tensors(blueprint: Blueprint, arrays: Sequence[Array]) -> dict[str, NDArray[np.float32]]:
    """Return the tensors of the graph by name, float32, in torch's layout.

    Args:
        blueprint: of the network.
        arrays: one for each of its slots, in order.
    """
    found = {
        slot.tensor: np.ascontiguousarray(TURNS[slot.turn](array), dtype=np.float32)
        for slot, array in zip(blueprint.slots, arrays, strict=True)
        if slot.tensor
    }
    return {**found, **{name: np.ones(length, np.float32) for name, length in blueprint.constant.items()}}


def assign(blueprint: Blueprint, held: Mapping[str, Array], *, where: str) -> Assigned:
    """Return the arrays of a Keras file in the order of the slots.

    Files of Keras 3 name arrays by their place in the model, and are matched by it. Older ones keep the layers in the
    order of the model, under names that differ from run to run, and are matched by order and shape; what follows the
    last of the network's own is left.

    Args:
        blueprint: of the network.
        held: what `read_arrays` returned.
        where: what holds them, for messages.

    Raises:
        SourceError: an array is missing or of another shape; the message lists the first three.
    """
    by_place = any("/vars/" in name for name in held)
    names = _by_place(blueprint, held) if by_place else _by_order(blueprint, held)
    wrong = [
        f"{slot.layer} {slot.shape}, found {held[name].shape if name in held else 'nothing'}"
        for slot, name in zip(blueprint.slots, names, strict=True)
        if name not in held or held[name].shape != slot.shape
    ]
    if wrong:
        raise SourceError(
            f"{where} must hold the {len(names)} arrays of {blueprint.graph['name']}",
            f"{len(wrong)} that do not fit: {list_some(wrong, separator='; ')}",
            "name the architecture that the file belongs to",
        )
    taken = set(names)
    return Assigned(tuple(held[name] for name in names), tuple(name for name in held if name not in taken))


def _by_place(blueprint: Blueprint, held: Mapping[str, Array]) -> list[str]:
    """Return where each slot's array lies; the network may itself be a layer of the model that was saved."""
    first = blueprint.slots[0]
    folders = [name.removesuffix(first.path) for name in held if name.endswith(f"/{first.path}") or name == first.path]
    fits = [sum(f"{folder}{slot.path}" in held for slot in blueprint.slots) for folder in folders]
    folder = folders[int(np.argmax(fits))] if folders else ""
    return [f"{folder}{slot.path}" for slot in blueprint.slots]


def _by_order(blueprint: Blueprint, held: Mapping[str, Array]) -> list[str]:
    """Return the names of the file in its order, one a slot, filled up with nothing where there are too few."""
    names = list(held)[: len(blueprint.slots)]
    return names + [""] * (len(blueprint.slots) - len(names))
