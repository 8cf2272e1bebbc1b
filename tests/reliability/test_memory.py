"""Under a limit of memory: the work ends, or one line says which setting to lower; and no mutant ends the process."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from encoded_images import ENCODED
from mutator import mutant
from tally import Tally, check_one_line

from headstart.testing import toy_photos

ROW = "limits of memory"
GROUPS = Path("/sys/fs/cgroup")
HEADSTART = [sys.executable, "-m", "headstart"]


@pytest.fixture
def group() -> Iterator[Callable[[int], Path]]:
    """Return a function that makes a control group of so many bytes, or skip where that is not allowed."""
    made: list[Path] = []

    def limited(size: int) -> Path:
        older = (GROUPS / "memory" / "memory.limit_in_bytes").exists()
        folder = (GROUPS / "memory" if older else GROUPS) / f"headstart-{os.getpid()}-{len(made)}"
        try:
            folder.mkdir()
            made.append(folder)
            (folder / ("memory.limit_in_bytes" if older else "memory.max")).write_text(str(size))
        except OSError as error:
            pytest.skip(f"no control group can be made here: {error}")
        return folder

    yield limited
    for folder in made:
        folder.rmdir()


@pytest.mark.parametrize("broken", [0, 3], ids=["sound", "one of three broken"])
def test_fit_in_a_control_group__MEM_01(
    broken: int,
    group: Callable[[int], Path],
    tmp_path: Path,
    tally: Tally,
    tries: Callable[[int], int],
) -> None:
    photos = toy_photos(tmp_path / "photos", per_class=tries(2_000))
    for number in range(tries(2_000) if broken else 0):
        data = mutant([ENCODED["jpeg"], ENCODED["png"], ENCODED["tiff"]], random.Random(number))
        (photos / "cat" / f"odd-{number}.jpg").write_bytes(data + bytes(500_000))
    command = [*HEADSTART, "fit", str(photos), "--out", str(tmp_path / "out"), "--allow-broken"]
    place = group(700 << 20) / "cgroup.procs"
    own = f"import os, sys; open({str(place)!r}, 'w').write(str(os.getpid())); os.execv(sys.argv[1], sys.argv[1:])"
    with tally.attempt("700 MiB"):
        done = subprocess.run(
            [sys.executable, "-c", own, *command],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert done.returncode in (0, 2), (done.returncode, done.stderr[-1500:])
        assert "Traceback" not in done.stderr
        if done.returncode:
            check_one_line(done.stderr.strip().splitlines()[-1])
    tally.check()


TUNE = """
import resource, sys
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from headstart.base.progress import Progress
from headstart.data.dataset import Dataset, Example
from headstart.heads.linear import LinearHead
from headstart.testing import ToySource
from headstart.tune.search import tune
from headstart.tune.problem import TuningProblem
from headstart.tune.settings import Settings

n, size, room, folder = *map(int, sys.argv[1:4]), Path(sys.argv[4])
rng = np.random.default_rng(0)
photos = []
for at in range(8):
    file = BytesIO()
    Image.fromarray(rng.integers(0, 255, (size, size, 3), dtype=np.uint8)).save(file, "JPEG")
    photos.append(file.getvalue())
judges = 64
examples = tuple(Example(str(at), "ab"[at % 2]) for at in range(n + judges))
dataset = Dataset("photos", "image", examples, ("a", "b"), lambda at: photos[at % 8])
y = (np.arange(n + judges) % 2).astype(np.int64)
head = LinearHead("ridge", 1.0, np.zeros((24, 2), np.float32), np.zeros(2, np.float32))
x = rng.normal(size=(n + judges, 24)).astype(np.float32)
keys = tuple(f"{at:064x}" for at in range(n + judges))
problem = TuningProblem(
    dataset, keys, tuple(range(n)), tuple(range(n, n + judges)), y[:n], y[n:], ToySource(), "pool", head,
    x, np.arange(n + judges), 2, folder,
)
torch.ones(8, requires_grad=True).sum().backward()  # the threads of torch have their address space before the limit
held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + room, held + room))
try:
    done = tune(problem, Settings("all", size=size, epochs=1, augment="none"), seed=0)
    print("done")
except BaseException as error:
    print(type(error).__name__, error)
"""


def tuned(count: int, *, room: int, folder: Path) -> str:
    command = [sys.executable, "-c", TUNE, str(count), "224", str(room), str(folder)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_tuning_in_so_much_room__MEM_01(tmp_path: Path, tally: Tally, tries: Callable[[int], int]) -> None:
    with tally.attempt("pictures of 1.5 GB in one gigabyte"):
        assert tuned(tries(10_000), room=1 << 30, folder=tmp_path) == "done"
    tally.check()
