"""Disks that fail, fill up or refuse: one line, nothing lost, and the same command goes on once there is room."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from nursery import SUPPORT, Ended, Nursery
from tally import Tally, check_one_line

from headstart.testing import toy_photos

ROW = "disks"
SAVES = ["bundle", "checkpoint", "run", "source"]
PAGE = 4096
HEADSTART = [sys.executable, "-m", "headstart"]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the library that lets the n-th call fail."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    path = tmp_path_factory.mktemp("library") / "failing_calls.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", path, SUPPORT / "failing_calls.c", "-ldl"], check=True)
    return path


def prepared(folder: Path, job: str, *arguments: object, prefix: tuple[str, ...] = (), **environment: str) -> Nursery:
    (folder / "whole").mkdir(exist_ok=True)
    own = {"WHOLE": str(folder / "whole"), "HEADSTART_CACHE": str(folder / "cache")}
    return Nursery(f"jobs:{job}", *arguments, prefix=prefix, environment={**own, **environment})


def own_mounts() -> tuple[str, ...]:
    """Return the command in front of a process that may mount disks of its own; empty where that is not allowed."""
    probe = ["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"]
    if shutil.which("unshare") is None or subprocess.run(probe, capture_output=True, check=False).returncode:
        return ()
    return ("unshare", "-m")


@pytest.fixture(scope="module")
def saver(tmp_path_factory: pytest.TempPathFactory, library: Path) -> Iterator[Nursery]:
    folder = tmp_path_factory.mktemp("saver")
    photos = toy_photos(folder / "photos", per_class=20)
    nursery = prepared(folder, "prepare", photos, prefix=own_mounts(), LD_PRELOAD=str(library))
    yield nursery
    nursery.close()


def check_failure(ended: Ended, code: int = errno.ENOSPC) -> None:
    """Fail unless a job ended well, or in one line that its user can act on."""
    if code != errno.EIO:  # a disk that breaks is no mistake of its user's
        assert ended.code in (0, 2), ended.text
    if ended.code == 2:
        check_one_line(ended.text)
        assert code != errno.ENOSPC or "free" in ended.text or "mend the disk" in ended.text, ended.text


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EIO], ids=["full", "denied", "broken"])
@pytest.mark.parametrize("what", SAVES)
def test_every_nth_call_of_a_save_fails__DSK_13(
    what: str, code: int, saver: Nursery, library: Path, tmp_path: Path, tally: Tally
) -> None:
    tally.row = f"failing calls while a {what} is saved"
    for nth in range(1, 400):
        place = tmp_path / f"{nth}"
        place.mkdir()
        ended = saver.run("jobs:save_failing", library, place, nth, code, what)
        with tally.attempt(f"{what} {nth}"):
            check_failure(ended, code)
            settled = saver.run("jobs:settle", what, place / "saved", 1)
            assert settled.code == 0, settled.text
            found = settled.text.split()[0]
            assert found in (("1",) if ended.code == 0 else ("0", "1", "part")[: 3 if what == "run" else 2])
            assert settled.text == f"{found} 1 []"
        if ended.code == 0 and int(ended.text) < nth:
            break
    else:
        pytest.fail("there is no end of calls")
    tally.check(least=3)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO], ids=["full", "broken"])
def test_every_nth_call_of_extraction_fails__DSK_13(
    code: int, library: Path, tmp_path: Path, tally: Tally, tries: Callable[[int], int]
) -> None:
    tally.row = "failing calls in extraction"
    data = toy_photos(tmp_path / "photos", per_class=64)
    nursery = prepared(tmp_path, "prepare_extraction", LD_PRELOAD=str(library))
    whole = nursery.run("jobs:extract", data, tmp_path / "sound", tmp_path / "log", 0)
    calls = int(
        nursery.run(
            "jobs:failing", library, tmp_path / "all", 0, 0, "extract", data, tmp_path / "all", "/dev/null", 0
        ).text
    )
    for nth in range(1, calls + 1, max(1, calls // tries(calls))):
        cache = tmp_path / f"{nth}"
        ended = nursery.run("jobs:failing", library, cache, nth, code, "extract", data, cache, "/dev/null", 0)
        with tally.attempt(f"extraction {nth}"):
            check_failure(ended, code)
            again = nursery.run("jobs:extract", data, cache, tmp_path / f"log-{nth}", 0)
            assert again.code == 0, again.text
            assert again.text.split()[0] == whole.text.split()[0]
    nursery.close()
    tally.check(least=tries(calls) // 2)


@pytest.fixture
def mounts() -> tuple[str, ...]:
    """Return the command in front of a process that may mount disks of its own, or skip."""
    return own_mounts() or pytest.skip("mounts are not allowed here")


@pytest.mark.parametrize("what", SAVES)
def test_a_disk_is_full_at_every_page_of_a_save__DSK_02(
    what: str, mounts: tuple[str, ...], saver: Nursery, tmp_path: Path, tally: Tally, tries: Callable[[int], int]
) -> None:
    tally.row, nursery = f"full disks while a {what} is saved", saver
    disk = tmp_path / "disk"
    disk.mkdir()
    nursery.run("jobs:mount", disk, 64 << 20)
    free, step = 0, PAGE * max(1, round(2 / tries(100) * 100))
    ended = Ended(2, "", 0.0)
    while ended.code:
        folder = disk / what
        ended = nursery.run("jobs:save_full", disk, free, what, folder)
        with tally.attempt(f"{what} with {free} bytes free"):
            check_failure(ended)
            settled = nursery.run("jobs:settle_full", disk, what, folder)
            assert settled.code == 0, settled.text
            assert settled.text.split()[0] == ("1" if ended.code == 0 else "0") or (what == "run" and ended.code)
            assert settled.text.endswith(" 1 []"), settled.text
        if ended.code not in (0, 2):
            break
        free += step
    tally.check(least=2)


def test_a_disk_is_full_at_every_page_of_extraction__DSK_01(
    mounts: tuple[str, ...], tmp_path: Path, tally: Tally, tries: Callable[[int], int]
) -> None:
    tally.row = "full disks in extraction"
    data = toy_photos(tmp_path / "photos", per_class=64)
    nursery = prepared(tmp_path, "prepare_extraction", prefix=mounts)
    whole = nursery.run("jobs:extract", data, tmp_path / "sound", "/dev/null", 0)
    ended, free = Ended(2, "", 0.0), PAGE
    while ended.code:
        disk = tmp_path / f"{free}"
        disk.mkdir()
        nursery.run("jobs:mount", disk, free)
        ended = nursery.run("jobs:extract", data, disk, "/dev/null", 0)
        with tally.attempt(f"extraction on a disk of {free} bytes"):
            check_failure(ended)
            nursery.run("jobs:mount", disk, 16 << 20, "remount,")
            again = nursery.run("jobs:extract", data, disk, "/dev/null", 0)
            assert again.code == 0, again.text
            assert again.text.split()[0] == whole.text.split()[0]
        if ended.code not in (0, 2):
            break
        free += PAGE * max(1, round(4 / tries(100) * 100))
    nursery.close()
    tally.check(least=2)


# --- rights ----------------------------------------------------------------------------------------------------------


def without_rights() -> list[str]:
    """Return the command in front of a process that has no more rights than its user, or skip."""
    if os.geteuid():
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv is not there")
    return ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]


REFUSALS: dict[str, tuple[str, ...]] = {
    "the cache is read-only": ("fit", "photos", "--out", "new"),
    "the cache is somebody else's": ("fit", "photos", "--out", "new"),
    "the output is read-only": ("fit", "photos", "--out", "old"),
    "the output is somebody else's": ("fit", "photos", "--out", "old"),
    "the folder of the output is read-only": ("fit", "photos", "--out", "closed/new"),
    "the folder of the output is somebody else's": ("fit", "photos", "--out", "closed/new"),
    "the photos cannot be read": ("fit", "photos", "--out", "new"),
    "the folder of the photos cannot be read": ("fit", "photos", "--out", "new"),
    "the bundle cannot be read": ("predict", "old", "photos"),
    "the predictions cannot be written": ("predict", "old", "photos", "--out", "closed/answers.csv"),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_who_has_no_rights_is_told_in_one_line__DSK_03_IMG_16(what: str, tmp_path: Path, tally: Tally) -> None:
    tally.row = "read-only, unreadable and foreign folders"
    prefix, nobody = without_rights(), 65534
    if "somebody" in what and os.geteuid():
        pytest.skip("only root can give a folder to somebody else")
    photos = toy_photos(tmp_path / "photos", per_class=16)
    cache, closed = tmp_path / "cache", tmp_path / "closed"
    closed.mkdir()

    def headstart(*arguments: str, prefix: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                *prefix,
                *HEADSTART,
                *arguments,
                *(("--source", "arch:lenet5", "--weights", "none") if arguments[0] == "fit" else ()),
            ],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env={**os.environ, "HEADSTART_CACHE": str(cache), "PYTHONPATH": os.pathsep.join(sys.path)},
        )

    assert headstart("fit", "photos", "--out", "old", prefix=[]).returncode == 0
    target = {
        "the cache": cache,
        "the output": tmp_path / "old",
        "the photos": next(photos.rglob("*.jpg")).parent,
        "the folder of the photos": photos,
        "the bundle": tmp_path / "old" / "bundle",
    }.get(what.partition(" is ")[0].partition(" cannot ")[0], closed)
    inside = [target, *target.rglob("*")]
    for path in inside:
        if "somebody" in what:
            os.chown(path, nobody, nobody)
        elif "read-only" in what or "written" in what:
            path.chmod(0o555 if path.is_dir() else 0o444)
        elif what != "the photos cannot be read" or path.is_file():
            path.chmod(0)
    with tally.attempt(what):
        done = headstart(*REFUSALS[what], prefix=prefix)
        last = done.stderr.strip().splitlines()[-1:]
        assert done.returncode == 2, (done.returncode, done.stderr[-1500:])
        assert "Traceback" not in done.stderr
        check_one_line(last[0])
    for path in inside:
        path.chmod(0o755)
    tally.check()
