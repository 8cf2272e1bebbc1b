"""Files and folders that are there whole or not at all: written under a temporary name, synced, renamed."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from headstart.base.disk import TEMPORARY, reraise_disk_errors
from headstart.base.locks import process_lock


def write_atomic(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that a reader, or a crash, meets the old file or the new one, never a part.

    Raises:
        UsageError: the disk is full or cannot be written; the old file is intact.
    """
    part = path.with_name(f"{TEMPORARY}{os.getpid()}-{path.name}")
    try:
        with reraise_disk_errors(path, len(data)):
            _write_synced(part, data)
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


def write_folder(folder: Path, members: Mapping[str, bytes]) -> None:
    """Write `folder` with exactly `members`, so that a reader that calls `restore` meets the old folder or the new one.

    The old folder is renamed, then the new one takes its name. A process that dies between the two leaves the old one
    beside, where `restore`, or the next call of this function, puts it back. Processes that write the same folder do so
    one after the other, and each removes what one that died has left.

    Args:
        folder: absent, empty or one to be replaced; what it holds is gone afterwards.
        members: file names (no subfolders) and their bytes.

    Raises:
        UsageError: the disk is full or cannot be written; the old folder is intact.
    """
    folder = folder.resolve()
    part = folder.with_name(f"{TEMPORARY}new-{folder.name}")
    with (
        reraise_disk_errors(folder, sum(map(len, members.values()))),
        process_lock(folder.with_name(f"{TEMPORARY}lock-{folder.name}")),
    ):
        restore(folder)
        shutil.rmtree(part, ignore_errors=True)
        try:
            part.mkdir()
            for name, data in members.items():
                _write_synced(part / name, data)
            sync_folder(part)
            _put_in_place(part, folder)
            sync_folder(folder.parent)
        finally:
            shutil.rmtree(part, ignore_errors=True)
            restore(folder)


def restore(folder: Path) -> None:
    """Put back the old `folder` where a run died between the two renames of `write_folder`."""
    aside = _aside(folder)
    if aside.is_dir() and not folder.exists():
        with suppress(OSError):  # another process was quicker, or the disk is read-only: the caller meets it next
            aside.rename(folder)


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _put_in_place(part: Path, folder: Path) -> None:
    """Let `part` take the place of `folder`."""
    aside = _aside(folder)
    while True:
        try:
            part.rename(folder)  # over nothing, or over an empty folder
            break
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        shutil.rmtree(aside, ignore_errors=True)
        folder.rename(aside)  # a reader may restore it before the next attempt, which then begins anew
    shutil.rmtree(aside, ignore_errors=True)


def _aside(folder: Path) -> Path:
    return folder.with_name(f"{TEMPORARY}aside-{folder.name}")
