"""Rows that are more than memory should hold lie in a mapped file, and nothing else changes."""

from __future__ import annotations

import mmap
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from headstart.base import mapped
from headstart.base.errors import UsageError
from headstart.base.mapped import beside, blocks_of, by_blocks, rows_array, taken


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Let no array of more than 4 KiB be in memory, and blocks have 1 KiB; gives the cache."""
    monkeypatch.setattr(mapped, "MOST_IN_MEMORY", 4096)
    monkeypatch.setattr(mapped, "BLOCK_BYTES", 1024)
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def is_mapped(array: NDArray[Any]) -> bool:
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    return isinstance(getattr(base, "obj", base), mmap.mmap)


def test_small_rows_are_in_memory_and_large_ones_in_a_file_without_a_name(little_memory: Path) -> None:
    assert not is_mapped(rows_array((1024, 1), np.float32))
    assert not little_memory.exists()
    large = rows_array((1025, 1), np.float32)
    assert is_mapped(large) and large.shape == (1025, 1) and large.dtype == np.float32
    assert list(little_memory.iterdir()) == []
    large[:] = 3
    assert large.sum() == 3 * 1025


def test_what_is_taken_or_made_is_the_same_in_memory_and_mapped(little_memory: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.random((900, 5), np.float32)
    rows = rng.integers(0, 900, 700)
    assert is_mapped(taken(x, rows))
    np.testing.assert_array_equal(taken(x, rows), x[rows])
    np.testing.assert_array_equal(taken(x, rows[:3]), x[rows[:3]])
    both = beside(x, x[:, :2])
    assert is_mapped(both)
    np.testing.assert_array_equal(both, np.hstack([x, x[:, :2]]))
    assert by_blocks(0, 5, lambda part: x[part][:0], np.float32).shape == (0, 5)


def test_blocks_cover_every_row_once_and_few_rows_are_one_block(little_memory: Path) -> None:
    assert list(blocks_of(10, 16)) == [slice(0, 10)]
    assert list(blocks_of(0, 16)) == [slice(0, 0)]
    parts = list(blocks_of(1000, 16))
    assert [row for part in parts for row in range(part.start, part.stop)] == list(range(1000))
    assert max(part.stop - part.start for part in parts) == 64
    assert len(list(blocks_of(3, 10_000))) == 3


def test_a_disk_without_room_is_an_error_before_any_work_that_names_the_bytes(little_memory: Path) -> None:
    with pytest.raises(UsageError, match=r"1,000,000,000,000,000 free bytes|ulimit"):
        rows_array((10**9, 10**6), np.uint8)


@pytest.mark.skipif(not mapped.STATISTICS.exists(), reason="only Linux says what is resident")
def test_pages_are_let_go_of_and_lose_nothing_and_the_thread_ends(
    little_memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapped, "MOST_RESIDENT", 0)
    before = mapped._resident_of_files()
    array = rows_array((1 << 22,), np.float64)  # 32 MiB
    array[:] = np.arange(len(array))
    while mapped._resident_of_files() > before + array.nbytes // 2:
        time.sleep(0.01)
    np.testing.assert_array_equal(array[::4096], np.arange(len(array))[::4096])
    del array
    while any(thread.name == "mapped-rows" for thread in threading.enumerate()):
        time.sleep(0.01)
