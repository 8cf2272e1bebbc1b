"""Killed at any instant, and run by several processes at once: the result is that of an undisturbed run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from nursery import Nursery

from headstart.features.modality import EXTRACTION_PROFILES
from headstart.testing import toy_photos

COUNT = 640
JOB = "jobs:extract"


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_photos(tmp_path_factory.mktemp("many") / "toys", ("ant", "bee"), per_class=COUNT // 2)


@pytest.fixture(scope="module")
def nurseries() -> Iterator[list[Nursery]]:
    """Return two, of which each runs one job at a time."""
    both = [Nursery("jobs:prepare_extraction") for _ in range(2)]
    yield both
    for nursery in both:
        nursery.close()


@pytest.mark.thorough
def test_killed_at_random_instants_at_most_one_commit_is_done_again__DSK_04(
    many: Path, nurseries: list[Nursery], tmp_path: Path
) -> None:
    kills, killed = 4, 0  # tests/reliability has 200
    whole = nurseries[0].run(JOB, many, tmp_path / "whole", tmp_path / "whole-log", 0.0)
    assert whole.code == 0, whole.text
    rng = np.random.default_rng()
    cache, log = tmp_path / "cache", tmp_path / "log"
    for _ in range(kills):
        killed += nurseries[0].run(JOB, many, cache, log, after=rng.uniform(0, whole.seconds / 4)).code == -9
    digest, hits, misses, notes, _ = nurseries[0].run(JOB, many, cache, log, 0.0).text.split()
    assert (digest, int(hits) + int(misses), notes) == (whole.text.split()[0], COUNT, "0")
    assert log.stat().st_size <= COUNT + kills * EXTRACTION_PROFILES["image"].commit
    assert killed > kills / 2


def test_two_processes_do_the_work_once_and_agree__DSK_08(many: Path, nurseries: list[Nursery], tmp_path: Path) -> None:
    cache, log = tmp_path / "cache", tmp_path / "log"
    with ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(lambda nursery: nursery.run(JOB, many, cache, log), nurseries))
    assert [one.code for one in ended] == [0, 0], ended
    digests, hits, misses, _, waited = zip(*(one.text.split() for one in ended), strict=True)
    assert len(set(digests)) == 1
    assert log.stat().st_size == COUNT
    assert sorted(map(int, misses)) == sorted(map(int, hits)) == [0, COUNT]
    assert "True" in waited, "one waited for the other"
    assert not list((cache / "locks").iterdir())


def test_the_lock_of_a_dead_process_holds_nobody_up__DSK_08(
    many: Path, nurseries: list[Nursery], tmp_path: Path
) -> None:
    cache, log = tmp_path / "cache", tmp_path / "log"
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(nurseries[0].run, JOB, many, cache, log, after=0.5, until=log)
        while not log.exists():
            assert not first.done()
            time.sleep(0.005)
        second = nurseries[1].run(JOB, many, cache, log)
        assert first.result().code == -9
    _, hits, misses, _, _ = second.text.split()
    assert int(hits) + int(misses) == COUNT
    assert log.stat().st_size <= COUNT + EXTRACTION_PROFILES["image"].commit
