"""Rows of numbers that may be more than memory holds: small ones are in memory, large ones in a file that is mapped.

The file has no name, lies on the disk of the cache and has all of its room from the start: it ends with its array, and
a disk that becomes full is an error before any work, not a signal during it. What was read or written of it stays in
the system's own cache of files; a thread lets go of it here, so that the process stays small whoever walks over it.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from headstart.base.config import cache_dir
from headstart.base.disk import reraise_disk_errors

Number = TypeVar("Number", bound=np.generic)

MOST_IN_MEMORY = 1 << 28
"""Bytes of one array that is held in memory."""
MOST_RESIDENT = 1 << 29
"""Bytes of files, those of libraries too, from which on the mapped ones are let go of."""
BLOCK_BYTES = 1 << 25
"""Of the rows that are made at once where they are mapped."""
TRIM_SECONDS = 0.05
STATISTICS = Path("/proc/self/statm")


def rows_array(shape: tuple[int, ...], dtype: type[Number]) -> NDArray[Number]:
    """Return an array of any values: in memory, or where it has more than `MOST_IN_MEMORY` bytes in a mapped file.

    Raises:
        UsageError: the disk of the cache has no room for it; the message names the bytes.
    """
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    if size <= MOST_IN_MEMORY:
        return np.empty(shape, dtype)
    folder = cache_dir()
    with reraise_disk_errors(folder, size):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
            mapped = mmap.mmap(file.fileno(), size)
    _TRIMMER.add(mapped)
    return np.frombuffer(mapped, dtype).reshape(shape)


def by_blocks(count: int, width: int, make: Callable[[slice], NDArray[Number]], dtype: type[Number]) -> NDArray[Number]:
    """Return the `count` rows of `width` numbers that `make` gives of slices: at once, or where mapped in blocks."""
    if count * width * np.dtype(dtype).itemsize <= MOST_IN_MEMORY:
        return make(slice(0, count))
    rows = rows_array((count, width), dtype)
    for part in blocks_of(count, width * np.dtype(dtype).itemsize):
        rows[part] = make(part)
    return rows


def blocks_of(count: int, row_bytes: int) -> Iterator[slice]:
    """Yield slices that cover 0..count-1: one where all rows fit into memory, else of `BLOCK_BYTES` each."""
    step = count if count * row_bytes <= MOST_IN_MEMORY else max(1, BLOCK_BYTES // row_bytes)
    return (slice(start, min(start + step, count)) for start in range(0, max(count, 1), max(step, 1)))


def taken(rows: NDArray[Number], positions: NDArray[np.intp]) -> NDArray[Number]:
    """Return `rows[positions]` of an array (n, d): in memory, or where that is large mapped."""
    return by_blocks(len(positions), rows.shape[1], lambda part: rows[positions[part]], rows.dtype.type)


def beside(left: NDArray[Number], right: NDArray[Number]) -> NDArray[Number]:
    """Return the columns of two arrays of n rows side by side."""
    width = left.shape[1] + right.shape[1]
    return by_blocks(len(left), width, lambda part: np.hstack([left[part], right[part]]), left.dtype.type)


class _Trimmer:
    """Keeps what is resident of all mappings small, on a thread that ends with the last of them."""

    def __init__(self) -> None:
        self._mappings: WeakSet[mmap.mmap] = WeakSet()
        self._lock = threading.Lock()  # guards the mappings and the thread
        self._thread: threading.Thread | None = None

    def add(self, mapped: mmap.mmap) -> None:
        """Keep this mapping small too; where the system cannot tell what is resident, it stays as it is."""
        if not hasattr(mmap, "MADV_DONTNEED") or not STATISTICS.exists():
            return
        with self._lock:
            self._mappings.add(mapped)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="mapped-rows", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while self._trimmed():
            time.sleep(TRIM_SECONDS)

    def _trimmed(self) -> bool:
        """Let go of the pages of all mappings where there are many; return whether there is a mapping."""
        with self._lock:
            mappings = list(self._mappings)
            if not mappings:
                self._thread = None
        if _resident_of_files() > MOST_RESIDENT:
            for mapped in mappings:
                mapped.madvise(mmap.MADV_DONTNEED)  # of a shared file nothing is lost: the system has its pages
        return bool(mappings)


_TRIMMER = _Trimmer()


def _resident_of_files() -> int:
    """Return the resident bytes of this process that belong to files."""
    return int(STATISTICS.read_text().split()[2]) * mmap.PAGESIZE
