"""Folders that are there whole or not at all: written beside their place, synced, swapped in."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from headstart.base.files import TEMPORARY, said_when_full, sync_folder

AT_FDCWD = -100  # <fcntl.h>: relative paths start at the working directory
RENAME_EXCHANGE = 2  # <linux/fs.h>
NO_EXCHANGE = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)


def write_folder(folder: Path, members: Mapping[str, bytes]) -> None:
    """Write `folder` with exactly `members`, so that a reader, or a crash, meets the old folder or the new one.

    Leftovers of runs that died in this function are removed first.

    Args:
        folder: absent, empty or one to be replaced; what it holds is gone afterwards.
        members: file names (no subfolders) and their bytes.

    Raises:
        UsageError: the disk is full or cannot be written; the old folder is intact.
    """
    folder = folder.resolve()
    with said_when_full(folder, sum(map(len, members.values()))):
        folder.parent.mkdir(parents=True, exist_ok=True)
        restore(folder)
        _clear_dead(folder)
        with _part(folder) as part:
            for name, data in members.items():
                _write_synced(part / name, data)
            sync_folder(part)
            _put_in_place(part, folder)
            sync_folder(folder.parent)


def restore(folder: Path) -> None:
    """Put back the old `folder` where a run died between the two renames of a system that cannot swap folders."""
    aside = _aside(folder)
    if aside.is_dir() and not folder.exists():
        with suppress(OSError):  # another process was quicker, or the disk is read-only: the caller meets it next
            aside.rename(folder)


@contextmanager
def _part(folder: Path) -> Iterator[Path]:
    """Yield a new empty sibling of `folder`, locked for as long as this process works on it, and remove it after."""
    part = folder.with_name(f"{TEMPORARY}{secrets.token_hex(4)}-{folder.name}")
    part.mkdir()
    try:
        with _locked(part):
            yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _clear_dead(folder: Path) -> None:
    """Remove the leftovers beside `folder` that no living process holds a lock on."""
    for part in folder.parent.glob(f"{TEMPORARY}????????-*"):
        if part.name[len(TEMPORARY) + 9 :] == folder.name and part.is_dir():
            with suppress(OSError), _locked(part):
                shutil.rmtree(part, ignore_errors=True)


@contextmanager
def _locked(part: Path) -> Iterator[None]:
    """Hold the lock of a folder, which dies with the process; BlockingIOError when another one holds it."""
    handle = os.open(part, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _put_in_place(part: Path, folder: Path) -> None:
    """Let `part` take the place of `folder`; `part` then holds the old content, or is gone."""
    try:
        part.rename(folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        if not _exchange(part, folder):
            aside = _aside(folder)
            shutil.rmtree(aside, ignore_errors=True)
            folder.rename(aside)
            part.rename(folder)
            shutil.rmtree(aside, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two folders in one step; return False where the system or the file system cannot."""
    if not sys.platform.startswith("linux"):
        return False
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        return False
    if libc.renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in NO_EXCHANGE:
        return False
    raise OSError(code, os.strerror(code), str(other))


def _aside(folder: Path) -> Path:
    return folder.with_name(f"{TEMPORARY}aside-{folder.name}")
