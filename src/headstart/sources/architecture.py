"""What an architecture is, whatever its weights; cached, so that a warm run need not build the network."""

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
    """What an architecture is, whatever its weights."""

    parameters: int  # number of weights, without the classifier
    classes: int  # how many classes its own classifier has; 0 for none
    preprocessing: Preprocessing
    taps: tuple[Tap, ...]  # where its standard blocks are taken
    more: tuple[Tap, ...] = ()  # where the blocks are taken that only a layer's name asks for
    hub: str = ""  # where its trained weights are: a repository of the Hugging Face hub, or an address; empty for none
    licence: str = ""  # of those weights, as the library states it; empty where it does not
    tag: str = ""  # which of its trained weights the name stands for
    notes: tuple[str, ...] = ()  # what the user of its weights must be told, one line each


def remembered(key: Mapping[str, Any], inspect: Callable[[], Architecture]) -> Architecture:
    """Return the architecture that the cache holds under `key`, or else what `inspect` returns, which is cached.

    `key` is what it depends on: the name, and the versions of the libraries that define it. `inspect` imports torch.
    """
    path = cache_dir() / "sources" / f"{sha256_json({**key, 'recipe': RECIPE, 'anatomy': 2})}.json"
    if (cached := read_record(path)) is not None:
        return from_json(cached)
    architecture = inspect()
    write_record(path, asdict(architecture))
    return architecture


def from_json(record: Mapping[str, Any]) -> Architecture:
    """Return the architecture of a record that `asdict` and JSON made."""
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in record["preprocessing"].items()
    }
    plain = {name: value for name, value in record.items() if name not in ("preprocessing", "taps", "more", "notes")}
    taps, more = (tuple(Tap(**tap) for tap in record[name]) for name in ("taps", "more"))
    notes = tuple(record["notes"])
    return Architecture(preprocessing=Preprocessing(**values), taps=taps, more=more, notes=notes, **plain)
