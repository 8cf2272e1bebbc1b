"""What a disk has room for, and the errors that say that it has not."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headstart.base.errors import UsageError

TEMPORARY = ".headstart-part-"
"""How the names of files and folders begin that are not whole yet."""


@contextmanager
def reraise_disk_errors(path: Path, needed: int) -> Iterator[None]:
    """Raise a UsageError that names the bytes needed and free where the disk is full, or no file may be written.

    Args:
        path: what the block writes.
        needed: how many bytes it needs.
    """
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

    Args:
        folder: the folder.
        what: what it is, for the message ("the cache").

    Raises:
        UsageError: it cannot be created or written.
    """
    probe = folder / f"{TEMPORARY}{os.getpid()}-probe"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with reraise_disk_errors(folder, 1):
            probe.write_bytes(b"x")
            probe.unlink()
    except OSError as error:
        raise UsageError(
            f"{what} {folder} must be a folder that can be written", error.strerror or error, "name another folder"
        ) from error
