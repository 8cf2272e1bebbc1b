"""Killed, stopped or out of disk at any moment, the same command ends in the weights of an undisturbed run."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nursery import Ended, Nursery
from tiny_task import RECIPE, fingerprint, task

from headstart.base.errors import UsageError
from headstart.tune.training import loop
from headstart.tune.training.checkpoint import newest
from headstart.tune.training.signals import Terminated
from headstart.tune.training.task import Recipe, Task


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


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    made = Nursery("jobs:prepare_tuning")
    yield made
    made.close()


@pytest.fixture(scope="module")
def whole(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """Return how a run with checkpoints ends that nothing disturbs."""
    ended = nursery.run("jobs:train", tmp_path_factory.mktemp("whole"))
    assert ended.code == 0, ended.text
    return ended


@pytest.mark.thorough
def test_killed_at_random_instants_it_goes_on_to_the_same_weights__DSK_05(
    tmp_path: Path, nursery: Nursery, whole: Ended
) -> None:
    kills = 2  # tests/reliability has 100
    rng = np.random.default_rng()
    killed, steps = 0, []
    for number in range(kills):
        folder = tmp_path / str(number)
        ended = nursery.run("jobs:train", folder, after=rng.uniform(0, whole.seconds / 2), until=folder / "step-*")
        killed += ended.code == -signal.SIGKILL
        checkpoint = newest(folder, pytest.fail)
        steps.append(checkpoint.step if checkpoint else 0)
        assert nursery.run("jobs:train", folder).text == whole.text
    assert killed >= kills / 2
    assert any(steps), f"no kill came after the first checkpoint: {steps}"


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("number", "expected"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_signals_end_it_soon_and_saved__DSK_11(
    tmp_path: Path, nursery: Nursery, whole: Ended, number: int, expected: int
) -> None:
    after = whole.seconds / 4
    ended = nursery.run("jobs:train", tmp_path, after=after, until=tmp_path / "step-*", number=number)
    assert ended.code == expected
    assert newest(tmp_path, pytest.fail) is not None
    again = nursery.run("jobs:train", tmp_path)
    assert (again.code, again.text) == (0, whole.text)
