"""Ctrl-C at an instant of a command's work: how soon the process ends, what it says is kept, and what it leaves behind.

`PHASES` are commands that spend their time in one phase each; `make` prepares what they read.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headstart.testing import toy_photos

SECONDS = 2.0  # asked: from Ctrl-C to the end of the process
ORPHANS = 5.0  # seconds that a child may go on afterwards
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background of a shell, whose children ignore it, too
    signal.signal(signal.SIGINT, signal.default_int_handler)
HEADSTART = [sys.executable, "-m", "headstart"]
SMALL = ("--source", "arch:lenet5", "--weights", "none")
NETWORK = ("--source", "timm:resnet50", "--weights", "none")  # whose conversion takes long, and its steps
WORDS = ("--source", "packaged:wordllama")


@dataclass(frozen=True)
class Phase:
    """A command whose work is of one phase, from `first` to `last` seconds after its start."""

    arguments: tuple[str, ...]
    first: float
    last: float
    kept: str = ""  # what is said to be kept, once anything is


PHASES = {
    "start": Phase(("fit", "few", *SMALL), 0.3, 4),
    "extraction": Phase(("fit", "many"), 1, 15, "features are kept"),
    "conversion": Phase(("fit", "few", *NETWORK), 4, 40),
    "choosing a head": Phase(("fit", "wide.csv", *WORDS), 1, 12),
    "tuning, long steps": Phase(("fit", "few", *NETWORK, "--tune", "all"), 5, 60, "--out"),
    "tuning, short steps": Phase(("fit", "few", *SMALL, "--tune", "all", "--epochs", "500"), 4, 20, "--out"),
    "pretrain": Phase(("pretrain", "many", "--arch", "arch:resnet9", "--epochs", "50"), 5, 40, "--out"),
    "compare": Phase(("compare", "few", "--budget", "60s"), 3, 40, "--out"),
    "predict": Phase(("predict", "bundle", "many"), 1, 12, "features are kept"),
}


@dataclass(frozen=True)
class Interrupted:
    """How a command ended after Ctrl-C."""

    after: float  # seconds from its start to the signal
    seconds: float  # from the signal to its end
    code: int
    text: str  # what it wrote on standard error
    orphans: bool  # whether a child went on

    @property
    def wrong(self) -> str:
        """What is not as it must be, or nothing."""
        if self.code == 0 and "Writing the results: " in self.text:
            return ""  # all was written when the signal came
        if self.code != 130 or "headstart: interrupted; " not in self.text or "goes on" not in self.text:
            return f"ended with {self.code}: {self.text[-300:]}"
        if "Traceback" in self.text:
            return f"a traceback: {self.text[-300:]}"
        if self.seconds > SECONDS:
            return f"took {self.seconds:.2f} s"
        return "left a child running" if self.orphans else ""


def make(folder: Path) -> None:
    """Make the photos, the table and the bundle that the phases read, and their caches."""
    toy_photos(folder / "few", per_class=60)
    toy_photos(folder / "many", per_class=4_000)
    rng = np.random.default_rng(0)
    words = [f"w{number}" for number in range(3_000)]
    rows = (f"{' '.join(rng.choice(words, 12))},{rng.integers(40)}\n" for _ in range(12_000))
    (folder / "wide.csv").write_text("text,label\n" + "".join(rows))
    for name, *arguments in (
        ("predict", "few", "--out", "out"),
        (
            "choosing a head",
            "wide.csv",
            *WORDS,
            "--seed",
            "1",
        ),  # features are cached, the choice of another seed is not
        ("tuning, long steps", "few", *NETWORK),
        ("tuning, short steps", "few", *SMALL),
        ("compare", "few"),
    ):
        command = [*HEADSTART, "fit", "-q", *arguments]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, env=_environment(folder, name))
    (folder / "out" / "bundle").rename(folder / "bundle")


def interrupted(folder: Path, name: str, after: float, *, group: bool) -> Interrupted | None:
    """Send Ctrl-C to a command `after` so many seconds, to the process alone or to its group, as a terminal does.

    None where it has ended by then.
    """
    command = [*HEADSTART, *PHASES[name].arguments]
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=_environment(folder, name),
        start_new_session=True,
    )
    assert process.stderr is not None
    try:
        with suppress(subprocess.TimeoutExpired):
            process.wait(after)
            return None
        start = time.monotonic()
        os.killpg(process.pid, signal.SIGINT) if group else process.send_signal(signal.SIGINT)
        code = process.wait(60)
        seconds = time.monotonic() - start
        while _alive(process.pid) and time.monotonic() < start + seconds + ORPHANS:
            time.sleep(0.05)
        orphans = _alive(process.pid)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with process.stderr:
            text = process.stderr.read()
    return Interrupted(after, seconds, code, text, orphans)


def attempts(folder: Path, name: str, count: int, seed: int = 0) -> Iterator[Interrupted]:
    """Interrupt a phase at so many instants, drawn evenly over it."""
    phase, rng = PHASES[name], random.Random(seed)
    for number in range(count):
        share = (number + rng.random()) / count
        ended = interrupted(folder, name, phase.first + share * (phase.last - phase.first), group=number % 2 > 0)
        if ended is not None:
            yield ended


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _environment(folder: Path, name: str) -> dict[str, str]:
    cache = folder / f"cache of {name}"
    return {**os.environ, "HEADSTART_CACHE": str(cache), "PYTHONPATH": os.pathsep.join(sys.path)}
