"""A folder is there whole or not at all, whatever fails and whenever the process dies."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from headstart.base import disk as folders
from headstart.base.disk import TEMPORARY, process_lock, restore, write_folder
from headstart.base.errors import UsageError

OLD = {"a.txt": b"old a", "b.txt": b"old b"}
NEW = {"a.txt": b"new a", "c.txt": b"new c" * 1000}


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.parent.iterdir() if path.name.startswith(TEMPORARY)]


def test_new_and_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "bundle"
    write_folder(folder, OLD)
    assert content(folder) == OLD
    write_folder(folder, NEW)
    assert content(folder) == NEW
    assert not leftovers(folder)


def test_an_empty_folder_is_replaced_and_a_link_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    write_folder(tmp_path / "link", NEW)
    assert (tmp_path / "link").is_symlink()
    assert content(tmp_path / "real") == NEW


def test_death_between_the_two_renames_is_mended__DSK_06(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    write_folder(folder, OLD)
    for mend in (restore, lambda folder: write_folder(folder, NEW)):
        folder.rename(folders._aside(folder))
        folder.with_name(f"{TEMPORARY}new-bundle").mkdir(exist_ok=True)
        mend(folder)
        assert content(folder) == (OLD if mend is restore else NEW)
    assert not leftovers(folder)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EACCES])
@pytest.mark.parametrize("call", ["fsync", "rename", "mkdir"])
def test_every_failing_call_keeps_the_old_folder__DSK_02(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, call: str
) -> None:
    folder = tmp_path / "bundle"
    write_folder(folder, OLD)
    real = getattr(os, call)
    for nth in range(1, 20):
        calls = 0

        def failing(*args: object, nth: int = nth, **kwargs: object) -> object:
            nonlocal calls
            calls += 1
            if calls == nth:
                raise OSError(code, os.strerror(code))
            return real(*args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(os, call, failing)
            try:
                write_folder(folder, NEW)
                failed = False
            except UsageError:
                failed = True
        assert content(folder) in (OLD, NEW)
        assert not leftovers(folder)
        if calls < nth:
            assert not failed
            return
    pytest.fail(f"os.{call} was called too often")


def test_a_full_disk_is_said_in_one_line__DSK_02(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / "bundle", OLD)

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UsageError, match=r"needs 5,005 free bytes; found [\d,]+ free bytes; free some space"):
        write_folder(tmp_path / "bundle", NEW)
    assert content(tmp_path / "bundle") == OLD


WRITER = """
import sys
from pathlib import Path
from headstart.base.disk import write_folder
folder = Path(sys.argv[1])
print("ready", flush=True)
number = 0
while True:
    number += 1
    write_folder(folder, {name: b"%06d" % number * 500 for name in ("a", "b", "c")})
"""


def test_killed_at_any_instant__DSK_06(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    write_folder(folder, dict.fromkeys(("a", "b", "c"), b"000000" * 500))
    for kill in range(12):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.003 + 0.0017 * kill)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        restore(folder)  # as every reader does
        found = content(folder)
        assert sorted(found) == ["a", "b", "c"]
        assert len(set(found.values())) == 1
        assert {len(data) for data in found.values()} == {3000}
    write_folder(folder, NEW)
    assert not leftovers(folder)


def test_two_writers_take_turns_and_a_neighbour_is_left_alone(tmp_path: Path) -> None:
    folder, neighbour = tmp_path / "bundle", tmp_path / f"{TEMPORARY}new-other"
    neighbour.mkdir()
    with ThreadPoolExecutor(1) as pool:
        with process_lock(tmp_path / f"{TEMPORARY}lock-bundle"):
            writing = pool.submit(write_folder, folder, NEW)
            with pytest.raises(TimeoutError):
                writing.result(timeout=0.3)
            assert not folder.exists()
        writing.result()
    assert content(folder) == NEW
    assert leftovers(folder) == [neighbour.name]


def test_a_reader_that_restores_between_the_renames_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, rename, restored = tmp_path / "bundle", os.rename, []
    write_folder(folder, OLD)

    def and_restore(path: Path, target: Path) -> None:
        rename(path, target)
        if target == folders._aside(folder) and not restored:
            restored.append(target)
            rename(target, path)

    monkeypatch.setattr(os, "rename", and_restore)
    write_folder(folder, NEW)
    assert restored and content(folder) == NEW and not leftovers(folder)


def test_the_working_folder_has_a_name_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / "kept", {"a": b"1"})
    (tmp_path / "kept").rename(tmp_path / f"{TEMPORARY}aside-kept")
    restore(tmp_path / "kept")
    monkeypatch.chdir(tmp_path / "kept")
    restore(Path())
    assert Path("a").read_bytes() == b"1"
