"""Locks between processes: held while a block runs, and let go of by the system when their process dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from headstart.base.atomic import said_when_full


@contextmanager
def held(path: Path, *, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the lock file `path` while the block runs, so that work that two processes want is done once.

    It saves work and guards nothing: whatever is written under it must be safe without it.

    Args:
        path: the lock file; created, and removed again at the end.
        waiting: called once if another process holds it.
    """
    with said_when_full(path, 1):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting is not None:
                waiting()
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)
        os.close(handle)
