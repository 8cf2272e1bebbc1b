"""The torch engine on a CUDA device: photos per second beside what the card itself gives, and beside the CPU.

Usage: python bench/gpu.py DATA [--sources URI …] [--weights pretrained|none] [--photos 4096]

DATA is a folder of photos; they are repeated, each time with other bytes, until there are so many. Four rates a source:
the network alone on batches that lie in the card's memory, the best of several sizes (the card's limit, in the same
precision); the engine on photos that are prepared; a whole extraction from files, decoding included, into an empty
store; and the CPU's torch engine on the machine's cores.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from copy import deepcopy
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from machine import machine

from headstart.data.readers.open import open_dataset
from headstart.engines.select import PARITY_SAMPLE, open_engine, parity
from headstart.engines.torch import TorchEngine
from headstart.features.extract import extract
from headstart.sources.registry import open_source

LIMIT_BATCHES = (64, 256, 1024)


def repeated(data: Path, folder: Path, count: int) -> Path:
    """Write `count` JPEG files, those of `data` by turns, each with a comment of its own behind the picture."""
    files = sorted(path for path in data.rglob("*.jpg"))
    for number in range(count):
        source = files[number % len(files)]
        (folder / source.parent.name).mkdir(parents=True, exist_ok=True)
        comment = f"{number:016d}".encode()
        head, rest = source.read_bytes()[:2], source.read_bytes()[2:]
        (folder / source.parent.name / f"{number:06d}.jpg").write_bytes(
            head + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + rest
        )
    return folder


def per_second(run: Callable[[], object], count: int, *, rounds: int = 3) -> float:
    run()
    torch.cuda.synchronize()
    rates = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        torch.cuda.synchronize()
        rates.append(count / (time.perf_counter() - start))
    return sorted(rates)[len(rates) // 2]


def card_limit(module: torch.nn.Module, prepared: np.ndarray) -> tuple[float, int]:
    """Return the network's best rate on photos in the card's memory, in bfloat16, and the size of its batches."""
    module = deepcopy(module).eval().to("cuda", memory_format=torch.channels_last)
    found = []
    for size in LIMIT_BATCHES:
        batch = torch.from_numpy(np.resize(prepared, (size, *prepared.shape[1:]))).to("cuda")

        def run(batch: torch.Tensor = batch) -> None:
            with torch.inference_mode(), torch.autocast("cuda", torch.bfloat16):
                for _ in range(8):
                    module(batch)

        found.append((per_second(run, 8 * size), size))
    return max(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--sources", nargs="+", default=["packaged:efficientnet-lite0"])
    parser.add_argument("--weights", default="pretrained")
    parser.add_argument("--photos", type=int, default=4096)
    asked = parser.parse_args()
    print(machine(), torch.cuda.get_device_name(), f"load {os.getloadavg()[0]:.1f}, torch {version('torch')}", sep=", ")
    with tempfile.TemporaryDirectory() as folder:
        dataset = open_dataset(repeated(asked.data, Path(folder) / "photos", asked.photos))
        for uri in asked.sources:
            source = open_source(uri, weights="none" if uri.startswith("torchvision:") else asked.weights)
            network, cache = source.network(), Path(folder) / uri.replace("/", "-")
            prepared = np.stack([source.prepare(dataset.read(position)) for position in range(512)])
            engine = open_engine(network, sample=lambda prepared=prepared: prepared[:PARITY_SAMPLE], cache=cache)
            exact = TorchEngine(network.module())
            agreement = parity(engine.run(prepared[:64]), exact.run(prepared[:64]), network.blocks)
            limit, size = card_limit(network.module(), prepared)
            alone = per_second(lambda engine=engine, prepared=prepared: engine.run(prepared), len(prepared))
            start = time.perf_counter()
            exact.run(prepared[:128])
            on_cpu = 128 / (time.perf_counter() - start)
            start = time.perf_counter()
            extraction = extract(dataset, source, cache=cache)
            whole = len(dataset) / (time.perf_counter() - start)
            print(f"{uri}: {engine.name} = {extraction.engine}, {agreement}")
            print(
                f"  the card alone {limit:,.0f} photos/s (batches of {size}); engine {alone:,.0f} ({alone / limit:.2f})"
            )
            print(
                f"  from files {whole:,.0f} photos/s ({whole / limit:.2f}); CPU, torch float32 {on_cpu:,.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
