"""A network converted and checked in another process, so that torch never weighs on the one that goes on.

torch and what it needs for a conversion hold about a gigabyte for as long as a process lives.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.engines.choose import open_engine
from headstart.sources.registry import open_source


def settle_engine(
    opened: Mapping[str, Any],
    sample: NDArray[np.uint8],
    *,
    engine: str,
    cache: Path,
    say: Callable[[str], None],
) -> None:
    """Convert a network and judge its engines in a process of its own; what is found lies in `cache` afterwards.

    Where that process fails, nothing is found, and whoever opens the engine next meets the reason itself.

    Args:
        opened: the arguments of `open_source` that give the source.
        sample: up to 64 prepared pictures, uint8 of shape (m, h, w, channels).
        engine: which engine is asked for.
        cache: as for `open_engine`.
        say: shows one line.
    """
    with tempfile.TemporaryDirectory(prefix="headstart-") as folder:
        path = Path(folder) / "sample.npy"
        np.save(path, sample, allow_pickle=False)
        asked = json.dumps({"opened": dict(opened), "sample": str(path), "engine": engine, "cache": str(cache)})
        command = [sys.executable, "-m", "headstart.features.elsewhere", asked]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            for line in process.stdout or ():
                say(line.rstrip("\n"))


def _main(asked: Mapping[str, Any]) -> None:
    sample = np.load(asked["sample"], allow_pickle=False)
    open_engine(
        open_source(**asked["opened"]).network(),
        sample=lambda: sample,
        cache=Path(asked["cache"]),
        engine=asked["engine"],
        say=lambda text: print(text, flush=True),
    )


if __name__ == "__main__":
    _main(json.loads(sys.argv[1]))
