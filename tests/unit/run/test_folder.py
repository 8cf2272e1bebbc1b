"""The folder of a run: ours or refused, and the same after a kill at any instant."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from nursery import Nursery

from headstart.base.disk import TEMPORARY
from headstart.base.errors import UsageError
from headstart.base.own_folders import RESULT
from headstart.run.folder import CHECKPOINTS, MARK, check_out, writing
from headstart.testing import toy_photos


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.thorough
def test_killed_while_it_is_written_the_same_command_goes_on__DSK_06(tmp_path: Path, warm_cache: Path) -> None:
    kills, killed = 3, 0  # tests/reliability has 200
    photos = toy_photos(tmp_path / "photos", per_class=8)
    nursery = Nursery("jobs:prepare_run", photos, environment={"HEADSTART_CACHE": str(warm_cache)})
    for _ in range(2):  # the second overwrites, as the killed ones do
        whole = nursery.run("jobs:save", "run", tmp_path / "whole", 0)
        assert whole.code == 0, whole.text
    expected = content(tmp_path / "whole")
    assert set(expected) >= {"report.html", "result.json", "bundle/manifest.json"}
    for number in range(kills):
        out = tmp_path / f"out-{number // 3}"  # new every third time, else what a kill left
        killed += nursery.run("jobs:save", "run", out, 0, after=random.uniform(0, whole.seconds * 0.8)).code < 0
        check_out(out)
        if number % 3 == 2:
            assert nursery.run("jobs:save", "run", out, 0).code == 0
            assert content(out) == expected
    nursery.close()
    assert killed >= kills / 3


def test_what_is_ours(tmp_path: Path) -> None:
    for name in (RESULT, MARK, f"{TEMPORARY}12-{RESULT}", CHECKPOINTS):
        folder = tmp_path / f"with-{name}"
        folder.mkdir()
        if name == CHECKPOINTS:
            (folder / name).mkdir()
        else:
            (folder / name).write_text('{"schema": 1}')
        check_out(folder)
    check_out(tmp_path / "new" / "nested")


@pytest.mark.parametrize("name", ["thesis.txt", RESULT, "bundle"])
def test_what_is_not_ours_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("[]")
    with pytest.raises(UsageError, match="holds other things"):
        check_out(tmp_path)


def test_parts_of_a_process_that_died_are_swept_and_the_mark_goes(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    dead, living = tmp_path / f"{TEMPORARY}{gone.pid}-report.html", tmp_path / f"{TEMPORARY}{os.getppid()}-report.html"
    dead.touch()
    living.touch()
    with writing(tmp_path):
        assert (tmp_path / MARK).exists()
    assert list(tmp_path.iterdir()) == [living]


def test_a_failed_write_leaves_the_mark(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="full"), writing(tmp_path):
        raise OSError("full")
    assert (tmp_path / MARK).exists()
    check_out(tmp_path)
