"""Tuning where memory is scarce: it finishes, or says which setting to lower."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_task import RECIPE, task

from headstart.base.errors import UsageError
from headstart.tune.training.loop import train

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
from headstart.tune.problem import Ground
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
ground = Ground(
    dataset, keys, tuple(range(n)), tuple(range(n, n + judges)), y[:n], y[n:], ToySource(), "pool", head,
    x[:n], x[n:], 2, folder,
)
torch.ones(8, requires_grad=True).sum().backward()  # the threads of torch have their address space before the limit
held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + room, held + room))
try:
    done = tune(ground, Settings("all", size=size, epochs=1, augment="none"), seed=0)
    print("done", done.tried[0].why)
except BaseException as error:
    print(type(error).__name__, error)
"""


def tuned(count: int, *, room: int, folder: Path) -> str:
    command = [sys.executable, "-c", TUNE, str(count), "224", str(room), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.slow
def test_10_000_pictures_of_1_5_gb_in_one_gigabyte__MEM_01(tmp_path: Path) -> None:
    assert tuned(10_000, room=1 << 30, folder=tmp_path) == "done epochs"


@pytest.mark.slow
def test_what_does_not_fit_says_the_setting_to_lower__MEM_01(tmp_path: Path) -> None:
    said = tuned(100, room=150 << 20, folder=tmp_path)
    assert said.startswith("UsageError")
    assert "--batch" in said


def test_a_batch_that_cannot_even_be_read_says_the_setting_to_lower__MEM_02() -> None:
    made = task()

    class Greedy(type(made.train)):  # type: ignore[misc]
        def inputs(self, rows: NDArray[np.intp], *, epoch: int) -> object:
            raise MemoryError

    made.train.__class__ = Greedy
    with pytest.raises(UsageError, match=r"a batch of 9 must fit in memory.*smaller --batch"):
        train(made, RECIPE)
