"""Processes of our own: they run nothing of the user's, and a task that takes too much ends alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from headstart.base.errors import BundleError
from headstart.base.processes import INHERITED, LIMITS, Limits, TaskError, Workers, python_environment, run_limited

Run = Callable[..., tuple[dict[str, Any], bytes]]


@pytest.fixture
def run_here(monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Yield what runs functions of this file, by their names, in workers that can import it."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    workers = Workers()
    yield lambda name, *data, **how: run_limited(f"{Path(__file__).stem}:{name}", *data, workers=workers, **how)
    workers.close()


def echo(data: bytes, **arguments: Any) -> tuple[dict[str, Any], bytes]:
    print("a library that prints")
    return {"pid": os.getpid(), **arguments}, data[::-1]


def grow(data: bytes) -> tuple[dict[str, Any], bytes]:
    return {}, bytes(400 << 20)


def die(data: bytes) -> tuple[dict[str, Any], bytes]:
    os.kill(os.getpid(), signal.SIGSEGV)
    return {}, b""


def sleep(data: bytes) -> tuple[dict[str, Any], bytes]:
    time.sleep(60)
    return {}, b""


def test_a_task_runs_in_another_process_which_the_next_one_finds_again(run_here: Run) -> None:
    payload = os.urandom(3 << 20)
    values, result = run_here("echo", payload, number=3)
    assert (values["number"], result) == (3, payload[::-1])
    assert values["pid"] != os.getpid()
    assert run_here("echo")[0]["pid"] == values["pid"]


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        ("grow", "takes more than 300 MiB of memory"),
        ("die", r"ends the process that reads it \(SIGSEGV\)"),
    ],
)
def test_a_task_that_takes_too_much_ends_alone__MEM_02(task: str, reason: str, run_here: Run) -> None:
    with pytest.raises(TaskError, match=reason):
        run_here(task)
    assert run_here("echo", b"ab")[1] == b"ba", "the next task has a process"


def refuse(data: bytes) -> tuple[dict[str, Any], bytes]:
    raise BundleError("it must hold", "nothing", "mend it")


def test_what_a_task_refuses_is_refused_here_and_limits_can_be_wider(run_here: Run) -> None:
    with pytest.raises(BundleError, match=r"^it must hold; found nothing; mend it$"):
        run_here("refuse")
    assert len(run_here("grow", limits=Limits(size=600 << 20))[1]) == 400 << 20
    with pytest.raises(TaskError, match="takes more than 60 MiB of memory"):
        run_here("grow", limits=Limits(size=60 << 20))


def test_a_task_has_so_much_processor_time_and_no_more() -> None:
    code = (
        "from headstart.base import processes\n"
        "processes.with_limits(0.2, None)\n"
        "import time; start = time.monotonic()\n"
        "while time.monotonic() < start + 30: pass\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGPROF


def test_a_task_that_does_nothing_for_ever_ends_too(run_here: Run) -> None:
    assert LIMITS.wait == 60
    with pytest.raises(TaskError, match="does not end"):
        run_here("sleep", limits=Limits(patience=0.06))


def test_variables_that_load_code_are_not_inherited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.syspath_prepend("")
    for name in ("PYTHONSTARTUP", "PYTHONBREAKPOINT", "PYTHONWARNINGS", "PYTHONUSERBASE", "PYTHONINSPECT"):
        monkeypatch.setenv(name, str(tmp_path / "evil.py"))
    environment = python_environment()
    assert {name for name in environment if name.startswith("PYTHON")} <= {
        "PYTHONSAFEPATH",
        "PYTHONPATH",
        *INHERITED,
    }
    assert str(tmp_path) not in environment["PYTHONPATH"].split(os.pathsep)
