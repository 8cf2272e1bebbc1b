"""A toy source and toy photos, for our tests and for yours: small, real, the same on every run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from headstart.base.hashing import sha256_json
from headstart.data.images.preprocessing import Preprocessing
from headstart.sources.base import Identity
from headstart.sources.layers import Stage, more_taps, taps
from headstart.sources.networks.source import TorchSource

if TYPE_CHECKING:
    from torch import nn

SIDE = 32
WIDTHS = (8, 16, 24)
CLASSES = 5
PASSED = 0.1  # of the weights that tell nothing of stripes, what is left in a planted network


class ToySource(TorchSource):
    """A tiny convolutional network with random weights, for 32-pixel pictures; its features tell colours and stripes.

    It has every layer that a real source has, and a classifier of 5 classes.
    """

    def __init__(self, seed: int = 0) -> None:
        identity = Identity(
            uri=f"toy:convnet@{seed}",
            architecture="toy-convnet",
            parameters=sum(9 * a * b + b for a, b in zip((3, *WIDTHS), WIDTHS, strict=False)),
            classes=CLASSES,
            licence="none (random weights)",
            revision=str(seed),
            sha256=sha256_json({"toy": 1, "seed": seed, "torch": version("torch")}),
            trained_on=f"nothing (random weights, seed {seed})",
        )
        preprocessing = Preprocessing(size=(SIDE, SIDE), resize=SIDE, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        stages = [
            Stage(f"stage{at}", f"stages.{at}", width, positions=(SIDE >> (at + 1)) ** 2)
            for at, width in enumerate(WIDTHS)
        ]
        blocks = taps(WIDTHS[-1], stages, None)
        more = more_taps(blocks, stages, None)
        super().__init__(identity, preprocessing, blocks, lambda: _toy_network(seed), more=more)

    def anew(self, seed: int) -> ToySource:
        """Return the same network with other random weights."""
        return ToySource(seed)


class PlantedSource(ToySource):
    """The toy network with weights that tell the direction of stripes, whatever their colour and place.

    Its first stage holds slopes in eight directions, the others pass them on: what it knows is known, so that a
    comparison can be tested on it. Where they are `shuffled`, each tensor's weights are in random order and nothing is
    known any more.
    """

    def __init__(self, seed: int = 0, *, shuffled: bool = False) -> None:
        super().__init__(seed)
        what = "shuffled" if shuffled else "planted"
        self.identity = replace(
            self.identity,
            uri=f"toy:{what}@{seed}",
            sha256=sha256_json({"toy": what, "seed": seed}),
            trained_on=f"nothing ({what} weights, seed {seed})",
        )
        self._build = cache(lambda: _planted_network(seed, shuffled=shuffled))


def _planted_network(seed: int, *, shuffled: bool) -> nn.Module:
    import torch

    network = _toy_network(0)
    first, second, third = (stage[0] for stage in network.stages)  # type: ignore[union-attr]
    angles = np.pi * np.arange(WIDTHS[0]) / (WIDTHS[0] / 2)
    across = np.array([-1.0, 0.0, 1.0])
    slopes = np.sin(angles)[:, None, None] * across[:, None] + np.cos(angles)[:, None, None] * across
    with torch.no_grad():
        for stage in (first, second, third):
            stage.weight.mul_(PASSED)
            stage.bias.zero_()
        first.weight.copy_(torch.from_numpy(np.repeat(slopes[:, None], 3, axis=1) / 3))
        for stage in (second, third):
            for channel in range(WIDTHS[0]):
                stage.weight[channel] = 0
                stage.weight[channel, channel] = 1 / 9
        if shuffled:
            rng = np.random.default_rng(seed)
            for weight in network.parameters():
                weight.copy_(weight.flatten()[torch.from_numpy(rng.permutation(weight.numel()))].view_as(weight))
    return network


def _toy_network(seed: int) -> nn.Module:
    import torch
    from torch import Tensor, nn

    class Toy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stages = nn.Sequential(
                *(
                    nn.Sequential(nn.Conv2d(a, b, 3, stride=2, padding=1), nn.ReLU())
                    for a, b in zip((3, *WIDTHS), WIDTHS, strict=False)
                )
            )
            self.classifier = nn.Linear(WIDTHS[-1], CLASSES)

        def forward_features(self, pictures: Tensor) -> Tensor:
            return self.stages(pictures)  # type: ignore[no-any-return]

        def forward_head(self, final: Tensor, *, pre_logits: bool = False) -> Tensor:
            pooled = final.mean((2, 3))
            return pooled if pre_logits else self.classifier(pooled)

        def forward(self, pictures: Tensor) -> Tensor:
            return self.forward_head(self.forward_features(pictures))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Toy().eval()


def toy_photos(folder: Path, classes: int | Sequence[str] = ("cat", "dog"), per_class: int = 10, seed: int = 0) -> Path:
    """Write small photos that can be learnt, one folder a class, JPEG and PNG by turns, and return `folder`.

    A class has a colour and a direction of stripes; each photo adds its own brightness, place and noise. The same seed
    writes the same bytes.
    """
    from PIL import Image

    rng = np.random.default_rng(seed)
    names = [f"class{index}" for index in range(classes)] if isinstance(classes, int) else list(classes)
    for index, name in enumerate(names):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(per_class):
            picture = Image.fromarray(_striped(rng, index / len(names)))
            path = folder / name / f"{number:04d}"
            if number % 2:
                picture.save(path.with_suffix(".png"))
            else:
                picture.save(path.with_suffix(".jpg"), quality=92)
    return folder


def toy_stripes(
    classes: int = 5, per_class: int = 30, *, noise: float = 0.25, seed: int = 0
) -> tuple[list[NDArray[np.uint8]], list[str]]:
    """Return small pictures whose class is the direction of their stripes, and their labels.

    Colours, contrast and place of the stripes say nothing of it: raw pixels hardly help. Pictures lie in 0..1, and
    `noise` of that standard deviation is added to each pixel.
    """
    rng = np.random.default_rng(seed)
    down, across = np.mgrid[:SIDE, :SIDE]
    pictures, labels = [], []
    for index in range(classes):
        for _ in range(per_class):
            angle = np.pi * (index + rng.uniform(-0.3, 0.3)) / classes
            waves = np.sin((down * np.sin(angle) + across * np.cos(angle)) * 0.8 + rng.uniform(0, 2 * np.pi))
            values = rng.uniform(0.3, 0.7, 3) + rng.uniform(0.1, 0.25) * waves[:, :, None]
            values = values + rng.normal(0, noise, (SIDE, SIDE, 3))
            pictures.append((255 * values.clip(0, 1)).astype(np.uint8))
            labels.append(f"class{index}")
    return pictures, labels


def _striped(rng: np.random.Generator, turn: float) -> NDArray[np.uint8]:
    """Return one photo, uint8 of shape (h, w, 3), whose hue and stripes lie at `turn` of a full turn."""
    height, width = rng.integers(40, 72, size=2)
    down, across = np.mgrid[:height, :width]
    angle = np.pi * turn + rng.normal(0, 0.1)
    waves = np.sin((down * np.sin(angle) + across * np.cos(angle)) * 0.8 + rng.uniform(0, 2 * np.pi))
    hue = 0.5 + 0.5 * np.cos(2 * np.pi * (turn + np.array([0, 1 / 3, 2 / 3])))
    light = rng.uniform(0.6, 1.0)
    values = light * (0.5 * hue + 0.35 * hue * waves[:, :, None]) + rng.normal(0.1, 0.08, (height, width, 3))
    pixels: NDArray[np.uint8] = (255 * values.clip(0, 1)).astype(np.uint8)
    return pixels
