"""The features cache, damaged anywhere, and shared by several processes: no wrong row, and the work is done once."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from mutator import mutant
from nursery import Nursery
from tally import Tally

from headstart.base.disk import process_lock
from headstart.features.store import FILE, Store, StoredRow, row_key
from headstart.testing import toy_photos

ROW = "features cache"


def rows(count: int, start: int = 0) -> dict[bytes, StoredRow]:
    rng = np.random.default_rng(start)
    return {
        row_key(f"{number:064x}", "0" * 64): StoredRow(
            rng.normal(size=50).astype(np.float32), rng.integers(0, 256, 768, dtype=np.uint8)
        )
        for number in range(start, start + count)
    }


def check_sound(found: dict[bytes, StoredRow], made: dict[bytes, StoredRow]) -> None:
    for name, row in found.items():
        assert row.x.tobytes() == made[name].x.tobytes()
        assert row.summary.tobytes() == made[name].summary.tobytes()


@pytest.mark.parametrize("part", ["", "-wal", "-shm"])
def test_a_damaged_cache_never_gives_a_wrong_row_and_heals__DSK_09_DSK_10(
    part: str, tmp_path: Path, tally: Tally, tries: Callable[[int], int]
) -> None:
    tally.row = f"corruptions of the features cache{part and f' ({part[1:]})'}"
    made = rows(200) | rows(60, start=200)
    (tmp_path / "sound").mkdir()
    with Store(tmp_path / "open") as store:
        store.put_many(rows(200))
        store._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        store.put_many(rows(60, start=200))  # these are in the log alone
        for suffix in ("", "-wal", "-shm"):
            shutil.copy(tmp_path / "open" / f"{FILE}{suffix}", tmp_path / "sound")
    whole = (tmp_path / "sound" / f"{FILE}{part}").read_bytes()
    for number in range(tries(100)):
        folder = shutil.copytree(tmp_path / "sound", tmp_path / "damaged")
        (folder / f"{FILE}{part}").write_bytes(mutant([whole], random.Random(f"{part} {number}")))
        with tally.attempt(f"{part} {number}"), Store(folder) as store:
            check_sound(store.get_many(list(made)), made)
            for _ in range(3):  # what a read or a write finds out costs the rows that were there
                there = store.get_many(list(made))
                check_sound(there, made)
                store.put_many({name: row for name, row in made.items() if name not in there})
            found = store.get_many(list(made))
            assert len(found) == len(made)
            check_sound(found, made)
        shutil.rmtree(folder)
    tally.check(least=tries(100))


@pytest.mark.parametrize("processes", [2, 4])
def test_several_processes_share_the_cache__DSK_08(
    processes: int, tmp_path: Path, tally: Tally, tries: Callable[[int], int]
) -> None:
    tally.row, count = f"{processes} processes that share the features cache", 320
    data = toy_photos(tmp_path / "toys", ("ant", "bee"), per_class=count // 2)
    nurseries = [Nursery("jobs:prepare_extraction") for _ in range(processes)]
    expected = nurseries[0].run("jobs:extract", data, tmp_path / "alone", "/dev/null").text.split()[0]
    rng = random.Random(processes)
    with ThreadPoolExecutor(processes) as pool:
        for number in range(tries(20)):
            cache, log = tmp_path / f"cache-{number}", tmp_path / f"log-{number}"
            killed = number % 2  # every other time the first of them dies in the middle
            after = rng.uniform(0.2, 1.0) if killed else None
            begun = [
                pool.submit(nursery.run, "jobs:extract", data, cache, log, after=None if at else after)
                for at, nursery in enumerate(nurseries)
            ]
            ended = [future.result() for future in begun]
            with tally.attempt(f"{processes} processes, round {number}"):
                for one in ended[1:] if killed else ended:
                    assert one.code == 0, one.text
                    digest, hits, misses, notes, _ = one.text.split()
                    assert (digest, int(hits) + int(misses), notes) == (expected, count, "0")
                assert log.stat().st_size <= count + (256 if killed else 0)
                left = list((cache / "locks").iterdir())
                assert len(left) <= killed  # whoever takes the lock of a dead one next removes it
                for path in left:
                    with process_lock(path):
                        pass
                    assert not path.exists()
    for nursery in nurseries:
        nursery.close()
    tally.check(least=tries(20))
