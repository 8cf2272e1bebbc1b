"""Killed at any instant, and run by several processes at once: the result is that of an undisturbed run."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from headstart.features.modality import EXTRACTION_PROFILES
from headstart.testing import toy_photos

SCRIPT = """
import sys, time
import numpy as np
from pathlib import Path
from headstart.base.hashing import sha256
from headstart.base.progress import Progress
from headstart.data.readers.open import open_dataset
from headstart.features.extract import extract
from headstart.testing import ToySource

data, cache, log = map(Path, sys.argv[1:])

class Engine:
    name, batch = "torch-f32", 4
    def run(self, batch):
        with log.open("ab", buffering=0) as file:
            file.write(b"x" * len(batch))
        time.sleep(0.02)
        return batch.reshape(len(batch), -1)[:, :width].astype(np.float32)

class Say(Progress):
    def say(self, text):
        print(text, flush=True)

width = sum(block.width for block in ToySource().network().blocks)
dataset = open_dataset(data)
print("ready", flush=True)
sys.stdin.readline()
found = extract(dataset, ToySource(), engine=Engine(), cache=cache, progress=Say())
print(sha256(found.x.tobytes() + found.summary.baseline_inputs.tobytes()), found.hits, found.misses, len(found.notes))
"""
COUNT = 640


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_photos(tmp_path_factory.mktemp("many") / "toys", ("ant", "bee"), per_class=COUNT // 2)


def started(data: Path, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SCRIPT, str(data), str(folder / "cache"), str(folder / "log")]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def begun(process: subprocess.Popen[str]) -> None:
    """Let a process begin to extract, once it is ready."""
    assert process.stdout is not None and process.stdin is not None
    assert process.stdout.readline() == "ready\n"
    process.stdin.write("\n")
    process.stdin.flush()


def finished(process: subprocess.Popen[str]) -> list[str]:
    """Return what a process says, from where it stands to its end."""
    out, errors = process.communicate("\n", timeout=60)
    assert (process.returncode, errors) == (0, "")
    return out.splitlines()


def test_killed_at_random_instants_at_most_one_commit_is_done_again__DSK_04(many: Path, tmp_path: Path) -> None:
    kills = 4  # tests/reliability has 200
    (tmp_path / "whole").mkdir()
    expected = finished(started(many, tmp_path / "whole"))[-1].split()[0]
    rng = np.random.default_rng()
    killed = 0
    for round_ in range(kills):
        folder = tmp_path / f"round-{round_ // 4}"
        folder.mkdir(exist_ok=True)
        process = started(many, folder)
        begun(process)
        time.sleep(rng.uniform(0, 0.25))
        process.kill()
        process.communicate()
        killed += process.returncode == -9
        if round_ % 4 == 3:
            digest, hits, misses, notes = finished(started(many, folder))[-1].split()
            assert digest == expected
            assert int(hits) + int(misses) == COUNT
            assert notes == "0"
            assert (folder / "log").stat().st_size <= COUNT + 4 * EXTRACTION_PROFILES["image"].commit
    assert killed > kills / 2


def test_two_processes_do_the_work_once_and_agree__DSK_08(many: Path, tmp_path: Path) -> None:
    both = [started(many, tmp_path) for _ in range(2)]
    for process in both:
        begun(process)
    said = [finished(process) for process in both]
    assert len({lines[-1].split()[0] for lines in said}) == 1
    assert (tmp_path / "log").stat().st_size == COUNT
    assert sorted(int(lines[-1].split()[2]) for lines in said) == [0, COUNT]
    assert any("another process is extracting features" in line for lines in said for line in lines)
    assert not list((tmp_path / "cache" / "locks").iterdir())


def test_the_lock_of_a_dead_process_holds_nobody_up__DSK_08(many: Path, tmp_path: Path) -> None:
    first = started(many, tmp_path)
    second = started(many, tmp_path)
    begun(first)
    while not (tmp_path / "log").exists():
        assert first.poll() is None
        time.sleep(0.005)
    begun(second)
    time.sleep(0.05)
    first.kill()
    first.communicate()
    _, hits, misses, _ = finished(second)[-1].split()
    assert int(hits) + int(misses) == COUNT
    assert (tmp_path / "log").stat().st_size <= COUNT + EXTRACTION_PROFILES["image"].commit
