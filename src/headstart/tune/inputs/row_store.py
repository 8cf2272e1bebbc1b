"""Rows of numbers, one or several an example: in memory where they fit, else in a file of the cache."""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from headstart.base.disk import free_bytes, reraise_disk_errors
from headstart.base.memory import free_memory

MEMORY_SHARE = 0.25
"""Of the memory that is free, what rows may take; beyond it they go to a file."""
DISK_SHARE = 0.5


def place_for(size: int, folder: Path) -> str:
    """Return where `size` bytes of rows can lie: `memory`, `disk` (a file in `folder`), or `nowhere`."""
    if size <= MEMORY_SHARE * free_memory():
        return "memory"
    return "disk" if size <= DISK_SHARE * free_bytes(folder) else "nowhere"


class Rows:
    """An array of shape (count, *shape), written row by row and read in any order.

    A file in `folder` is read piece by piece and never mapped, so that it costs no address space; it has no name, and
    is gone with the process. Without `folder` the rows are in memory.

    Raises:
        UsageError: the disk is full.
    """

    def __init__(self, count: int, shape: Sequence[int], dtype: DTypeLike, folder: Path | None) -> None:
        self.shape, self.dtype = tuple(shape), np.dtype(dtype)
        self._size = int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize
        self._memory: NDArray[Any] | None = None
        self._file: int | None = None
        if folder is None:
            self._memory = np.zeros((count, *self.shape), self.dtype)
        else:
            with reraise_disk_errors(folder, count * self._size):
                folder.mkdir(parents=True, exist_ok=True)
                self._file, name = tempfile.mkstemp(dir=folder)
            self._folder = folder
            Path(name).unlink()
            weakref.finalize(self, os.close, self._file)

    def __setitem__(self, row: int, values: NDArray[Any]) -> None:
        """Write one row."""
        if self._memory is not None:
            self._memory[row] = values
            return
        assert self._file is not None
        data = np.ascontiguousarray(values, self.dtype).tobytes()
        with reraise_disk_errors(self._folder, len(data)):
            os.pwrite(self._file, data, row * self._size)

    def take(self, rows: NDArray[np.intp]) -> NDArray[Any]:
        """Return some rows, of shape (len(rows), *shape)."""
        if self._memory is not None:
            taken: NDArray[Any] = self._memory[rows]
            return taken
        assert self._file is not None
        chunks = [os.pread(self._file, self._size, int(row) * self._size) for row in rows]
        return np.frombuffer(bytearray(b"").join(chunks), self.dtype).reshape(len(rows), *self.shape)


@dataclass(frozen=True)
class RowSubset:
    """Some of the rows, in an order of their own: those that are `chosen`, of shape (n,)."""

    rows: Rows
    chosen: NDArray[np.intp]

    def take(self, rows: NDArray[np.intp]) -> NDArray[Any]:
        """Return some of them, of shape (len(rows), *shape)."""
        return self.rows.take(self.chosen[rows])


class RaggedRows:
    """As many vectors of one width as each example is long, float32, together in one `Rows`.

    Raises:
        UsageError: the disk is full.
    """

    def __init__(self, lengths: NDArray[np.int64], width: int, folder: Path | None) -> None:
        self.lengths = lengths
        self._starts = np.cumsum([0, *lengths])
        self._rows = Rows(int(lengths.sum()), (width,), np.float32, folder)

    def __setitem__(self, row: int, values: NDArray[np.float32]) -> None:
        """Write the vectors of one example; those beyond its length are padding, and are not stored."""
        start = int(self._starts[row])
        for offset, vector in enumerate(values[: self.lengths[row]]):
            self._rows[start + offset] = vector

    def take(self, rows: NDArray[np.intp], width: int) -> NDArray[np.float32]:
        """Return some examples, of shape (len(rows), width, …), zeros where one is shorter than `width`."""
        lengths = self.lengths[rows]
        present = np.arange(width) < lengths[:, None]
        padded = np.zeros((len(rows), width, *self._rows.shape), np.float32)
        if len(rows):
            starts = self._starts[rows]
            padded[present] = self._rows.take(
                np.concatenate([np.arange(start, start + n) for start, n in zip(starts, lengths, strict=True)])
            )
        return padded
