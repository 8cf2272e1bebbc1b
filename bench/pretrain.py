"""Training from random weights: pictures a second on Tiny ImageNet, decoding included, against a plain loop.

Usage: python bench/pretrain.py DATA [--seconds 20] [--rounds 3]

DATA is the folder of the sets. The loops take turns on the same network (arch:resnet9) and batch (128). The plain one
is what a script does: a DataLoader with as many workers as cores, Pillow, torchvision's RandomResizedCrop and flip,
float32, contiguous, AdamW. Ours is timed at each size of its pictures; a whole run sees 60 % of its epochs at 32 px,
25 % at 48 px and 15 % at 64 px, so that its pictures a second are the mean over those.
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
from pathlib import Path

import numpy as np
from machine import machine

BATCH, SIZES, SHARES = 128, (32, 48, 64), (0.6, 0.25, 0.15)


def ours(dataset, positions, size: int, seconds: float) -> float:
    """Return pictures a second of the loop's own parts at one size."""
    import torch

    from headstart.data.images.preprocessing import Preprocessing
    from headstart.sources.registry import open_source
    from headstart.tune.training.loop import train
    from headstart.tune.from_scratch import PRETRAIN_RECIPE, pretrain_task, untrained_network
    from headstart.tune.inputs.stream import Stream
    from dataclasses import replace

    torch.manual_seed(0)
    network = untrained_network(
        open_source("arch:resnet9", weights="none"), classes=len(dataset.classes), size=0, seed=0
    )
    how = replace(network.preprocessing, size=(size, size), resize=size)
    assert isinstance(how, Preprocessing)
    y = np.zeros(len(positions), np.int64)
    ids = {name: at for at, name in enumerate(dataset.classes)}
    y[:] = [ids[dataset.examples[at].label] for at in positions]
    with (
        Stream(dataset, positions, y, how, augment=True, horizontal_flip=True) as learn,
        Stream(dataset, positions[:1], y[:1], how) as judge,
    ):
        task = pretrain_task(network, learn, judge)
        count = int(BATCH * max(4, seconds))
        learn.y, learn.positions = learn.y[:count], learn.positions[:count]
        return train(task, replace(PRETRAIN_RECIPE, epochs=1)).images_per_second


def plain(dataset, positions, seconds: float) -> float:
    """Return pictures a second of a plain loop at 64 px."""
    import torch
    from PIL import Image
    from torch.nn.functional import cross_entropy
    from torchvision import transforms

    from headstart.sources.registry import open_source
    from headstart.tune.from_scratch import untrained_network

    network = untrained_network(
        open_source("arch:resnet9", weights="none"), classes=len(dataset.classes), size=0, seed=0
    )
    body = network.body.train()
    ids = {name: at for at, name in enumerate(dataset.classes)}
    views = transforms.Compose(
        [
            transforms.RandomResizedCrop(64, scale=(0.6, 1)),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(network.preprocessing.mean, network.preprocessing.std),
        ]
    )

    class Pictures(torch.utils.data.Dataset):
        def __init__(self) -> None:
            self.held = [(dataset.read(at), ids[dataset.examples[at].label]) for at in positions]

        def __len__(self) -> int:
            return len(self.held)

        def __getitem__(self, at: int):
            data, label = self.held[at]
            return views(Image.open(io.BytesIO(data)).convert("RGB")), label

    loader = torch.utils.data.DataLoader(Pictures(), batch_size=BATCH, shuffle=True, num_workers=2)
    optimizer = torch.optim.AdamW(body.parameters(), 3e-3)
    start, seen = None, 0
    for pictures, labels in loader:
        optimizer.zero_grad()
        cross_entropy(body(pictures), labels, label_smoothing=0.1).backward()
        optimizer.step()
        if start is None:  # the first batch warms up
            start = time.monotonic()
            continue
        seen += len(labels)
        if time.monotonic() - start > seconds:
            break
    assert start is not None
    return seen / (time.monotonic() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    from headstart.engines.environment import set_passive_omp_wait
    from headstart.data.readers.open import open_dataset

    print(machine())
    dataset = open_dataset(given.data / "tiny-imagenet")
    positions = np.random.default_rng(0).permutation(90_000)[:20_000].tolist()
    found: dict[str, list[float]] = {}
    for _ in range(given.rounds):
        found.setdefault("plain, 64 px", []).append(plain(dataset, positions, given.seconds))
        for size in SIZES:
            found.setdefault(f"ours, {size} px", []).append(ours(dataset, positions, size, given.seconds))
    set_passive_omp_wait()
    base = statistics.median(found["plain, 64 px"])
    for name, values in found.items():
        told = statistics.median(values)
        print(f"| {name} | {told:.0f}/s | {told / base:.2f} | {', '.join(f'{value:.0f}' for value in values)} |")
    whole = 1 / sum(
        share / statistics.median(found[f"ours, {size} px"]) for size, share in zip(SIZES, SHARES, strict=True)
    )
    print(f"| ours, a whole run | {whole:.0f}/s | {whole / base:.2f} | |")


if __name__ == "__main__":
    main()
