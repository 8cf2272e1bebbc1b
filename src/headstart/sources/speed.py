"""How quickly sources run on this machine: what the last extraction of each has measured."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from headstart.base.cache import read_record, write_record
from headstart.base.config import cache_dir
from headstart.base.errors import UsageError
from headstart.base.hashing import sha256_json
from headstart.sources.base import SourceInfo

FEWEST = 32  # examples that a speed is measured on


def remember_speed(info: SourceInfo, *, examples: int, seconds: float) -> None:
    """Keep how long the network of a source took for so many examples, unless these are too few to tell."""
    if examples >= FEWEST and seconds > 0:
        with suppress(UsageError):  # the disk is full: whoever writes results there says so
            write_record(_path(info), round(examples / seconds, 3))


def known_speed(info: SourceInfo) -> float | None:
    """Return the examples that a source runs in a second here; None where that was not measured yet."""
    speed = read_record(_path(info))
    return speed if isinstance(speed, float) else None


def _path(info: SourceInfo) -> Path:
    return cache_dir() / "speeds" / f"{sha256_json([info.sha256, list(map(str, info.input.items()))])}.json"
