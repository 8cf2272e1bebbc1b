"""The chosen engine against torch eager float32 on the same prepared photos, paired in one run, and their agreement.

Usage: python bench/engine.py [DATA] [--source packaged:efficientnet-lite0] [--photos 128] [--rounds 3]

Torch runs as a plain script runs it: float32, contiguous, batches of 16; channels-last beside it. The contenders take
turns and the median of the ratios counts, so that what else the machine does weighs on all alike. Without DATA the
photos are generated.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
from machine import machine

from headstart.base.config import cache_dir
from headstart.data.readers.open import open_dataset
from headstart.engines.select import PARITY_SAMPLE, open_engine, parity
from headstart.engines.torch import TorchEngine
from headstart.sources.base import Source
from headstart.sources.registry import open_source
from headstart.testing import toy_photos

BATCH = 16


def photos(source: Source, data: str | None, count: int) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        where = data or toy_photos(Path(folder) / "toys", classes=4, per_class=-(-count // 4))
        dataset = open_dataset(where)
        chosen = np.random.default_rng(0).permutation(len(dataset))[:count]
        return np.stack([source.prepare(dataset.read(int(position))) for position in chosen])


def plain(uri: str, pictures: np.ndarray) -> Callable[[], object]:
    """Torch as most scripts run it; a network of its own, since the engines change the layout of theirs."""
    import torch

    source = open_source(uri)
    body = source.module()
    mean, std = (
        torch.tensor(values).reshape(1, -1, 1, 1) for values in (source.preprocessing.mean, source.preprocessing.std)
    )

    def run() -> None:
        with torch.inference_mode():
            for start in range(0, len(pictures), BATCH):
                batch = torch.from_numpy(pictures[start : start + BATCH]).permute(0, 3, 1, 2).contiguous()
                body.forward_head(body.forward_features((batch.float() / 255 - mean) / std), pre_logits=True)

    return run


def rate(run: Callable[[], object], count: int) -> float:
    start = time.perf_counter()
    run()
    return count / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?")
    parser.add_argument("--source", default="packaged:efficientnet-lite0")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--photos", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    source = open_source(asked.source)
    network = source.network()
    pictures = photos(source, asked.data, asked.photos)
    engine = open_engine(
        network, sample=lambda: pictures[:PARITY_SAMPLE], cache=cache_dir(), engine=asked.engine, say=print
    )
    exact = TorchEngine(network.module())
    contenders = {
        "torch eager f32, contiguous": plain(asked.source, pictures),
        "torch eager f32, channels last": lambda: exact.run(pictures),
        engine.name: lambda: engine.run(pictures),
    }
    for run in contenders.values():
        run()
    rounds = [{name: rate(run, len(pictures)) for name, run in contenders.items()} for _ in range(asked.rounds)]
    print(machine(), f"load {os.getloadavg()[0]:.1f}, torch {version('torch')}", sep=", ")
    print(f"{asked.source}, {len(pictures)} photos of {asked.data or 'toy_photos'}, {asked.rounds} rounds")
    for name in contenders:
        ratio = statistics.median(each[engine.name] / each[name] for each in rounds)
        print(
            f"{name}: {statistics.median(each[name] for each in rounds):.0f} photos/s; {engine.name} is {ratio:.1f} x"
        )
    print(parity(engine.run(pictures[:PARITY_SAMPLE]), exact.run(pictures[:PARITY_SAMPLE]), network.blocks))


if __name__ == "__main__":
    main()
