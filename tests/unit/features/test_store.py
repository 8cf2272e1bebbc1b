"""The store: what goes in comes out, and what was damaged does not."""

from __future__ import annotations

import multiprocessing
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from headstart.base.errors import UsageError
from headstart.features.store import FILE, Store, StoredRow, row_key


def key(number: int) -> bytes:
    return row_key(f"{number:064x}", "0" * 64)


def rows(count: int, width: int = 50, start: int = 0) -> dict[bytes, StoredRow]:
    rng = np.random.default_rng(start)
    return {
        key(number): StoredRow(rng.normal(size=width).astype(np.float32), rng.integers(0, 256, 768, dtype=np.uint8))
        for number in range(start, start + count)
    }


def assert_same(found: dict[bytes, StoredRow], expected: dict[bytes, StoredRow]) -> None:
    assert found.keys() == expected.keys()
    for name, row in found.items():
        assert row.x.tobytes() == expected[name].x.tobytes()
        assert row.summary.tobytes() == expected[name].summary.tobytes()


def filled(folder: Path, count: int = 200) -> dict[bytes, StoredRow]:
    made = rows(count)
    with Store(folder) as store:
        store.put_many(made)
    return made


def test_rows_come_back_to_the_last_bit(tmp_path: Path) -> None:
    made = filled(tmp_path, 1203)
    made[key(5)].x[:3] = [np.nan, np.inf, -0.0]
    with Store(tmp_path) as store:
        store.put_many({key(5): made[key(5)]})
        assert_same(store.get_many(list(made)), made)
        assert store.get_many([key(99_999)]) == {}
        assert store.get_many([]) == {}
        assert store.notes == ()


def test_a_row_without_a_summary_is_kept_too(tmp_path: Path) -> None:
    made = {key(1): StoredRow(np.arange(5, dtype=np.float32), np.empty(0, dtype=np.uint8))}
    with Store(tmp_path) as store:
        store.put_many(made)
        assert_same(store.get_many([key(1)]), made)


def test_keys_tell_examples_and_what_made_them_apart() -> None:
    ones, zeros = "1" * 64, "0" * 64
    assert len({row_key(ones, zeros), row_key(zeros, ones), row_key(zeros, zeros), row_key(ones, ones)}) == 4
    assert len(row_key(ones, zeros)) == 32


@pytest.mark.parametrize("position", [0, 40, 199, 200, 967])
def test_a_flipped_bit_in_a_row_is_detected_and_noted__DSK_09(tmp_path: Path, position: int) -> None:
    made = filled(tmp_path, 20)
    db = sqlite3.connect(tmp_path / FILE)
    (value,) = db.execute("SELECT value FROM features WHERE key = ?", (key(7),)).fetchone()
    changed = bytearray(value)
    changed[position] ^= 4
    db.execute("UPDATE features SET value = ? WHERE key = ?", (bytes(changed), key(7)))
    db.commit()
    db.close()
    with Store(tmp_path) as store:
        found = store.get_many(list(made))
        assert store.notes == ("1 row was damaged in the features cache and computed again",)
        assert_same(found, {name: row for name, row in made.items() if name != key(7)})
        store.put_many({key(7): made[key(7)]})
        assert_same(store.get_many(list(made)), made)


def test_a_row_under_another_s_key_is_detected__DSK_09(tmp_path: Path) -> None:
    filled(tmp_path, 2)
    db = sqlite3.connect(tmp_path / FILE)
    db.execute("UPDATE features SET key = ? WHERE key = ?", (key(5), key(1)))
    db.commit()
    db.close()
    with Store(tmp_path) as store:
        assert store.get_many([key(5)]) == {}
        assert len(store.notes) == 1


def damaged(path: Path, how: str, rng: np.random.Generator) -> None:
    data = bytearray(path.read_bytes())
    if how == "bit":
        data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
    elif how == "zero page":
        start = 4096 * int(rng.integers(len(data) // 4096))
        data[start : start + 4096] = bytes(4096)
    elif how == "noise":
        start = int(rng.integers(len(data) - 4096))
        data[start : start + 4096] = rng.bytes(4096)
    else:
        del data[int(rng.integers(len(data))) :]
    path.write_bytes(data)


@pytest.mark.parametrize(("how", "tries"), [("bit", 25), ("zero page", 25), ("noise", 15), ("cut", 25)])
def test_a_damaged_file_never_gives_a_wrong_row_and_heals__DSK_09_DSK_10(tmp_path: Path, how: str, tries: int) -> None:
    made = filled(tmp_path / "sound")
    rng = np.random.default_rng(0)
    for number in range(tries):
        folder = tmp_path / str(number)
        shutil.copytree(tmp_path / "sound", folder)
        damaged(folder / FILE, how, rng)
        with Store(folder) as store:
            found = store.get_many(list(made))
            for name, row in found.items():
                assert row.x.tobytes() == made[name].x.tobytes()
                assert row.summary.tobytes() == made[name].summary.tobytes()
            store.put_many({name: row for name, row in made.items() if name not in found})
            again = store.get_many(list(made))
            lost = [name for name in made if name not in again]
            store.put_many({name: made[name] for name in lost})
            assert_same(store.get_many(list(made)), made)
            assert store.notes or len(found) == len(made) or how == "bit"
        shutil.rmtree(folder)


def test_a_damaged_file_is_kept_aside_and_said__DSK_10(tmp_path: Path) -> None:
    made = filled(tmp_path)
    for number in (1, 2):
        (tmp_path / FILE).write_bytes(b"no database at all" * 1000)
        with Store(tmp_path) as store:
            assert store.get_many(list(made)) == {}
            assert store.notes == (
                f"the features cache was damaged: it is kept as features-damaged-{number}.sqlite, "
                "and its features are computed again",
            )
            store.put_many(made)
        assert (tmp_path / f"features-damaged-{number}.sqlite").read_bytes().startswith(b"no database")
    with Store(tmp_path) as store:
        assert_same(store.get_many(list(made)), made)


def test_a_damaged_journal_costs_its_rows_only__DSK_10(tmp_path: Path) -> None:
    made = filled(tmp_path, 40)
    store = Store(tmp_path)
    store.put_many(rows(40, start=40))
    for suffix in ("", "-wal"):
        shutil.copy(tmp_path / f"{FILE}{suffix}", tmp_path / f"copy{suffix}")
    store.close()
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(tmp_path / "copy", other / FILE)
    wal = bytearray((tmp_path / "copy-wal").read_bytes())
    wal[len(wal) // 2] ^= 1
    (other / f"{FILE}-wal").write_bytes(wal[:-100])
    with Store(other) as again:
        found = again.get_many([*made, *rows(40, start=40)])
        assert made.keys() <= found.keys()


def test_a_full_disk_says_what_it_needs_and_keeps_what_was_committed__DSK_01(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.put_many(rows(20, width=3000))
        (pages,) = store._db.execute("PRAGMA page_count").fetchone()
        store._db.execute(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(UsageError, match=r"needs \d\d\d,\d+ more bytes; found [\d,]+ bytes free; free some space"):
            store.put_many(rows(20, width=3000, start=20), to_come=5)
        assert len(store.get_many(list(rows(40)))) == 20
        store._db.execute("PRAGMA max_page_count = 1000000")
        store.put_many(rows(20, width=3000, start=20))
        assert len(store.get_many(list(rows(40)))) == 40


FULL = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
from test_store import rows
from headstart.base.errors import UsageError
from headstart.features.store import Store
with Store(Path({folder!r})) as store:
    try:
        for start in range(0, 10000, 20):
            store.put_many(rows(20, width=3000, start=start))
    except UsageError as error:
        print(error)
        print(start, len(store.get_many(list(rows(start + 20, width=1)))))
"""


def in_namespace(script: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script with mounts of its own, or skip where that is not allowed."""
    probe = subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip("mounts are not allowed here")
    return subprocess.run(["unshare", "-m", "sh", "-ec", script], capture_output=True, text=True, check=True)


def test_a_disk_that_really_is_full__DSK_01(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    script = FULL.format(here=str(Path(__file__).parent), folder=str(tmp_path / "disk"))
    (tmp_path / "script.py").write_text(script)
    done = in_namespace(f"mount -t tmpfs -o size=3m none {tmp_path}/disk\n{sys.executable} {tmp_path}/script.py")
    message, counts = done.stdout.splitlines()
    assert "more bytes; found" in message
    started, kept = map(int, counts.split())
    assert kept == started > 0


@pytest.mark.parametrize("what", ["below a file", "read-only disk"])
def test_a_folder_that_cannot_be_written_is_refused_at_once__DSK_03(tmp_path: Path, what: str) -> None:
    if what == "below a file":
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(UsageError, match="must be a folder that can be written"):
            Store(tmp_path / "file" / "cache")
        return
    filled(tmp_path / "cache", 3)
    script = (
        "from pathlib import Path\nfrom headstart.features.store import Store\n"
        f'try: Store(Path("{tmp_path}/cache"))\nexcept ValueError as error: print(error)'
    )
    done = in_namespace(
        f"mount --bind {tmp_path}/cache {tmp_path}/cache\nmount -o remount,bind,ro {tmp_path}/cache\n"
        f"{sys.executable} -c '{script}'"
    )
    assert "must be" in done.stdout
    assert "Read-only file system" in done.stdout


def test_a_file_held_by_another_process_is_waited_for_and_then_said__DSK_08(tmp_path: Path) -> None:
    filled(tmp_path, 3)
    other = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with Store(tmp_path, wait=0.2) as store:
        assert len(store.get_many(list(rows(3)))) == 3
        with pytest.raises(UsageError, match=r"free to write within 0\.2 s; found another process holds it"):
            store.put_many(rows(3, start=3))
        other.execute("ROLLBACK")
        other.close()
        store.put_many(rows(3, start=3))


def _write(folder: Path, start: int) -> None:
    with Store(folder) as store:
        for at in range(start, start + 300, 10):
            store.put_many(rows(10, start=at))


@pytest.mark.thorough
def test_processes_write_side_by_side__DSK_08(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[3])  # whence a new process imports this file
    fork = multiprocessing.get_context("spawn")
    writers = [fork.Process(target=_write, args=(tmp_path, start)) for start in (0, 150, 300)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    expected = {name: row for start in range(0, 600, 10) for name, row in rows(10, start=start).items()}
    with Store(tmp_path) as store:
        assert_same(store.get_many(list(expected)), expected)
        assert store.notes == ()


def test_there_must_be_room_before_work_starts__DSK_01(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.check_room(10, 1000)
        with pytest.raises(UsageError, match="more bytes; found"):
            store.check_room(10**9, 10**6)


CLOSED_WHILE_READ = """
import sys, threading, time
from pathlib import Path
import numpy as np
from headstart.base.errors import UsageError
from headstart.features.store import Store, StoredRow, row_key
keys = [row_key(f"{number:064x}", "00" * 32) for number in range(2_000)]
row = StoredRow(np.zeros(64, np.float32), np.zeros(0, np.uint8))
with Store(Path(sys.argv[1])) as store:
    store.put_many(dict.fromkeys(keys, row))
refused = []
for wait in np.linspace(0.001, 0.02, 20):
    store = Store(Path(sys.argv[1]))
    def read():
        try:
            while True:
                assert len(store.get_many(keys)) == len(keys)
        except UsageError as error:
            refused.append(error)
    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    time.sleep(wait)
    store.close()
    for thread in threads:
        thread.join()
print(len(refused))
"""


def test_closed_while_threads_still_read_it_is_no_crash__DSK_11(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CLOSED_WHILE_READ, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "40\n"), done.stderr[-2000:]
