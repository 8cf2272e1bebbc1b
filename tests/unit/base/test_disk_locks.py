"""A lock is held by one at a time, waited for, and no obstacle once its process is dead."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from headstart.base.disk import process_lock

HOLDER = """
import sys, time
from pathlib import Path
from headstart.base.disk import process_lock
with process_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_lock_file_is_made_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "one.lock"
    for _ in range(2):
        with process_lock(path, on_wait=lambda: pytest.fail("nobody holds it")):
            assert path.exists()
        assert not path.exists()


def test_one_that_waits_says_so_once_and_has_its_turn(tmp_path: Path) -> None:
    path, calls, inside = tmp_path / "one.lock", [], []

    def second() -> None:
        with process_lock(path, on_wait=lambda: calls.append("wait"), on_retry=lambda: calls.append("retry")):
            inside.append(path.exists())

    with ThreadPoolExecutor(1) as pool:
        with process_lock(path):
            waiting = pool.submit(second)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.7)
            assert not inside
        waiting.result()
    assert inside == [True] and calls[0] == "wait" and calls.count("wait") == 1 and calls.count("retry") > 1
    assert not path.exists()


def test_what_a_retry_raises_ends_the_wait(tmp_path: Path) -> None:
    path = tmp_path / "one.lock"

    def refuse() -> None:
        raise ValueError("enough")

    def second() -> None:
        with process_lock(path, on_retry=refuse):
            pytest.fail("another one holds it")

    with ThreadPoolExecutor(1) as pool, process_lock(path), pytest.raises(ValueError, match="enough"):
        pool.submit(second).result()


def test_the_lock_of_a_dead_process_is_taken_over__DSK_08(tmp_path: Path) -> None:
    path = tmp_path / "one.lock"
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()

    def kill() -> None:
        process.kill()
        process.communicate()

    with process_lock(path, on_wait=kill):
        assert process.returncode == -9
    assert not path.exists()
