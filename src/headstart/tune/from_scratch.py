"""Pretraining: a network from random weights to a source, on the one training loop."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from headstart.base.errors import UsageError
from headstart.base.progress import Progress
from headstart.data.audio.spectrogram import HOP, AudioPreprocessing, audio_preprocessing
from headstart.data.dataset import Dataset
from headstart.data.images.preprocessing import Preprocessing
from headstart.sources.networks.classifier import with_classes
from headstart.sources.networks.source import TorchSource
from headstart.sources.networks.tapped import Normalised, Tapped
from headstart.sources.taps import Tap
from headstart.tune.inputs.stream import SHARES, STEP, Stream, grown
from headstart.tune.network.classifier import takes
from headstart.tune.network.param_groups import statistics_of
from headstart.tune.training.loop import train
from headstart.tune.training.task import Recipe, Task, Trained, Weight, evaluate, processor
from headstart.tune.training.trackers import Tracker

RECIPE = Recipe(epochs=30, rate=3e-3, batch=128, decay=0.05, smoothing=0.1, average=0.995)
"""What serves a small convolutional network on 10,000 to 1,000,000 photos; warm-up and cosine are the loop's own."""
STEPS, LEAST_BATCH = 64, 16
"""An epoch of recordings has so many steps at least, where batches of `LEAST_BATCH` allow: often they are few."""
MELS = 64  # bands of recordings, where the architecture takes as many
LEAST_GROWN = 64  # pixels; smaller pictures do not start smaller still
SIZES = (8, 16, 24, 32, 48, 64, 96, 128, 160, 192, 224, 256, 320, 384, 448, 512)


@dataclass(frozen=True)
class UntrainedNetwork:
    """A network with random weights, ready to learn.

    Attributes:
        arch: URI of the architecture.
        body: the module, with a classifier of as many classes as the data.
        how: how it wants its pictures.
        taps: where its blocks are taken, `pool` first.
        more: taps that are taken only where a layer names them.
        grows: whether it takes the smaller pictures of the first epochs.
    """

    arch: str
    body: nn.Module
    how: Preprocessing
    taps: tuple[Tap, ...]
    more: tuple[Tap, ...]
    grows: bool


@dataclass(frozen=True)
class PretrainSplits:
    """What a network is trained, judged and tested on.

    Attributes:
        dataset: the examples.
        learn: positions of those to learn from.
        judge: positions of those that choose the best epoch.
        test: positions of those that measure the result.
    """

    dataset: Dataset
    learn: tuple[int, ...]
    judge: tuple[int, ...]
    test: tuple[int, ...]

    def labels(self, positions: Sequence[int]) -> NDArray[np.int64]:
        """Return the class ids of the pictures at `positions`, int64 of shape (n,)."""
        return self.dataset.class_ids(positions)


def recipe_for(material: PretrainSplits) -> Recipe:
    """Return how to train on some data where nothing else is asked for."""
    if material.dataset.kind != "sound":
        return RECIPE
    return replace(RECIPE, batch=min(RECIPE.batch, max(LEAST_BATCH, len(material.learn) // STEPS)))


def untrained_network(
    source: TorchSource, *, classes: int, size: int, seed: int, hearing: tuple[float, int] | None = None
) -> UntrainedNetwork:
    """Return a network with random weights for so many classes.

    Args:
        source: the architecture with random weights.
        classes: how many.
        size: side of the input in pixels; 0 for the architecture's own. Of recordings, mel bands.
        seed: of the weights of its classifier.
        hearing: for recordings, how many seconds of each it hears, and at what rate in Hz.

    Raises:
        UsageError: the pictures are too small for the architecture, or it takes one size only.
        SourceError: its classifier cannot be replaced.
    """
    how = source.preprocessing
    if hearing is not None:
        how = _heard(source, size, *hearing)
    elif size and (size, size) != how.size:
        how = replace(how, size=(size, size), resize=None if how.resize is None else size)
        _check_size(source, size)
    body = with_classes(copy.deepcopy(source.module()), classes, seed=seed)
    grows = (
        hearing is None
        and how.size[0] >= LEAST_GROWN
        and all(takes(source, grown(how.size[0], share)) for share in SHARES)
    )
    more = _measured(body, how, source.more)
    return UntrainedNetwork(source.info.uri, body, how, source.taps, more, grows)


def train_anew(
    network: UntrainedNetwork,
    material: PretrainSplits,
    recipe: Recipe,
    *,
    views: bool = True,
    mirror: bool = True,
    name: str = "Pretraining",
    budget: float | None = None,
    folder: Path | None = None,
    identity: Mapping[str, Any] | None = None,
    watchers: Sequence[Tracker] = (),
    progress: Progress | None = None,
) -> Trained:
    """Train a network from random weights and leave its best weights in `network.body`, in inference mode.

    Args:
        network: what learns.
        material: what from.
        recipe: how.
        views: whether pictures vary from epoch to epoch.
        mirror: whether a mirrored one keeps its label.
        name: what the progress display calls it.
        budget: seconds that it may take; None for as many as the epochs need.
        folder: where checkpoints are kept, and looked for; None keeps none.
        identity: plain values that say which run it is.
        watchers: are told the numbers of each epoch.
        progress: where to show progress.

    Raises:
        DataError: a picture cannot be read any more.
        UsageError: the checkpoint is of another run; a batch does not fit in memory; the disk is full.
        KeyboardInterrupt: Ctrl-C, after a checkpoint was written.
    """
    dataset, how = material.dataset, network.how
    own = {"views": views, "mirror": mirror, "size": list(how.size), "threads": torch.get_num_threads()}
    own |= {"spectrogram": asdict(how.spectrogram)} if isinstance(how, AudioPreprocessing) else {}
    with (
        Stream(
            dataset,
            material.learn,
            material.labels(material.learn),
            how,
            views=views,
            mirror=mirror,
            growing=network.grows,
            seed=recipe.seed,
        ) as learn,
        Stream(dataset, material.judge, material.labels(material.judge), how) as judge,
    ):
        task = _task(network, learn, judge)
        return train(
            task,
            recipe,
            name=name,
            budget=budget,
            folder=folder,
            identity={**(identity or {}), "arch": network.arch, **own},
            watchers=watchers,
            progress=progress,
        )


def probabilities_of(
    network: UntrainedNetwork, material: PretrainSplits, positions: Sequence[int]
) -> NDArray[np.float32]:
    """Return the class probabilities of the pictures at `positions`, float32 of shape (n, c), in their order.

    Raises:
        DataError: one cannot be read any more.
    """
    with Stream(material.dataset, positions, material.labels(positions), network.how) as examples:
        return torch.from_numpy(evaluate(_task(network, examples, examples))).softmax(1).numpy()


def _task(network: UntrainedNetwork, learn: Stream, judge: Stream) -> Task:
    device = processor()
    body = network.body.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    whole = Normalised(body, network.how).to(device)
    for weight in body.parameters():
        weight.requires_grad_()

    def mode(*, training: bool) -> None:
        whole.train(training)

    return Task(
        weights=[Weight(f"body.{name}", weight, 1.0) for name, weight in body.named_parameters()],
        scores=whole,
        mode=mode,
        train=learn,
        validation=judge,
        c=len(learn.dataset.classes),
        statistics=statistics_of(body, [name for name, _ in body.named_modules()]),
        device=device,
        plan=learn.plan,
    )


def _heard(source: TorchSource, size: int, seconds: float, rate: int) -> AudioPreprocessing:
    """Return how an architecture hears recordings: as wide as their length asks for, or square where it must be."""
    own = source.preprocessing.size[0]
    mels = size or (MELS if takes(source, MELS) else own)
    frames = math.ceil(seconds / HOP / STEP) * STEP
    if takes(source, mels, frames):
        return audio_preprocessing(source.preprocessing, size=(mels, frames), seconds=frames * HOP, rate=rate)
    if mels != own:
        _check_size(source, mels)
    return audio_preprocessing(source.preprocessing, size=(mels, mels), seconds=seconds, rate=rate)


def _check_size(source: TorchSource, size: int) -> None:
    """Raise UsageError, with the least size that works, where a network cannot be run on pictures of `size` pixels."""
    if takes(source, size):
        return
    own = source.preprocessing.size[0]
    least = next((side for side in SIZES if side > size and takes(source, side)), own)
    raise UsageError(
        f"--size must be one that {source.info.uri} can take",
        f"{size} px",
        f"give {least} px or more" if least != own else f"give {own} px, its own, or name another architecture",
    )


def _measured(body: nn.Module, how: Preprocessing, more: Sequence[Tap]) -> tuple[Tap, ...]:
    """Return the taps with the widths that they have at this size: `flatten` keeps every position."""
    blank = torch.zeros(1, *how.size, 1 if how.channels == "grey" else 3, dtype=torch.uint8)
    with torch.inference_mode():
        said = Tapped(body, how, more).eval()(blank)
    return tuple(replace(tap, width=block.shape[1]) for tap, block in zip(more, said, strict=True))
