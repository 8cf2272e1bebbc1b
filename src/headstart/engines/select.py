"""The choice of an engine: the fastest whose features agree with the reference in float32 on the photos at hand.

The reference is torch on the CPU; of a network that needs no torch it is OpenVINO itself in float32. Where torch has
a CUDA device, that comes first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cache as once
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart.base.cache import read_record, write_record
from headstart.base.config import cpu_info
from headstart.base.errors import UsageError, check_choice
from headstart.base.extras import is_installed, require
from headstart.base.hashing import sha256
from headstart.engines.base import LOOKUP, Batch, Block, Engine, LookupEngine, Network

ENGINES = ("auto", "torch", "openvino", "openvino-bf16", "openvino-f32")
FASTEST_FIRST = ("openvino-bf16", "openvino-f32")
CUDA_DRIVERS = ("/dev/nvidiactl", "/dev/dxg")  # of Linux, and of Linux under Windows
TORCH = "torch-f32"
EXACT = "openvino-f32"
LEAST_MEAN, LEAST_WORST = 0.998, 0.99
PARITY_SAMPLE = 64
PARITY = "parity.json"
FEW = 16  # a verdict over fewer photos than this is asked for again when more are at hand

Sample = Callable[[], Batch]


@dataclass(frozen=True)
class Parity:
    """How well an engine's features agree with the reference in float32.

    Per photo: the cosine of each block, averaged over the blocks, so that a wide block cannot hide a broken narrow one.
    """

    mean: float  # over the photos
    worst: float  # of any photo
    photos: int  # how many were compared

    @property
    def passed(self) -> bool:
        """Whether it is good enough to be used."""
        return self.mean >= LEAST_MEAN and self.worst >= LEAST_WORST

    def __str__(self) -> str:
        return f"cosine {self.mean:.5f} on average and {self.worst:.5f} at worst over {self.photos} photos"


def parity(x: NDArray[np.float32], reference: NDArray[np.float32], blocks: tuple[Block, ...]) -> Parity:
    """Return how well `x` agrees with `reference`, both float32 of shape (n, sum of widths)."""
    figures = np.zeros((len(x), len(blocks)))
    start = 0
    for column, block in enumerate(blocks):
        block_rows = x[:, start : start + block.width].astype(np.float64)
        reference_rows = reference[:, start : start + block.width].astype(np.float64)
        lengths = np.linalg.norm(block_rows, axis=1) * np.linalg.norm(reference_rows, axis=1)
        same = (block_rows == reference_rows).all(axis=1)  # rows of zeros have no direction, and agree
        dots = np.einsum("ij,ij->i", block_rows, reference_rows)
        figures[:, column] = np.where(same, 1.0, dots / np.where(lengths > 0, lengths, 1.0))
        start += block.width
    rows = np.nan_to_num(figures, nan=-1.0, posinf=-1.0, neginf=-1.0).mean(axis=1)
    return Parity(float(rows.mean()), float(rows.min()), len(rows))


def open_engine(
    network: Network,
    *,
    sample: Sample,
    cache: Path,
    engine: str = "auto",
    say: Callable[[str], None] = lambda text: None,
) -> Engine:
    """Return the engine asked for, or with `auto` the fastest that agrees with the reference.

    Args:
        sample: gives up to 64 prepared pictures, uint8 of shape (m, h, w, channels), or texts; called only where
            agreement is not known yet from an earlier run on the same kind of machine.
        cache: holds the converted network and the verdicts, under `networks/`.
        engine: one of `ENGINES`; `openvino` is its fastest precision that agrees.

    Raises:
        UsageError: the OpenVINO engine is needed and absent, or does not agree with the reference; or no such engine;
            or torch is asked to run a graph.
    """
    check_choice("the engine", engine, ENGINES)
    if network.lookup is not None:
        return LookupEngine(network.lookup())
    if not network.runs_on_torch:
        _check_graph(engine)
    for opened in _cuda_engines(network, sample, cache, engine, say):
        return opened
    if engine != "torch":
        if openvino_version() is None:
            if engine != "auto":
                raise UsageError(f"engine {engine} needs OpenVINO", "it is not installed", "run: pip install openvino")
            say("OpenVINO is not installed here: using the torch engine, which is slower")
        else:
            for opened in _openvino_engines(network, sample, cache, engine, say):
                return opened
            if engine != "auto":
                reference, instead = ("torch", "torch, or auto") if network.graph is None else (EXACT, "auto")
                raise UsageError(
                    f"features of engine {engine} must agree with {reference} (cosine {LEAST_MEAN} on average, "
                    f"{LEAST_WORST} at worst)",
                    "they do not on this machine",
                    f"use --engine {instead}",
                )
            say("using the torch engine, which is slower")
    return _torch_engine(network)


def _torch_engine(network: Network, name: str = TORCH) -> Engine:
    require("the torch engine", "torch")
    from headstart.engines.torch import TorchEngine, TorchTexts

    if network.input_shape:
        return TorchEngine(network.module(), name=name)
    return TorchTexts(network.module(), sum(block.width for block in network.blocks), name=name)


def cached_engine_name(network: Network, *, engine: str, cache: Path) -> str | None:
    """Return the name of the engine that `open_engine` will choose, as far as earlier runs tell.

    It imports nothing, save torch where this machine has the driver of a CUDA device.
    """
    check_choice("the engine", engine, ENGINES)
    if network.lookup is not None:
        return LOOKUP
    verdicts = _verdicts(folder_of(network, cache))
    on_openvino = FASTEST_FIRST if openvino_version() is not None else ()
    candidates = [*cuda_engines(network, engine)]
    candidates += [name for name in on_openvino if engine in ("auto", "openvino", name)]
    known = [verdicts.get(_key(name)) for name in candidates]
    for name, verdict in zip(candidates, known, strict=True):
        if verdict is not None and verdict.passed:
            return name
        if verdict is None and name not in FASTEST_FIRST:
            return None  # a CUDA device is judged before anything slower is asked
    fallback = engine == "torch" or (engine == "auto" and (not candidates or known[-1] is not None))
    return TORCH if fallback else None


def folder_of(network: Network, cache: Path) -> Path:
    """Return where what is known of `network` lies."""
    return cache / "networks" / network.fingerprint


def library_versions(name: str) -> dict[str, str]:
    """Return the version of the library behind an engine's name: other versions may give other last digits."""
    library = {"torch": "torch", "numpy": "numpy"}.get(name.partition("-")[0], "openvino")
    return {library: version(library)}


@once
def cuda_device() -> str | None:
    """Return the name of the CUDA device that torch uses, or None; imports torch only where there is a driver."""
    if not any(Path(driver).exists() for driver in CUDA_DRIVERS) or not is_installed("torch"):
        return None
    import torch

    name: str | None = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return name


def cuda_engines(network: Network, engine: str) -> tuple[str, ...]:
    """Return the engines on a CUDA device that may run a network, fastest first."""
    if not network.runs_on_torch or engine not in ("auto", "torch") or cuda_device() is None:
        return ()
    from headstart.engines.torch import cuda_names

    return cuda_names()


def openvino_version() -> str | None:
    """Return the version of the installed OpenVINO, without importing it; None where it is absent."""
    try:
        return version("openvino")
    except PackageNotFoundError:
        return None


def _check_graph(engine: str) -> None:
    """Raise UsageError unless `engine` can run a network that comes as a graph on this machine."""
    if engine == "torch":
        raise UsageError(
            "a network that comes as a graph (ONNX, SavedModel) must run on the OpenVINO engine",
            "--engine torch",
            "use --engine auto, or a source that is a torch network",
        )
    if openvino_version() is None:
        raise UsageError(
            "a network that comes as a graph (ONNX, SavedModel) needs OpenVINO",
            "it is not installed",
            "run: pip install openvino (there is none for this machine if that fails: name another source)",
        )


def _cuda_engines(
    network: Network, sample: Sample, cache: Path, engine: str, say: Callable[[str], None]
) -> Iterator[Engine]:
    """Yield the engines on a CUDA device that agree with the reference, fastest first."""
    for name in cuda_engines(network, engine):
        open_it = partial(_torch_engine, network, name)
        yield from _agreeing(name, open_it, network=network, sample=sample, cache=cache, say=say)


def _agreeing(
    name: str,
    open_it: Callable[[], Engine],
    *,
    network: Network,
    sample: Sample,
    cache: Path,
    say: Callable[[str], None],
) -> Iterator[Engine]:
    """Yield the engine that `open_it` opens where it agrees with the reference; say so where it does not."""
    folder = folder_of(network, cache)
    verdict = _verdicts(folder).get(_key(name))
    if verdict is None or verdict.passed:
        opened = open_it()
        verdict = _checked(opened, network, sample, folder, verdict)
        if verdict.passed:
            yield opened
            return
    say(f"engine {name} is not used: {verdict}")


def _openvino_engines(
    network: Network, sample: Sample, cache: Path, engine: str, say: Callable[[str], None]
) -> Iterator[Engine]:
    """Yield the OpenVINO engines that were asked for and agree with the reference, fastest first."""
    from headstart.engines import openvino

    def opened(name: str) -> Engine:
        model = openvino.open_converted(network, folder_of(network, cache) / "openvino", say=say)
        runner = openvino.OpenVinoEngine if network.input_shape else openvino.OpenVinoTexts
        return runner(model, precision=name.removeprefix("openvino-"))

    for name in [f"openvino-{precision}" for precision in openvino.precisions()]:
        if engine in ("auto", "openvino", name):
            yield from _agreeing(name, partial(opened, name), network=network, sample=sample, cache=cache, say=say)


def _checked(engine: Engine, network: Network, sample: Sample, folder: Path, known: Parity | None) -> Parity:
    """Return the verdict on an engine: what is known, unless that rests on few photos and more are at hand."""
    if known is not None and known.photos >= FEW:
        return known
    if network.graph is not None and engine.name == EXACT:
        agreement = Parity(1.0, 1.0, PARITY_SAMPLE)  # it is the reference
    else:
        photos = sample()[:PARITY_SAMPLE]
        if known is not None and len(photos) <= known.photos:
            return known
        agreement = parity(engine.run(photos), _reference(network, folder).run(photos), network.blocks)
    verdicts = {**_verdicts(folder), _key(engine.name): agreement}
    write_record(folder / PARITY, {key: asdict(verdict) for key, verdict in verdicts.items()})
    return agreement


def _reference(network: Network, folder: Path) -> Engine:
    """Return the engine that others are measured against."""
    if network.graph is None or openvino_version() is None:
        return _torch_engine(network)
    from headstart.engines.openvino import OpenVinoEngine, open_converted

    return OpenVinoEngine(open_converted(network, folder / "openvino"), precision="f32")


def _verdicts(folder: Path) -> dict[str, Parity]:
    """Return the verdicts of earlier runs; none where the file is absent or damaged, and they are found afresh."""
    return {key: Parity(**verdict) for key, verdict in (read_record(folder / PARITY) or {}).items()}


def _key(name: str) -> str:
    if name in FASTEST_FIRST:
        return f"{name} | OpenVINO {openvino_version()} | {cpu()}"
    return f"{name} | torch {version('torch')} | {cuda_device()}"


@once
def cpu() -> str:
    """Return what tells this CPU from others: its model, and a digest of what it can do."""
    facts = cpu_info()
    if not facts:
        import platform

        return f"{platform.machine()} {platform.processor()}"
    return f"{facts.get('model name', 'unknown')} ({sha256(facts.get('flags', '').encode())[:8]})"
