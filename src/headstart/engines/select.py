"""The choice of an engine: the fastest whose features agree with the reference in float32 on the photos at hand.

The reference is torch; of a network that comes as a graph it is OpenVINO itself in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cache as once
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart.base.cache import read_record, write_record
from headstart.base.errors import UsageError, check_choice
from headstart.base.hashing import sha256
from headstart.engines.base import LOOKUP, Batch, Block, Engine, LookupEngine, Network

ENGINES = ("auto", "torch", "openvino", "openvino-bf16", "openvino-f32")
FASTEST_FIRST = ("openvino-bf16", "openvino-f32")
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
    if network.graph is not None:
        _check_graph(engine)
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


def _torch_engine(network: Network) -> Engine:
    from headstart.engines.torch import TorchEngine, TorchTexts

    if network.input_shape:
        return TorchEngine(network.module())
    return TorchTexts(network.module(), sum(block.width for block in network.blocks))


def cached_engine_name(network: Network, *, engine: str, cache: Path) -> str | None:
    """Return the name of the engine that `open_engine` will choose, as far as earlier runs tell; imports nothing."""
    check_choice("the engine", engine, ENGINES)
    if network.lookup is not None:
        return LOOKUP
    if engine == "torch" or (engine == "auto" and openvino_version() is None):
        return TORCH
    verdicts = _verdicts(folder_of(network, cache))
    candidates = [name for name in FASTEST_FIRST if name.startswith(engine) or engine == "auto"]
    known = [verdicts.get(_key(name)) for name in candidates]
    for name, verdict in zip(candidates, known, strict=True):
        if verdict is not None and verdict.passed:
            return name
    return TORCH if engine == "auto" and known[-1] is not None else None


def folder_of(network: Network, cache: Path) -> Path:
    """Return where what is known of `network` lies."""
    return cache / "networks" / network.fingerprint


def library_versions(name: str) -> dict[str, str]:
    """Return the version of the library behind an engine's name: other versions may give other last digits."""
    library = {TORCH: "torch", LOOKUP: "numpy"}.get(name, "openvino")
    return {library: version(library)}


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


def _openvino_engines(
    network: Network, sample: Sample, cache: Path, engine: str, say: Callable[[str], None]
) -> Iterator[Engine]:
    """Yield the OpenVINO engines that were asked for and agree with the reference, fastest first."""
    from headstart.engines import openvino

    folder = folder_of(network, cache)
    for name in [f"openvino-{precision}" for precision in openvino.precisions()]:
        if engine not in ("auto", "openvino", name):
            continue
        verdict = _verdicts(folder).get(_key(name))
        if verdict is not None and not verdict.passed:
            say(f"engine {name} is not used: {verdict}")
            continue
        model = openvino.open_converted(network, folder / "openvino", say=say)
        runner = openvino.OpenVinoEngine if network.input_shape else openvino.OpenVinoTexts
        opened = runner(model, precision=name.removeprefix("openvino-"))
        verdict = _checked(opened, network, sample, folder, verdict)
        if verdict.passed:
            yield opened
        else:
            say(f"engine {name} is not used: {verdict}")


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
    if network.graph is None:
        return _torch_engine(network)
    from headstart.engines.openvino import OpenVinoEngine, open_converted

    return OpenVinoEngine(open_converted(network, folder / "openvino"), precision="f32")


def _verdicts(folder: Path) -> dict[str, Parity]:
    """Return the verdicts of earlier runs; none where the file is absent or damaged, and they are found afresh."""
    return {key: Parity(**verdict) for key, verdict in (read_record(folder / PARITY) or {}).items()}


def _key(name: str) -> str:
    return f"{name} | OpenVINO {openvino_version()} | {cpu()}"


@once
def cpu() -> str:
    """Return what tells this CPU from others: its model, and a digest of what it can do."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        import platform

        return f"{platform.machine()} {platform.processor()}"
    cpu_info = dict(line.split(":", 1) for line in reversed(lines) if ":" in line)
    cpu_info = {name.strip(): value.strip() for name, value in cpu_info.items()}
    return f"{cpu_info.get('model name', 'unknown')} ({sha256(cpu_info.get('flags', '').encode())[:8]})"
