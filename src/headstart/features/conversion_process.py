"""A network converted and checked in another process, so that torch never weighs on the one that goes on.

torch and what it needs for a conversion hold about a gigabyte for as long as a process lives. The conversion needs no
photos: that process can begin it while they are still being read.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from headstart.data.text import Tokens
from headstart.engines.base import Batch
from headstart.engines.select import folder_of, open_engine, planned
from headstart.sources.base import Source
from headstart.sources.registry import open_source


class ConversionProcess:
    """A process that converts a network at once, and judges its engines when it is given photos.

    Where that process fails, nothing is found, and whoever opens the engine next meets the reason itself.

    Args:
        opened: the arguments of `open_source` that give the source.
        engine: which engine is asked for.
        cache: as for `open_engine`; what is found lies there afterwards.
    """

    def __init__(self, opened: Mapping[str, Any], *, engine: str, cache: Path) -> None:
        asked = json.dumps({"opened": dict(opened), "engine": engine, "cache": str(cache)})
        command = [sys.executable, "-m", "headstart.features.conversion_process", asked]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True)

    def wait_for_parity(self, sample: Batch, *, say: Callable[[str], None]) -> None:
        """Wait until the engines are judged.

        Args:
            sample: up to 64 prepared pictures, uint8 of shape (m, h, w, channels), or texts.
            say: shows one line.
        """
        with tempfile.TemporaryDirectory(prefix="headstart-") as folder:
            path = Path(folder) / "sample.npz"
            _save(path, sample)
            assert self._process.stdin is not None
            try:
                self._process.stdin.write(f"{path}\n")
                self._process.stdin.close()
            except BrokenPipeError:
                return  # it has failed already
            for line in self._process.stdout or ():
                say(line.rstrip("\n"))
            self._process.wait()

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
        self._process.wait()


@contextmanager
def start_conversion(source: Source, *, engine: str, cache: Path) -> Iterator[ConversionProcess | None]:
    """Let another process begin with a network of which nothing is known yet, while the block runs; None elsewhere."""
    network = source.network()
    if source.opened is None or network.graph is not None or planned(network, engine=engine, cache=cache) is not None:
        yield None
        return
    conversion = ConversionProcess(source.opened, engine=engine, cache=cache)
    try:
        yield conversion
    finally:
        conversion.close()


def _save(path: Path, sample: Batch) -> None:
    """Write a sample; of a text, its first piece."""
    if isinstance(sample, np.ndarray):
        np.savez(path, pictures=sample)
    else:
        pieces = [text.pieces[0] for text in sample]
        np.savez(path, lengths=[len(piece) for piece in pieces], ids=np.concatenate(pieces))


def _load(path: Path) -> Batch:
    with np.load(path, allow_pickle=False) as held:
        if "pictures" in held:
            pictures: Batch = held["pictures"]
            return pictures
        ends = np.cumsum(held["lengths"])
        pieces = np.split(held["ids"], ends[:-1])
    return [Tokens((piece,), len(piece), len(piece)) for piece in pieces]


def _main(asked: Mapping[str, Any]) -> None:
    network, cache = open_source(**asked["opened"]).network(), Path(asked["cache"])

    def say(text: str) -> None:
        print(text, flush=True)

    from headstart.engines.openvino import open_converted

    open_converted(network, folder_of(network, cache) / "openvino", say=say)
    sample = _load(Path(sys.stdin.readline().rstrip("\n")))
    open_engine(network, sample=lambda: sample, cache=cache, engine=asked["engine"], say=say)


if __name__ == "__main__":
    _main(json.loads(sys.argv[1]))
