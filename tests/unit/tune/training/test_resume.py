"""Killed, stopped or out of disk at any moment, the same command ends in the weights of an undisturbed run."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_task import RECIPE, fingerprint, task

from headstart.base.errors import UsageError
from headstart.tune.training import loop
from headstart.tune.training.checkpoint import newest
from headstart.tune.training.signals import Terminated
from headstart.tune.training.task import Recipe, Task

SUPPORT = Path(__file__).parents[3] / "support"


def run(
    folder: Path | None,
    recipe: Recipe = RECIPE,
    *,
    change: Callable[[Task], Task] = lambda unchanged: unchanged,
    seconds_between_checkpoints: float = 0.0,
) -> str:
    """Train the tiny task, with a checkpoint after each step by default, and return the fingerprint of the result."""
    changed = change(task())
    result = loop.train(
        changed,
        recipe,
        folder=folder,
        identity={"data": "toys"},
        seconds_between_checkpoints=seconds_between_checkpoints,
    )
    return fingerprint(changed, result)


@pytest.fixture(scope="module")
def undisturbed() -> str:
    return run(None)


def disturbed(piece: int, disturb: Callable[[], None]) -> Callable[[Task], Task]:
    """Return a function that makes a task disturbed in the forward pass of the piece of a batch with that number."""

    def change(plain: Task) -> Task:
        passes = 0

        def scores(*inputs: torch.Tensor) -> torch.Tensor:
            nonlocal passes
            if torch.is_grad_enabled():
                passes += 1
                if passes == piece:
                    disturb()
            of_batch: torch.Tensor = plain.scores(*inputs)
            return of_batch

        return replace(plain, scores=scores)

    return change


STEPS = 3 * RECIPE.epochs


@pytest.mark.parametrize(
    ("step", "number", "end"),
    [(step, signal.SIGINT, KeyboardInterrupt) for step in range(1, STEPS)] + [(3, signal.SIGTERM, Terminated)],
)
def test_stopped_in_any_step_it_goes_on_to_the_same_weights__DSK_11(
    tmp_path: Path, undisturbed: str, step: int, number: int, end: type[BaseException]
) -> None:
    change = disturbed(2 * step, lambda: signal.raise_signal(number))
    with pytest.raises(end):
        run(tmp_path, change=change, seconds_between_checkpoints=60.0)
    found = newest(tmp_path, pytest.fail)
    assert found is not None and found.step == step
    assert run(tmp_path) == undisturbed


@pytest.mark.parametrize("piece", range(2, 2 * STEPS + 1, 2))
def test_crashed_in_any_step_it_goes_on_to_the_same_weights__DSK_05(
    tmp_path: Path, undisturbed: str, piece: int
) -> None:
    def crash() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(tmp_path, change=disturbed(piece, crash))
    assert run(tmp_path) == undisturbed


def test_a_run_that_is_done_is_not_done_again(tmp_path: Path, undisturbed: str) -> None:
    assert run(tmp_path) == undisturbed

    def never() -> None:
        pytest.fail("it learned again")

    assert run(tmp_path, change=disturbed(1, never)) == undisturbed


def test_planning_for_a_budget_leaves_no_trace(undisturbed: str) -> None:
    made = task()
    assert fingerprint(made, loop.train(made, RECIPE, budget=3600.0)) == undisturbed


def test_a_torn_checkpoint_costs_a_step_and_no_more__DSK_07(tmp_path: Path, undisturbed: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, change=disturbed(10, lambda: signal.raise_signal(signal.SIGINT)))
    path = max(tmp_path.iterdir())
    path.write_bytes(path.read_bytes()[:-5])
    assert run(tmp_path) == undisturbed


def test_a_disk_that_fills_up_stops_it_in_one_line_and_it_goes_on__DSK_02(
    tmp_path: Path, undisturbed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = os.fsync, 0

    def filling(handle: int) -> None:
        nonlocal calls
        calls += 1
        if calls > 10:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", filling)
        with pytest.raises(UsageError, match=r"needs [\d,]+ free bytes"):
            run(tmp_path)
    found = newest(tmp_path, pytest.fail)
    assert found is not None and found.step > 2
    assert run(tmp_path) == undisturbed


def test_the_folder_was_moved_and_the_clock_set_back__DSK_12(tmp_path: Path, undisturbed: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "here", change=disturbed(8, lambda: signal.raise_signal(signal.SIGINT)))
    for file in (tmp_path / "here").iterdir():
        os.utime(file, (4e9 - file.stat().st_mtime,) * 2)
    (tmp_path / "here").rename(tmp_path / "there")
    assert run(tmp_path / "there") == undisturbed


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"seed": 5}, "seed: 4 then, 5 now"),
        ({"learning_rate": 0.02}, "learning_rate: 0.01 then, 0.02 now"),
        ({"batch_size": 8, "mixup": 0.0}, "batch_size: 9 then, 8 now; mixup: 0.2 then, 0.0 now"),
    ],
)
def test_changed_arguments_are_refused_and_named(tmp_path: Path, change: dict[str, Any], line: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, change=disturbed(4, lambda: signal.raise_signal(signal.SIGINT)))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(UsageError) as caught:
        run(tmp_path, replace(RECIPE, **change))
    assert f"found {line};" in str(caught.value)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_changed_data_are_refused_and_named(tmp_path: Path) -> None:
    run(tmp_path)
    with pytest.raises(UsageError, match="data: toys then, others now"):
        loop.train(task(), RECIPE, folder=tmp_path, identity={"data": "others"})


# --- kill -9 -----------------------------------------------------------------------------------------------------

# Imports torch once, with what its optimizers import on first use, and forks a run for each line it is told: folder,
# seconds from the first checkpoint, or from the start where they are negative, until a signal, and its number.
NURSERY = """
import json, os, signal, sys, time, traceback
from dataclasses import replace
from pathlib import Path
from headstart.engines.environment import set_passive_omp_wait
set_passive_omp_wait()
import PIL.Image, safetensors.numpy, torch, torch._dynamo
from tiny_task import RECIPE, fingerprint, task
from headstart.tune.training import loop

def work(folder):
    torch.set_num_threads(2)
    made = task(40)
    recipe = replace(RECIPE, epochs=6, patience=6)
    folder = Path(folder) if folder else None
    trained = loop.train(made, recipe, folder=folder, seconds_between_checkpoints=0.0)
    return fingerprint(made, trained)

def born(folder, write):
    code = 1
    try:
        os.write(write, b"." )
        os.write(write, work(folder).encode())
        code = 0
    except KeyboardInterrupt:
        code = 130
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)

for line in sys.stdin:
    folder, after, number = json.loads(line)
    read, write = os.pipe()
    child = os.fork()
    if not child:
        born(folder, write)
    os.close(write)
    os.read(read, 1)
    start = time.monotonic()
    if number:
        while after >= 0 and not list(Path(folder).glob("step-*")):
            time.sleep(0.002)
        time.sleep(abs(after))
        os.kill(child, number)
        signalled = time.monotonic()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    end = time.monotonic()
    print(json.dumps([status, os.read(read, 100).decode(), end - (signalled if number else start)]), flush=True)
    os.close(read)
"""


class Nursery:
    """Runs in processes of their own, without importing torch for each."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", NURSERY],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(SUPPORT), *sys.path])},
        )

    def run(self, folder: Path | None, *, after: float = 0.0, number: int = 0) -> tuple[int, str, float]:
        """Return exit code, fingerprint, and the seconds that it took (since the signal, where there was one)."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps([str(folder or ""), after, number]) + "\n")
        self.process.stdin.flush()
        code, found, seconds = json.loads(self.process.stdout.readline())
        return code, found, seconds


@pytest.fixture(scope="module")
def nursery() -> Any:
    made = Nursery()
    yield made
    made.process.communicate(timeout=30)
    assert made.process.returncode == 0


def test_killed_at_random_instants_it_goes_on_to_the_same_weights__DSK_05(tmp_path: Path, nursery: Nursery) -> None:
    kills = 2  # tests/reliability has 100
    code, expected, _ = nursery.run(None)
    assert code == 0
    code, same, seconds = nursery.run(tmp_path / "whole")
    assert (code, same) == (0, expected)
    rng = np.random.default_rng()
    killed, steps = 0, []
    for number in range(kills):
        folder = tmp_path / str(number)
        code, found, _ = nursery.run(folder, after=rng.uniform(-seconds / 4, seconds * 3 / 4), number=signal.SIGKILL)
        if code == 0:
            assert found == expected
            continue
        assert code == -signal.SIGKILL
        killed += 1
        checkpoint = newest(folder, pytest.fail)
        steps.append(checkpoint.step if checkpoint else 0)
        code, found, _ = nursery.run(folder)
        assert (code, found) == (0, expected)
    assert killed >= kills / 3
    assert any(steps), f"no kill came after the first checkpoint: {steps}"


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_it_soon_and_saved__DSK_11(tmp_path: Path, nursery: Nursery, number: int, expected: int) -> None:
    _, undisturbed, seconds = nursery.run(tmp_path / "whole")
    code, _, _ = nursery.run(tmp_path / "stopped", after=seconds / 4, number=number)
    assert code == expected
    assert newest(tmp_path / "stopped", pytest.fail) is not None
    assert nursery.run(tmp_path / "stopped")[:2] == (0, undisturbed)
