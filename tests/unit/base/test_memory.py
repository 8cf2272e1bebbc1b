"""What is said where memory is short, and how much there is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from headstart.base import memory
from headstart.base.errors import UsageError
from headstart.base.memory import free_memory, is_no_memory, keep_freed, reraise_out_of_memory


def test_some_memory_is_free() -> None:
    keep_freed()
    assert 0 < free_memory() < 1 << 60


def test_files_that_the_system_would_give_back_count_as_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "meminfo").write_text("MemTotal:       9000 kB\nMemFree:         100 kB\nMemAvailable:   8000 kB\n")
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "CGROUPS", [(tmp_path, "memory.max", "memory.current", "inactive_file")])
    assert free_memory() == 8000 << 10, "no container"
    for name, text in {"max": "5000000", "current": "4000000", "stat": "anon 1\ninactive_file 2000000\n"}.items():
        (tmp_path / f"memory.{name}").write_text(text)
    assert free_memory() == 3_000_000
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory() == 8000 << 10
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "none")
    assert 0 < free_memory() < 1 << 60


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: 8 bytes")])
def test_whatever_says_that_memory_is_short_becomes_one_line(error: Exception) -> None:
    assert is_no_memory(error)
    must = r"a batch must fit in memory; found .*; give a smaller --batch-size"
    with pytest.raises(UsageError, match=must), reraise_out_of_memory("a batch"):
        raise error


def test_other_errors_pass_through() -> None:
    with pytest.raises(RuntimeError, match="shapes"), reraise_out_of_memory("a batch"):
        raise RuntimeError("shapes do not fit")


def test_a_process_that_may_take_so_much_memory_gets_no_more() -> None:
    take = """
from headstart.base.memory import limit_memory, total_memory
limit_memory(1 << 31)
print(total_memory())
bytes(1 << 32)
"""
    done = subprocess.run([sys.executable, "-c", take], capture_output=True, text=True, check=False)
    assert int(done.stdout) > 1 << 30 and done.stderr.strip().endswith("MemoryError")
