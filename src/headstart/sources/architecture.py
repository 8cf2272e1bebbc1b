"""Anatomy: what an architecture is, whatever its weights; remembered, so that a warm run need not build it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from headstart.base.cache import read_record, write_record
from headstart.base.config import cache_dir
from headstart.base.hashing import sha256_json
from headstart.data.images.preprocessing import Preprocessing
from headstart.sources.base import RECIPE
from headstart.sources.taps import Tap


@dataclass(frozen=True)
class Architecture:
    """What an architecture is, whatever its weights.

    Attributes:
        parameters: number of weights, without the classifier.
        classes: how many classes its own classifier has; 0 for none.
        preprocessing: how it wants its pictures.
        taps: where its standard blocks are taken.
        more: where the blocks are taken that only a layer's name asks for.
        hub: where its trained weights are: a repository of the Hugging Face hub, or an address; empty for none.
        licence: of those weights, as the library states it; empty where it does not.
        tag: which of its trained weights the name stands for.
        notes: what the user of its weights must be told, one line each.
    """

    parameters: int
    classes: int
    preprocessing: Preprocessing
    taps: tuple[Tap, ...]
    more: tuple[Tap, ...] = ()
    hub: str = ""
    licence: str = ""
    tag: str = ""
    notes: tuple[str, ...] = ()


def remembered(key: Mapping[str, Any], look: Callable[[], Architecture]) -> Architecture:
    """Return the anatomy kept in the cache under `key`, or what `look` finds, which is kept.

    Args:
        key: what the anatomy depends on: the name, and the versions of the libraries that define it.
        look: builds the architecture and looks at it; imports torch.
    """
    path = cache_dir() / "sources" / f"{sha256_json({**key, 'recipe': RECIPE, 'anatomy': 2})}.json"
    if (cached := read_record(path)) is not None:
        return from_json(cached)
    anatomy = look()
    write_record(path, asdict(anatomy))
    return anatomy


def from_json(held: Mapping[str, Any]) -> Architecture:
    """Return the anatomy that `asdict` and JSON made `held` of."""
    how: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in held["preprocessing"].items()
    }
    plain = {name: value for name, value in held.items() if name not in ("preprocessing", "taps", "more", "notes")}
    taps, more = (tuple(Tap(**tap) for tap in held[name]) for name in ("taps", "more"))
    notes = tuple(held["notes"])
    return Architecture(preprocessing=Preprocessing(**how), taps=taps, more=more, notes=notes, **plain)
