"""Files and folders that are there whole or not at all: written under a temporary name, synced, renamed."""

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

from headstart.base.errors import UsageError

TEMPORARY = ".headstart-part-"
AT_FDCWD = -100  # <fcntl.h>: relative paths start at the working directory
RENAME_EXCHANGE = 2  # <linux/fs.h>
NO_EXCHANGE = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)


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
