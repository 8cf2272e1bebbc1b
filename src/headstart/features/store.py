"""The features store: one SQLite file, one row an example, every row with a checksum."""

from __future__ import annotations

import sqlite3
import threading
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart.base.disk import check_writable, free_bytes
from headstart.base.errors import UsageError

FILE = "features.sqlite"
KEYS_AT_ONCE = 500  # SQLite takes 999 variables in a query at least
BUSY_SECONDS = 60.0
ROW_EXTRA = 128  # bytes of a row beside its value, and its share of the index
PAGE = 16_384  # bytes: a row of the default source fits into one
EMPTY = 8 * PAGE  # bytes of a store without rows, with the log and the index of it
DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT)
READ_ERRORS = (sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS)


@dataclass(frozen=True)
class StoredRow:
    """What is kept of one example."""

    x: NDArray[np.float32]  # its features, float32 of shape (d,), every block
    summary: NDArray[np.uint8]  # what is kept beside them, as bytes: uint8 of shape (m,); see `features.modality`


def row_key(example: str, made_by: str) -> bytes:
    """Return the key of a row: 32 bytes over the example's sha256 and what makes its features."""
    return sha256(bytes.fromhex(example) + bytes.fromhex(made_by)).digest()


class Store:
    """Rows of features under `folder`, shared by processes and threads; a killed one loses what it had not committed.

    Raises:
        UsageError: the folder cannot be written.
    """

    def __init__(self, folder: Path, *, wait: float = BUSY_SECONDS) -> None:
        check_writable(folder, what="the cache")
        self.path, self._wait = folder / FILE, wait
        self._damaged_rows = 0
        self._damaged_files: list[str] = []
        self._lock = threading.RLock()
        self._db = self._opened()

    @property
    def notes(self) -> tuple[str, ...]:
        """What was damaged so far, one sentence each."""
        count = f"{self._damaged_rows} rows were" if self._damaged_rows > 1 else "1 row was"
        rows = [f"{count} damaged in the features cache and computed again"] if self._damaged_rows else []
        return (*self._damaged_files, *rows)

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, once no thread reads or writes it; one that asks afterwards gets a UsageError."""
        with self._lock, suppress(sqlite3.Error):
            self._db.close()

    def get_many(self, keys: Sequence[bytes]) -> dict[bytes, StoredRow]:
        """Return the rows there are; a damaged one counts as absent, and is noted."""
        rows: dict[bytes, StoredRow] = {}
        damaged: list[bytes] = []
        with self._lock:
            try:
                for key, width, value, checksum in self._rows(keys):
                    if _checksum(key, width, value) == checksum and len(value) >= 4 * width:
                        x = np.frombuffer(value, np.float32, width)
                        rows[key] = StoredRow(x, np.frombuffer(value, np.uint8, offset=4 * width))
                    else:
                        damaged.append(key)
                if damaged:
                    self._forget(damaged)
            except sqlite3.Error as error:
                self._mend(error)
        return rows

    def most_rows(self) -> int:
        """Return a number that the store has no more rows than."""
        with self._lock:
            try:
                return int(self._db.execute("SELECT coalesce(max(rowid), 0) FROM features").fetchone()[0])
            except sqlite3.Error as error:
                self._mend(error)
                return 0

    def put_many(self, rows: Mapping[bytes, StoredRow], *, to_come: int = 0) -> None:
        """Commit `rows`, all or none.

        Raises:
            UsageError: the disk is full, which counts the rows `to_come` as well, or cannot be written; rows committed
                before are kept.
        """
        values = [(key, *_packed(key, row)) for key, row in rows.items()]
        size = sum(len(value) for _, _, value, _ in values)
        needed = size + size * to_come // max(len(values), 1)
        with self._lock:
            try:
                self._insert(values)
            except sqlite3.Error as error:
                self._mend(error, needed)
                try:
                    self._insert(values)
                except sqlite3.Error as again:
                    raise self._usage_error(again, needed) from again

    def check_room(self, rows: int, size: int) -> None:
        """Raise UsageError, before work starts, unless the disk has room for `rows` more rows of `size` bytes."""
        needed, free = rows * (size + ROW_EXTRA), free_bytes(self.path.parent)
        if needed > free:
            raise self._full(needed)

    def _rows(self, keys: Sequence[bytes]) -> Iterator[tuple[bytes, int, bytes, int]]:
        for start in range(0, len(keys), KEYS_AT_ONCE):
            some = keys[start : start + KEYS_AT_ONCE]
            marks = ",".join("?" * len(some))
            yield from self._db.execute(
                f"SELECT key, width, value, checksum FROM features WHERE key IN ({marks})",  # noqa: S608
                some,
            )

    def _insert(self, values: list[tuple[bytes, int, bytes, int]]) -> None:
        with self._writing():
            self._db.executemany("INSERT OR REPLACE INTO features VALUES (?, ?, ?, ?)", values)

    def _forget(self, keys: list[bytes]) -> None:
        with self._writing():
            self._db.executemany("DELETE FROM features WHERE key = ?", [(key,) for key in keys])
        self._damaged_rows += len(keys)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise

    def _opened(self) -> sqlite3.Connection:
        try:
            return _connect(self.path, self._wait)
        except sqlite3.Error as error:
            if not _is_damage(error):
                raise self._usage_error(error, 0) from error
            self._set_aside()
            return _connect(self.path, self._wait)

    def _mend(self, error: sqlite3.Error, needed: int = 0) -> None:
        """Set a damaged file aside and start a new one; anything else is for the user to mend."""
        if not _is_damage(error):
            raise self._usage_error(error, needed) from error
        self.close()
        self._set_aside()
        self._db = _connect(self.path, self._wait)

    def _set_aside(self) -> None:
        aside = _free_name(self.path)
        self.path.replace(aside)
        for suffix in ("-wal", "-shm"):
            part = self.path.with_name(self.path.name + suffix)
            with suppress(FileNotFoundError):
                part.replace(aside.with_name(aside.name + suffix))
        self._damaged_files.append(
            f"the features cache was damaged: it is kept as {aside.name}, and its features are computed again"
        )

    def _usage_error(self, error: sqlite3.Error, needed: int) -> UsageError:
        code = getattr(error, "sqlite_errorcode", 0)
        starved = code & 0xFF == sqlite3.SQLITE_IOERR and free_bytes(self.path.parent) < EMPTY
        if code == sqlite3.SQLITE_FULL or starved:
            return self._full(max(needed, EMPTY))
        if code & 0xFF == sqlite3.SQLITE_BUSY:
            return UsageError(
                f"the features cache {self.path} must be free to write within {self._wait:g} s",
                "another process holds it",
                "end that process, or set HEADSTART_CACHE to another folder",
            )
        return UsageError(
            f"the features cache {self.path} must be readable and writable",
            error,
            "mend the disk or its permissions, or set HEADSTART_CACHE to another folder",
        )

    def _full(self, needed: int) -> UsageError:
        return UsageError(
            f"the features cache {self.path} needs {needed:,} more bytes",
            f"{free_bytes(self.path.parent):,} bytes free",
            "free some space, or set HEADSTART_CACHE to another disk, and run the same command again: "
            "what was computed is kept",
        )


def _connect(path: Path, wait: float) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=wait, isolation_level=None, check_same_thread=False)
    try:
        db.execute(f"PRAGMA page_size = {PAGE}")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")  # a crash of the machine may cost the last rows, never the file
        db.execute("PRAGMA mmap_size = 0")  # a mapped file that is cut short kills the process with a signal
        db.execute(
            "CREATE TABLE IF NOT EXISTS features"
            " (key BLOB PRIMARY KEY, width INTEGER NOT NULL, value BLOB NOT NULL, checksum INTEGER NOT NULL)"
        )
    except sqlite3.Error:
        db.close()
        raise
    return db


def _is_damage(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF in DAMAGED or code in READ_ERRORS


def _packed(key: bytes, row: StoredRow) -> tuple[int, bytes, int]:
    x = np.ascontiguousarray(row.x, dtype=np.float32)
    value = x.tobytes() + np.ascontiguousarray(row.summary, dtype=np.uint8).tobytes()
    return len(x), value, _checksum(key, len(x), value)


def _checksum(key: bytes, width: int, value: bytes) -> int:
    """Return the CRC-32 over a row and its key, so that a row under another's key is found out as well."""
    return zlib.crc32(value, zlib.crc32(b"%b %d" % (key, width)))


def _free_name(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"{path.stem}-damaged-{number}{path.suffix}")).exists():
        number += 1
    return aside
