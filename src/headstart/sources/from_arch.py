"""Architectures that no library carries: our own definitions, whose trained weights only `headstart pretrain` makes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headstart.base.checks import did_you_mean
from headstart.base.errors import SourceError
from headstart.data.images import Preprocessing
from headstart.engines.manners import wait_politely
from headstart.sources.from_torch import Identity, TorchSource, as_random
from headstart.sources.recipe import Stage, more_taps, taps
from headstart.sources.spec import Spec, refuse_revision

if TYPE_CHECKING:
    from torch import nn

NAMES = ("lenet5",)
LENET5 = Preprocessing(size=(32, 32), resize=32, interpolation="bilinear", mean=(0.5,), std=(0.5,), channels="grey")
LENET5_STAGES = (
    Stage("stage0", "stages.0", 6, positions=14 * 14),
    Stage("stage1", "stages.1", 16, positions=5 * 5),
)
LENET5_POOL = 84
LENET5_PARAMETERS = 60_856  # and 850 more in a classifier of 10 classes
CLASSES = 10


def open_named(spec: Spec, *, weights: str, seed: int) -> TorchSource:
    """Return one of our own architectures, with random weights.

    Raises:
        SourceError: no such architecture, or trained weights were asked for: there are none.
    """
    if spec.name not in NAMES:
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
    identity = Identity(
        uri=spec.uri,
        architecture="headstart lenet5",
        parameters=LENET5_PARAMETERS,
        classes=CLASSES,
        licence="",
        revision="",
        sha256="",
        trained_on="",
    )
    standard = taps(LENET5_POOL, LENET5_STAGES, None)
    more = more_taps(standard, LENET5_STAGES, None)
    identity = as_random(identity, seed, library="headstart")
    return TorchSource(identity, LENET5, standard, lambda: build_random(CLASSES, seed), more=more)


def build_random(classes: int, seed: int) -> nn.Module:
    """Return LeNet-5 with weights drawn from `seed`, in inference mode; torch's own state is untouched."""
    wait_politely()
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return lenet5(classes).eval()


def lenet5(classes: int) -> nn.Module:
    """Return LeNet-5 for grey pictures of 32 x 32 pixels, in timm's two steps: 61,706 parameters for 10 classes.

    The third convolution sees its whole input, as in LeCun, Bottou, Bengio & Haffner, "Gradient-based learning applied
    to document recognition", Proceedings of the IEEE 86 (1998). As in most later versions, every map of the second
    convolution reads every map before it, pooling has no weights, and the output is linear.

    Args:
        classes: how many scores it gives.
    """
    from torch import Tensor, nn

    class LeNet5(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stages = nn.Sequential(
                nn.Sequential(nn.Conv2d(1, 6, 5), nn.Tanh(), nn.AvgPool2d(2)),
                nn.Sequential(nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2)),
            )
            self.hidden = nn.Sequential(
                nn.Conv2d(16, 120, 5), nn.Tanh(), nn.Flatten(), nn.Linear(120, LENET5_POOL), nn.Tanh()
            )
            self.classifier = nn.Linear(LENET5_POOL, classes)

        def forward_features(self, pictures: Tensor) -> Tensor:
            return self.stages(pictures)  # type: ignore[no-any-return]

        def forward_head(self, final: Tensor, *, pre_logits: bool = False) -> Tensor:
            hidden: Tensor = self.hidden(final)
            return hidden if pre_logits else self.classifier(hidden)

        def forward(self, pictures: Tensor) -> Tensor:
            return self.forward_head(self.forward_features(pictures))

    return LeNet5()
