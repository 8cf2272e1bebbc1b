"""A network converted and checked in another process, so that torch never weighs on the one that goes on.

torch and what it needs for a conversion hold about a gigabyte for as long as a process lives. The conversion needs no
photos: the other process begins it while they are still being read.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from headstart.base.processes import end_process, start_python
from headstart.base.progress import Progress
from headstart.data.text import Tokens
from headstart.engines.base import Batch, Engine, Network, as_tokens
from headstart.engines.select import Sample, cached_engine_name, cuda_engines, folder_of, open_engine


@dataclass(frozen=True)
class NetworkOrigin:
    """What builds a network once more in another process."""

    builder: str  # a function as `module:name`; what it returns has a method `network()`
    arguments: Mapping[str, Any]  # its keyword arguments, plain values

    def built(self) -> Any:
        """Return what the builder returns."""
        module, _, name = self.builder.partition(":")
        return getattr(import_module(module), name)(**self.arguments)


@contextmanager
def engine_opener(
    network: Network, origin: NetworkOrigin | None, *, engine: str, cache: Path, progress: Progress
) -> Iterator[Callable[[Sample], Engine]]:
    """Yield what opens the engine from a sample, while a network that is not known yet is converted elsewhere.

    That is another process, or for a network that needs no torch another thread. Where nothing builds the network once
    more (`origin` is None), this process converts it; a CUDA device needs none. Waiting for it is a step of its own.
    """
    say = progress.say
    needed = cached_engine_name(network, engine=engine, cache=cache) is None and not cuda_engines(network, engine)
    thread, converting, conversion = ThreadPoolExecutor(1, thread_name_prefix="conversion"), None, None
    if needed and network.graph is not None:
        converting = thread.submit(_convert, network, cache, say)
    elif needed and origin is not None:
        conversion = ConversionProcess(origin, engine=engine, cache=cache)

    def open_from(sample: Sample) -> Engine:
        with progress.step("Preparing the network (once)") if needed else nullcontext():
            if conversion is not None:
                conversion.wait_for_parity(sample(), say=say)
            if converting is not None:
                converting.result()
            return open_engine(network, sample=sample, cache=cache, engine=engine, say=say)

    try:
        yield open_from
    finally:
        if conversion is not None:
            conversion.close()
        thread.shutdown()


def _convert(network: Network, cache: Path, say: Callable[[str], None]) -> None:
    from headstart.engines.openvino import open_converted

    open_converted(network, folder_of(network, cache) / "openvino", say=say)


class ConversionProcess:
    """A process that converts a network at once, and judges its engines when it is given photos.

    The converted network and the verdicts lie in `cache` afterwards. Where that process fails, it leaves nothing, and
    whoever opens the engine next meets the reason itself.
    """

    def __init__(self, origin: NetworkOrigin, *, engine: str, cache: Path) -> None:
        task = json.dumps({"origin": asdict(origin), "engine": engine, "cache": str(cache)})
        self._process = start_python(__name__, task)

    def wait_for_parity(self, sample: Batch, *, say: Callable[[str], None]) -> None:
        """Wait until the engines are judged on up to 64 prepared pictures, uint8 (m, h, w, channels), or texts."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(_packed(sample))
            self._process.stdin.close()
        except BrokenPipeError:
            return  # it has failed already
        for line in self._process.stdout or ():
            say(line.decode("utf-8", "replace").rstrip("\n"))
        self._process.wait()

    def close(self) -> None:
        """End the process, whatever it is doing."""
        end_process(self._process)


def _packed(sample: Batch) -> bytes:
    """Return a sample as bytes; of a text, its first piece."""
    file = BytesIO()
    if isinstance(sample, np.ndarray):
        np.savez(file, pictures=sample)
    else:
        pieces = [text.pieces[0] for text in as_tokens(sample)]
        np.savez(file, lengths=[len(piece) for piece in pieces], ids=np.concatenate(pieces))
    return file.getvalue()


def _unpacked(data: bytes) -> Batch:
    with np.load(BytesIO(data), allow_pickle=False) as arrays:
        if "pictures" in arrays:
            pictures: Batch = arrays["pictures"]
            return pictures
        ends = np.cumsum(arrays["lengths"])
        pieces = np.split(arrays["ids"], ends[:-1])
    return [Tokens((piece,), len(piece), len(piece)) for piece in pieces]


def _main(task: Mapping[str, Any]) -> None:
    module, _, function = task["origin"]["builder"].partition(":")
    network: Network = getattr(import_module(module), function)(**task["origin"]["arguments"]).network()
    cache = Path(task["cache"])

    def say(text: str) -> None:
        print(text, flush=True)

    _convert(network, cache, say)
    sample = _unpacked(sys.stdin.buffer.read())
    open_engine(network, sample=lambda: sample, cache=cache, engine=task["engine"], say=say)


if __name__ == "__main__":
    _main(json.loads(sys.argv[1]))
