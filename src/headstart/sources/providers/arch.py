"""Architectures that no library carries: our own definitions, whose trained weights only `headstart pretrain` makes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from headstart.base.errors import SourceError, did_you_mean
from headstart.data.images.preprocessing import Preprocessing
from headstart.sources.base import Identity
from headstart.sources.layers import Stage, more_taps, taps
from headstart.sources.networks.source import TorchSource, build_seeded
from headstart.sources.uri import Spec, refuse_revision

if TYPE_CHECKING:
    from torch import nn

CLASSES = 10


@dataclass(frozen=True)
class OwnArchitecture:
    """An architecture of ours."""

    preprocessing: Preprocessing
    stages: tuple[Stage, ...]
    pool: int  # width of its pooled features
    parameters: int  # number of weights, without the classifier
    build: Callable[[int], nn.Module]  # returns it for so many classes, in inference mode, with torch's next weights


def open_named(spec: Spec, *, weights: str, seed: int) -> TorchSource:
    """Return one of our own architectures, with random weights: SourceError for trained ones, or an unknown name."""
    if spec.name not in ARCHITECTURES:
        raise SourceError(
            f"arch: sources are {', '.join(NAMES)}", repr(spec.name), f"choose one{did_you_mean(spec.name, NAMES)}"
        )
    refuse_revision(spec, "their definition is part of this package")
    if weights != "none":
        raise SourceError(
            f"{spec.uri} must be used with weights none",
            f"{weights}, and nobody released any",
            f"train it (headstart pretrain DATA --arch {spec.uri}), and name the folder as file:FOLDER",
        )
    own = ARCHITECTURES[spec.name]
    identity = Identity(spec.uri, f"headstart {spec.name}", own.parameters, CLASSES)
    identity = identity.as_random(seed, library="headstart")
    standard = taps(own.pool, own.stages, None)
    more = more_taps(standard, own.stages, None)
    build = partial(build_seeded, partial(own.build, CLASSES), seed)
    return TorchSource(identity, own.preprocessing, standard, build, more=more)


def lenet5(classes: int) -> nn.Module:
    """Return LeNet-5 for grey pictures of 32 x 32 pixels, in timm's two steps: 61,706 parameters for 10 classes.

    The third convolution sees its whole input, as in LeCun, Bottou, Bengio & Haffner, "Gradient-based learning applied
    to document recognition", Proceedings of the IEEE 86 (1998). As in most later versions, every map of the second
    convolution reads every map before it, pooling has no weights, and the output is linear.
    """
    from torch import Tensor, nn

    class LeNet5(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stages = nn.Sequential(
                nn.Sequential(nn.Conv2d(1, 6, 5), nn.Tanh(), nn.AvgPool2d(2)),
                nn.Sequential(nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2)),
            )
            self.hidden = nn.Sequential(nn.Conv2d(16, 120, 5), nn.Tanh(), nn.Flatten(), nn.Linear(120, 84), nn.Tanh())
            self.classifier = nn.Linear(84, classes)

        def forward_features(self, pictures: Tensor) -> Tensor:
            return self.stages(pictures)  # type: ignore[no-any-return]

        def forward_head(self, final: Tensor, *, pre_logits: bool = False) -> Tensor:
            hidden: Tensor = self.hidden(final)
            return hidden if pre_logits else self.classifier(hidden)

        def forward(self, pictures: Tensor) -> Tensor:
            return self.forward_head(self.forward_features(pictures))

    return LeNet5().eval()


def resnet9(classes: int) -> nn.Module:
    """Return ResNet-9 for colour pictures of 64 x 64 pixels, in timm's two steps; see `resnet9.py`."""
    from headstart.sources.networks.resnet9 import ResNet9

    return ResNet9(classes).eval()


LENET5 = OwnArchitecture(
    Preprocessing(size=(32, 32), resize=32, interpolation="bilinear", mean=(0.5,), std=(0.5,), channels="grey"),
    (Stage("stage0", "stages.0", 6, positions=14 * 14), Stage("stage1", "stages.1", 16, positions=5 * 5)),
    pool=84,
    parameters=60_856,
    build=lenet5,
)
RESNET9 = OwnArchitecture(
    Preprocessing(size=(64, 64), resize=64, interpolation="bilinear"),
    (
        Stage("stage0", "stages.0", 64, positions=16 * 16),
        Stage("stage1", "stages.1", 128, positions=8 * 8),
        Stage("stage2", "stages.2", 256, positions=4 * 4),
    ),
    pool=256,
    parameters=1_242_656,
    build=resnet9,
)
ARCHITECTURES = {"lenet5": LENET5, "resnet9": RESNET9}
NAMES = tuple(ARCHITECTURES)
