"""The folder of a run: ours or refused, and the same after a kill at any instant."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from headstart.base.disk import TEMPORARY
from headstart.base.errors import UsageError
from headstart.run.folder import CHECKPOINTS, MARK, RESULT, check_out, writing
from headstart.testing import toy_photos

# Fits once, and forks a child that writes the folder for each line it is told: the folder, and the microseconds after
# which the child is killed, or nothing.
WRITER = """
import json, os, signal, sys, time
from pathlib import Path
from headstart.base.progress import Progress
from headstart.fitting.fit import run_fit
from headstart.fitting.result import write_out
from headstart.run.options import FitOptions

run = run_fit(sys.argv[1], FitOptions(source="arch:lenet5", weights="none"), Progress())
for line in sys.stdin:
    folder, after = json.loads(line)
    start = time.perf_counter()
    child = os.fork()
    if not child:
        try:
            write_out(Path(folder), run)
        finally:
            os._exit(0)
    if after is not None:
        time.sleep(after)
        os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(json.dumps([code, time.perf_counter() - start]), flush=True)
"""


class Writer:
    """Writes the folder of one run, as often as it is told."""

    def __init__(self, photos: Path) -> None:
        command = [sys.executable, "-c", WRITER, str(photos)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def write(self, folder: Path, after: float | None = None) -> tuple[int, float]:
        """Return the exit code and the seconds it took."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps([str(folder), after]) + "\n")
        self.process.stdin.flush()
        code, seconds = json.loads(self.process.stdout.readline())
        return code, seconds


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_killed_while_it_is_written_the_same_command_goes_on__DSK_06(tmp_path: Path) -> None:
    kills = 12  # tests/reliability has 200
    writer = Writer(toy_photos(tmp_path / "photos", per_class=8))
    assert writer.write(tmp_path / "whole")[0] == 0
    seconds = writer.write(tmp_path / "whole")[1]
    expected, killed = content(tmp_path / "whole"), 0
    assert set(expected) >= {"report.html", "result.json", "bundle/manifest.json"}
    for number in range(kills):
        out = tmp_path / f"out-{number // 4}"  # new every fourth time, else what a kill left
        code, _ = writer.write(out, after=random.uniform(0, seconds))
        killed += code < 0
        check_out(out)
        if number % 4 == 3:
            assert writer.write(out)[0] == 0
            assert content(out) == expected
    writer.process.communicate(timeout=30)
    assert killed > kills / 3


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
