"""Files that are there whole or not at all: written under a temporary name, synced, renamed."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from headstart.base.errors import UsageError

TEMPORARY = ".headstart-part-"


def write_atomic(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that a reader, or a crash, meets the old file or the new one, never a part.

    Raises:
        UsageError: the disk is full or cannot be written; the old file is intact.
    """
    part = path.with_name(f"{TEMPORARY}{os.getpid()}-{path.name}")
    try:
        with said_when_full(path, len(data)):
            with part.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
            sync_folder(path.parent)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def said_when_full(path: Path, needed: int) -> Iterator[None]:
    """Turn "disk full", "quota" and "read-only" into a UsageError that names the bytes needed and free."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UsageError(
                f"{path} needs {needed:,} free bytes",
                f"{free_bytes(path):,} free bytes",
                "free some space, or name another folder, and run the same command again",
            ) from error
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise UsageError(
                f"{path} must be writable", error.strerror, "name a folder that you may write to"
            ) from error
        raise


def free_bytes(path: Path) -> int:
    """Return the bytes free on the disk that holds `path` (or would hold it)."""
    folder = path
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def check_writable(folder: Path, *, what: str) -> None:
    """Create `folder` and prove that a file can be written there, before any work starts.

    Raises:
        UsageError: it cannot be created or written.
    """
    probe = folder / f"{TEMPORARY}{os.getpid()}-probe"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with said_when_full(folder, 1):
            probe.write_bytes(b"x")
            probe.unlink()
    except OSError as error:
        raise UsageError(
            f"{what} {folder} must be a folder that can be written", error.strerror or error, "name another folder"
        ) from error
