"""What a file cannot say of itself: how it wants its pictures, in a small JSON file beside it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from headstart.base.errors import SourceError, did_you_mean
from headstart.data.images.preprocessing import Preprocessing

SUFFIX = ".preprocessing.json"
LARGEST = 1 << 16  # bytes


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= 4096


def _numbers(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) in (1, 3)
        and all(isinstance(one, int | float) and not isinstance(one, bool) and abs(one) < 1e6 for one in value)
    )


KEYS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "size": (lambda value: isinstance(value, list) and len(value) == 2 and all(map(_whole, value)), "[height, width]"),
    "resize": (lambda value: value is None or _whole(value), "pixels of the shorter side, or null to squash"),
    "interpolation": (
        lambda value: value in ("nearest", "bilinear", "bicubic", "lanczos"),
        "nearest, bilinear, bicubic or lanczos",
    ),
    "mean": (_numbers, "a list of a number for each channel, of values in 0..1"),
    "std": (lambda value: _numbers(value) and min(value) > 0, "a list of a number above 0 for each channel"),
    "channels": (lambda value: value in ("rgb", "bgr", "grey"), "rgb, bgr or grey"),
    "background": (
        lambda value: isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 255,
        "a whole number in 0..255",
    ),
    "pool": (lambda value: isinstance(value, str) and value != "", "the name of a tensor"),
}


@dataclass(frozen=True)
class SidecarMetadata:
    """What the file beside says: changes to the preprocessing, and the tensor to take as `pool`; empty for none."""

    changes: Mapping[str, Any]
    pool: str

    def applied(self, default: Preprocessing) -> Preprocessing:
        """Return `default` with the changes."""
        return replace(default, **self.changes)


def read_sidecar(path: Path) -> SidecarMetadata:
    """Return what `PATH.preprocessing.json` says; nothing where there is no such file.

    Raises:
        SourceError: it is no JSON object, or has an unknown key or a value that cannot be.
    """
    where = path.with_name(path.name + SUFFIX)
    if not where.exists():
        return SidecarMetadata({}, "")
    try:
        data = where.read_bytes()
        settings = json.loads(data) if len(data) <= LARGEST else None
    except (OSError, ValueError, RecursionError) as error:
        raise _refused(where, "be a JSON object", str(error)) from error
    if not isinstance(settings, dict):
        raise _refused(where, "be a small JSON object", f"{len(data):,} bytes of something else")
    for key, value in settings.items():
        if key not in KEYS:
            raise SourceError(
                f"keys of {where} must be among {', '.join(KEYS)}", repr(key), f"mend it{did_you_mean(key, KEYS)}"
            )
        valid, expected = KEYS[key]
        if not valid(value):
            raise _refused(where, f"give {expected} as {key}", repr(value))
    changes = {
        key: tuple(value) if isinstance(value, list) else value for key, value in settings.items() if key != "pool"
    }
    return SidecarMetadata(changes, settings.get("pool", ""))


def _refused(where: Path, must: str, received: str) -> SourceError:
    return SourceError(f"{where} must {must}", received, "mend the file, or remove it")
