"""Workers as actors: their shares, their versions, and their deaths before anything is begun."""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from headstart.base.config import use_cores
from headstart.base.errors import UsageError
from headstart.engines.conversion_process import NetworkOrigin
from headstart.features.extract import OPEN_SOURCE
from headstart.scale.ray_cluster import connected
from headstart.scale.ray_workers import Journal, RayWorkers, RemoteWorker, Share, check_versions, shares
from headstart.scale.remote import open_anywhere
from headstart.scale.schedule import run_orders
from headstart.scale.worker import Order, versions
from headstart.testing import toy_photos

pytest.importorskip("ray")
SOURCE = NetworkOrigin(OPEN_SOURCE, {"uri": "simple:pixels"})


def test_a_worker_of_another_version_is_refused__DST_04() -> None:
    check_versions("node", versions())
    with pytest.raises(UsageError, match=r"node must run headstart .*; found headstart 0\.0\.1; install the same"):
        check_versions("node", versions() | {"headstart": "0.0.1"})


def test_what_the_user_can_mend_crosses_between_processes_as_texts(tmp_path: Path) -> None:
    worker = RemoteWorker(
        Path.cwd(), Share(1, 1), None, ({"data": str(tmp_path / "nowhere")}, SOURCE, "auto", frozenset())
    )
    use_cores(None)
    value, problem = worker.open()
    assert value is None and problem is not None and "nowhere" in problem[0] + problem[1]


@pytest.mark.parametrize(
    ("resources", "engine", "expected"),
    [
        ({"CPU": 8.0}, "auto", (8, Share(1))),
        ({}, "auto", (1, Share(1))),
        ({"CPU": 8.0, "GPU": 2.0}, "auto", (2, Share(4, 1))),
        ({"CPU": 1.0, "GPU": 2.0}, "torch", (2, Share(1, 1))),
        ({"CPU": 8.0, "GPU": 2.0}, "openvino", (8, Share(1))),
    ],
)
def test_a_worker_has_a_gpu_where_there_are_any_else_a_core(
    resources: dict[str, float], engine: str, expected: tuple[int, Share]
) -> None:
    assert shares(resources, engine) == expected


def test_a_journal_says_what_was_touched_last_once() -> None:
    journal = Journal()
    journal.note(3, None)
    journal.note(4, None)
    journal.note(4, 2)
    assert [journal.last(number) for number in (3, 3, 4, 5)] == [(True, None), (False, None), (True, 2), (False, None)]


class Deadly:
    """What ends the worker that receives it before anything is opened: once for each file in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        code = (
            "[(os.remove(each.path), os.kill(os.getpid(), 9)) for os in [__import__('os')] for each in os.scandir({})]"
        )
        return exec, (code.format(repr(str(self.folder))),)


class Recorded(RayWorkers):
    """Workers of which it is known how orders were given."""

    careful: tuple[bool, ...] = ()

    def give(self, number: int, order: Order, *, carefully: bool) -> None:
        self.careful += (carefully,)
        super().give(number, order, carefully=carefully)


@pytest.mark.slow
def test_workers_killed_before_they_are_open_or_while_idle_cost_nothing__DST_01(loopback: None, tmp_path: Path) -> None:
    photos = toy_photos(tmp_path / "photos", classes=["cat", "dog"], per_class=2, seed=0)
    killing = tmp_path / "killing"
    killing.mkdir()
    order = Order(0, tuple(example.id for example in open_anywhere(photos).examples))
    arguments = ({"data": str(photos), "root": Deadly(killing)}, SOURCE, "auto", frozenset[str]())

    def kills(count: int) -> None:
        for number in range(count):
            (killing / str(number)).touch()

    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as folder, connected("local[1]", folder=folder):
        kills(1)
        with closing(Recorded(1, arguments, most_deaths=3)) as workers:
            assert not list(killing.iterdir())
            kills(1)  # of those that replace the one that is open, which is killed while it is idle
            for process in psutil.Process().children(recursive=True):
                if "ray::RemoteWorker" in " ".join(process.cmdline()):
                    process.kill()
                    process.wait()
            done: dict[int, Any] = {}
            run_orders(workers, [order], done.__setitem__)
            assert done.keys() == {0} and workers.careful == (False, False)
        kills(1)
        with pytest.raises(UsageError, match="workers must start on the cluster"):
            RayWorkers(1, arguments, most_deaths=0)
