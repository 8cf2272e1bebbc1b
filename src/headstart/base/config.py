"""What the environment sets: HEADSTART_CACHE and HEADSTART_OFFLINE, nothing else."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """Return the folder of cached features and compiled networks (`HEADSTART_CACHE`, else `~/.cache/headstart`)."""
    named = os.environ.get("HEADSTART_CACHE")
    return at_home(named) if named else Path.home() / ".cache" / "headstart"


def at_home(name: str) -> Path:
    """Return a path whose `~` is a home; a name that is none, as `~nobody`, stays as it is."""
    return Path(os.path.expanduser(name))  # noqa: PTH111 - that of a path raises RuntimeError


_share: int | None = None


def use_cores(count: int | None) -> None:
    """Let this process use so many processor cores at most, as one of several on its machine; None for all."""
    global _share  # noqa: PLW0603
    _share = count


def cores_shared() -> int | None:
    """Return how many cores this process was told to use; None where it may use all."""
    return _share


def cores() -> int:
    """Return how many processor cores this process may use (where the system does not say: how many there are)."""
    allowed = getattr(os, "sched_getaffinity", None)
    there = len(allowed(0)) if allowed is not None else os.cpu_count() or 1
    return there if _share is None else min(there, _share)


def cpu_info() -> dict[str, str]:
    """Return what Linux says of the first processor core, by name; nothing where the system says nothing."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in reversed(lines) if ":" in line)
    return {name.strip(): value.strip() for name, value in pairs}


def offline() -> bool:
    """Return whether `HEADSTART_OFFLINE` forbids the network (any value but empty, 0, false or no)."""
    return os.environ.get("HEADSTART_OFFLINE", "").lower() not in ("", "0", "false", "no")
