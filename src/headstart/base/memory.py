"""How much memory this process may still take, and what is said when it is not enough."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from headstart.base.errors import UsageError

UNKNOWN_BYTES = 1 << 30
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
MEMINFO = Path("/proc/meminfo")
CGROUPS = (
    ("/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
"""For each version of control groups: the folder, the files of limit and usage, and the line of memory.stat that says
how many bytes of files the system holds and would give back."""
OUT_OF_MEMORY_MESSAGES = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "bad_alloc",
    "Unable to allocate",
    "can't start new thread",
)
"""What libraries say, in errors of several types, when there is no memory left."""


def free_memory() -> int:
    """Return the bytes that the machine, its container and the process's own limit leave free; if unknown, 2**30.

    Files that the system holds in memory until somebody needs it count as free.
    """
    return max(0, min(_of_machine(), _of_container(), _of_process()))


def total_memory() -> int:
    """Return the bytes of memory of the machine, or of its container where that has fewer; if unknown, 2**30."""
    try:
        machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        machine = UNKNOWN_BYTES
    for folder, limit, *_ in CGROUPS:
        with suppress(OSError, ValueError):
            return min(machine, int(Path(folder, limit).read_text()))
    return machine


def limit_memory(size: int) -> None:
    """Let what asks for more than `size` bytes fail in this process, where the system can: data, not mapped files."""
    if sys.platform == "linux":
        import resource

        hardest = resource.getrlimit(resource.RLIMIT_DATA)[1]
        size = size if hardest == resource.RLIM_INFINITY else min(size, hardest)
        resource.setrlimit(resource.RLIMIT_DATA, (size, hardest))


def _of_machine() -> int:
    try:
        return int(_numbers(MEMINFO)["MemAvailable:"]) << 10
    except (OSError, ValueError, KeyError):  # no Linux
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return UNKNOWN_BYTES


def _of_container() -> int:
    for folder, limit, used, files in CGROUPS:
        try:
            left = int(Path(folder, limit).read_text()) - int(Path(folder, used).read_text())
            return left + int(_numbers(Path(folder, "memory.stat")).get(files, 0))
        except (OSError, ValueError):  # no such kind of container, or the limit is "max"
            continue
    return sys.maxsize


def _numbers(path: Path) -> dict[str, str]:
    """Return the second word of each line by the first."""
    return {words[0]: words[1] for line in path.read_text().splitlines() if len(words := line.split()) > 1}


def _of_process() -> int:
    """Return what is left of the address space (`ulimit -v`)."""
    try:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit == resource.RLIM_INFINITY:
            return sys.maxsize
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (ImportError, OSError):
        return sys.maxsize
    return limit - pages * resource.getpagesize()


def keep_freed() -> None:
    """Let the C library keep what is freed for what is asked for next, instead of giving it back to the system.

    A step of training asks for the same large blocks as the step before. By default each comes as fresh pages, which
    the system fills with zeros: up to a third of a step. The numbers are those of `mallopt(3)`, which only glibc has.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


@contextmanager
def reraise_out_of_memory(what: str) -> Iterator[None]:
    """Turn whatever is raised for want of memory into a UsageError that says what must fit, and what to lower."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_no_memory(error):
            raise
        raise too_large(what, error) from error


def is_no_memory(error: BaseException) -> bool:
    """Return whether an error says that there is no memory left."""
    return isinstance(error, MemoryError) or any(text in str(error) for text in OUT_OF_MEMORY_MESSAGES)


def too_large(what: str, error: BaseException) -> UsageError:
    """Return the error to raise where `what` does not fit in memory."""
    received = str(error).partition("\n")[0] or "there is no memory left"
    remedy = "give a smaller --batch-size, a smaller --size, or tune less: --tune last:1"
    return UsageError(f"{what} must fit in memory", received, remedy)
