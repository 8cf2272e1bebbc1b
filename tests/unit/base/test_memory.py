"""What is said where memory is short, and how much there is."""

from __future__ import annotations

import subprocess
import sys

import pytest

from headstart.base.errors import UsageError
from headstart.base.memory import free_memory, is_no_memory, keep_freed, reraise_out_of_memory


def test_some_memory_is_free() -> None:
    keep_freed()
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
