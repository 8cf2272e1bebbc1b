"""A toy source and toy photos, for our tests and for yours: small, real, the same on every run."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from headstart.base.hashing import sha256_json
from headstart.data.images import Preprocessing
from headstart.sources.from_torch import Identity, TorchSource
from headstart.sources.recipe import Stage, more_taps, taps

if TYPE_CHECKING:
    from torch import nn

SIDE = 32
WIDTHS = (8, 16, 24)
CLASSES = 5


class ToySource(TorchSource):
    """A tiny convolutional network with random weights, for 32-pixel pictures; its features tell colours and stripes.

    It has every layer that a real source has, and a classifier of 5 classes.

    Args:
        seed: of its weights.
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
        how = Preprocessing(size=(SIDE, SIDE), resize=SIDE, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        stages = [
            Stage(f"stage{at}", f"stages.{at}", width, positions=(SIDE >> (at + 1)) ** 2)
            for at, width in enumerate(WIDTHS)
        ]
        blocks = taps(WIDTHS[-1], stages, None)
        more = more_taps(blocks, stages, None)
        super().__init__(identity, how, blocks, lambda: _toy_network(seed), more=more)

    def anew(self, seed: int) -> ToySource:
        """Return the same network with other random weights."""
        return ToySource(seed)


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

    A class has a colour and a direction of stripes; each photo adds its own brightness, place and noise.

    Args:
        folder: where the class folders go; created.
        classes: their names, or how many there are.
        per_class: photos of each class.
        seed: of what differs between photos; the same seed writes the same bytes.
    """
    from PIL import Image

    rng = np.random.default_rng(seed)
    names = [f"class{at}" for at in range(classes)] if isinstance(classes, int) else list(classes)
    for at, name in enumerate(names):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(per_class):
            picture = Image.fromarray(_striped(rng, at / len(names)))
            path = folder / name / f"{number:04d}"
            if number % 2:
                picture.save(path.with_suffix(".png"))
            else:
                picture.save(path.with_suffix(".jpg"), quality=92)
    return folder


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
