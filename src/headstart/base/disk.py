"""Files and folders on disk: room for them, locks between processes, and writing all of a file or nothing."""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from headstart.base.errors import UsageError

TEMPORARY = ".headstart-part-"  # how the names of files and folders begin that are not whole yet
_PART = re.compile(rf"{re.escape(TEMPORARY)}(\d+)-")
RETRY_SECONDS = 0.2
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})  # what a full disk, a quota or a limit of files raises


@contextmanager
def reraise_disk_errors(path: Path, needed: int) -> Iterator[None]:
    """Raise a UsageError that names the bytes needed and free where the disk is full, or no file may be written."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise full_disk(error, path, needed) from error
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise UsageError(
                f"{path} must be writable", error.strerror, "name a folder that you may write to"
            ) from error
        raise


def full_disk(error: OSError, path: Path, needed: int = 0) -> UsageError:
    """Return what to say of an error in `FULL`; where nobody knows the bytes needed, they are 0."""
    limited = error.errno == errno.EFBIG
    return UsageError(
        f"{path} needs {f'{needed:,}' if needed else 'more'} free bytes",
        "a limit on the size of a file (ulimit -f)" if limited else f"{free_bytes(path):,} free bytes",
        "free some space, or name another folder, and run the same command again",
    )


def prove_room(path: Path, needed: int) -> None:
    """Raise the OSError that writing so many bytes to a new file `path` raises; no file is left.

    It is for libraries whose own error does not say why they could not write.
    """
    try:
        with path.open("wb") as file:
            for start in range(0, needed, 1 << 20):
                file.write(bytes(min(1 << 20, needed - start)))
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Give a folder that is gone afterwards; UsageError where there is no place for one, or it becomes full."""
    try:
        parent = Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        raise UsageError("a temporary folder must be writable", error.strerror, "set TMPDIR to another one") from error
    with reraise_disk_errors(parent, 0), tempfile.TemporaryDirectory(prefix="headstart-") as folder:
        yield Path(folder)


def free_bytes(path: Path) -> int:
    """Return the bytes free on the disk that holds `path` (or would hold it)."""
    folder = path
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def check_writable(folder: Path, *, what: str) -> None:
    """Create `folder`, and raise UsageError unless a file can be written there, before any work starts."""
    probe = folder / f"{TEMPORARY}{os.getpid()}-probe"
    try:
        with reraise_disk_errors(folder, 0):
            folder.mkdir(parents=True, exist_ok=True)
            try:
                probe.write_bytes(b"x")
            finally:  # a full disk has room for a name, and none for what is in it
                probe.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(
            f"{what} {folder} must be a folder that can be written", error.strerror or error, "name another folder"
        ) from error


@contextmanager
def process_lock(
    path: Path, *, on_wait: Callable[[], None] | None = None, on_retry: Callable[[], None] | None = None
) -> Iterator[None]:
    """Hold the lock file `path`, which is removed at the end, while the block runs; others that want it wait.

    Others are threads or processes. `on_wait` is called once if one of them holds it, `on_retry` before each further
    attempt, five times a second: what it raises ends the wait.

    Raises:
        UsageError: the file cannot be written.
    """
    from filelock import FileLock, Timeout

    with reraise_disk_errors(path.parent, 0):
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


def write_atomic(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that a reader, or a crash, meets the old file or the new one, never a part.

    The folder is made where there is none.

    Raises:
        UsageError: the disk is full or cannot be written; the old file is intact.
    """
    part = path.with_name(f"{TEMPORARY}{os.getpid()}-{path.name}")
    try:
        with reraise_disk_errors(path, len(data)):
            path.parent.mkdir(parents=True, exist_ok=True)
            _write_synced(part, data)
            part.replace(path)
            sync_folder(path.parent)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def sweep(folder: Path) -> None:
    """Remove the parts of files that processes that died were writing; those of living ones are not touched."""
    for path in folder.glob(f"{TEMPORARY}*"):
        process = _PART.match(path.name)
        if process and (int(process[1]) == os.getpid() or not _alive(int(process[1]))):
            with suppress(OSError):  # a folder in a file's place, or vanished: tidying fails nothing
                path.unlink()


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


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
    one after the other, and each removes what one that died has left. The name of a member may lead into a subfolder.
    Where the disk is full or cannot be written, that is a UsageError, and the old folder is intact.
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
                (part / name).parent.mkdir(parents=True, exist_ok=True)
                _write_synced(part / name, data)
            for inner in {(part / name).parent for name in members} | {part}:
                sync_folder(inner)
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
    folder = folder.resolve()  # `.` has no name
    return folder.parent / f"{TEMPORARY}aside-{folder.name}"
