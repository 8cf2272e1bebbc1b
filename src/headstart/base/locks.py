"""Locks between processes: `filelock`, whose locks the system lets go of when their process dies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from headstart.base.disk import reraise_disk_errors

RETRY_SECONDS = 0.2


@contextmanager
def process_lock(
    path: Path, *, on_wait: Callable[[], None] | None = None, on_retry: Callable[[], None] | None = None
) -> Iterator[None]:
    """Hold the lock file `path` while the block runs; another process, or thread, that wants it waits.

    Args:
        path: the lock file; it is created, and removed at the end.
        on_wait: called once if another one holds it.
        on_retry: called before each further attempt to take it, five times a second; what it raises ends the wait.

    Raises:
        UsageError: the lock file cannot be written.
    """
    from filelock import FileLock, Timeout

    with reraise_disk_errors(path.parent, 1):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            if on_wait is not None:
                on_wait()
            while not lock.is_locked:
                if on_retry is not None:
                    on_retry()
                with suppress(Timeout):
                    lock.acquire(timeout=RETRY_SECONDS)
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)  # whoever waits for it finds that the file is gone, and makes a new one
        lock.release()
