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
from headstart.sources.layers import Tap
from headstart.sources.networks.source import TorchSource
from headstart.sources.networks.tapped import Normalised, Tapped, accepts_size
from headstart.sources.networks.two_step import with_classes
from headstart.tune.inputs.stream import SHARES, SIZE_STEP, Stream, scaled_side
from headstart.tune.network.param_groups import statistics_of
from headstart.tune.training.loop import train
from headstart.tune.training.task import Recipe, Task, TrainResult, Weight, default_device, validation_scores
from headstart.tune.training.trackers import Tracker

PRETRAIN_RECIPE = Recipe(
    epochs=30, learning_rate=3e-3, batch_size=128, weight_decay=0.05, label_smoothing=0.1, ema_decay=0.995
)
"""For a small convolutional network on 10,000 to 1,000,000 photos; warm-up and cosine are the loop's own."""
MIN_STEPS, MIN_BATCH = 64, 16
"""An epoch of recordings has so many steps at least, where batches of `MIN_BATCH` allow: often they are few."""
MELS = 64  # bands of recordings, where the architecture takes as many
MIN_PROGRESSIVE_SIZE = 64  # pixels; smaller pictures do not start smaller still
SIZES = (8, 16, 24, 32, 48, 64, 96, 128, 160, 192, 224, 256, 320, 384, 448, 512)


@dataclass(frozen=True)
class UntrainedNetwork:
    """A network with random weights, ready to learn."""

    arch: str  # URI of the architecture
    body: nn.Module  # the module, with a classifier of as many classes as the data
    preprocessing: Preprocessing
    taps: tuple[Tap, ...]  # where its blocks are taken, `pool` first
    extra_taps: tuple[Tap, ...]  # taps that are taken only where a layer names them
    progressive: bool  # whether it accepts the smaller pictures of the first epochs


@dataclass(frozen=True)
class PretrainSplits:
    """The positions of the examples that a network is trained on, that choose its best epoch, and that test it."""

    dataset: Dataset
    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]
    related: tuple[int, ...] = ()  # of `test`, those that have a copy or near copy in what is learned from


def recipe_for(splits: PretrainSplits) -> Recipe:
    """Return the default recipe for some data."""
    if splits.dataset.kind != "sound":
        return PRETRAIN_RECIPE
    batch_size = min(PRETRAIN_RECIPE.batch_size, max(MIN_BATCH, len(splits.train) // MIN_STEPS))
    return replace(PRETRAIN_RECIPE, batch_size=batch_size)


def untrained_network(
    source: TorchSource, *, classes: int, size: int, seed: int, recording: tuple[float, int] | None = None
) -> UntrainedNetwork:
    """Return a network with random weights for so many classes.

    Args:
        size: side of the input in pixels, for recordings mel bands; 0 for the architecture's own.
        seed: of the weights of its classifier.
        recording: for recordings, how many seconds of each it reads, and at what sampling rate in Hz.

    Raises:
        UsageError: the pictures are too small for the architecture, or it takes one size only.
        SourceError: its classifier cannot be replaced.
    """
    preprocessing = input_preprocessing(source, size, recording)
    body = with_classes(copy.deepcopy(source.module()), classes, seed=seed)
    side = preprocessing.size[0]
    progressive = (
        recording is None
        and side >= MIN_PROGRESSIVE_SIZE
        and all(accepts_size(source, scaled_side(side, share)) for share in SHARES)
    )
    extra = _with_widths(body, preprocessing, source.more)
    return UntrainedNetwork(source.info.uri, body, preprocessing, source.taps, extra, progressive)


def input_preprocessing(source: TorchSource, size: int, recording: tuple[float, int] | None) -> Preprocessing:
    """Return how an architecture reads pictures or recordings; arguments and UsageError as of `untrained_network`."""
    preprocessing = source.preprocessing
    if recording is not None:
        return _sized_for_recordings(source, size, *recording)
    if not size or (size, size) == preprocessing.size:
        return preprocessing
    _check_size(source, size)
    return replace(preprocessing, size=(size, size), resize=None if preprocessing.resize is None else size)


def train_from_scratch(
    network: UntrainedNetwork,
    splits: PretrainSplits,
    recipe: Recipe,
    *,
    augment: bool = True,
    horizontal_flip: bool = True,
    budget: float | None = None,
    folder: Path | None = None,
    identity: Mapping[str, Any] | None = None,
    trackers: Sequence[Tracker] = (),
    progress: Progress | None = None,
) -> TrainResult:
    """Train a network from random weights and leave its best weights in `network.body`, in inference mode.

    Pictures vary from epoch to epoch where `augment`; a horizontally flipped one keeps its label where
    `horizontal_flip`. All else is as for `training.loop.train`.

    Raises:
        DataError: a picture cannot be read any more; and what `train` raises.
    """
    preprocessing = network.preprocessing
    options = {"augment": augment, "horizontal_flip": horizontal_flip}
    own_identity = {**options, "size": list(preprocessing.size), "threads": torch.get_num_threads()}
    if isinstance(preprocessing, AudioPreprocessing):
        own_identity["spectrogram"] = asdict(preprocessing.spectrogram)
    with (
        _stream(
            network, splits, splits.train, progressive=network.progressive, seed=recipe.seed, **options
        ) as examples,
        _stream(network, splits, splits.validation) as validation,
    ):
        return train(
            pretrain_task(network, examples, validation),
            recipe,
            name="Pretraining",
            budget=budget,
            folder=folder,
            identity={**(identity or {}), "arch": network.arch, **own_identity},
            trackers=trackers,
            progress=progress,
        )


def probabilities_of(
    network: UntrainedNetwork, splits: PretrainSplits, positions: Sequence[int]
) -> NDArray[np.float32]:
    """Return the class probabilities of the examples at `positions`, float32 of shape (n, c), in their order.

    Raises:
        DataError: one cannot be read any more.
    """
    with _stream(network, splits, positions) as examples:
        return torch.from_numpy(validation_scores(pretrain_task(network, examples, examples))).softmax(1).numpy()


def _stream(network: UntrainedNetwork, splits: PretrainSplits, positions: Sequence[int], **options: Any) -> Stream:
    return Stream(splits.dataset, positions, splits.dataset.class_ids(positions), network.preprocessing, **options)


def pretrain_task(network: UntrainedNetwork, train: Stream, validation: Stream) -> Task:
    """Return the task in which every weight of a network learns."""
    device = default_device()
    body = network.body.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    model = Normalised(body, network.preprocessing).to(device)
    for tensor in body.parameters():
        tensor.requires_grad_()

    def set_training(*, training: bool) -> None:
        model.train(training)

    return Task(
        weights=[Weight(f"body.{name}", tensor, 1.0) for name, tensor in body.named_parameters()],
        scores=model,
        set_training=set_training,
        train=train,
        validation=validation,
        c=len(train.dataset.classes),
        statistics=statistics_of(body, [name for name, _ in body.named_modules()]),
        device=device,
        plan=train.plan,
    )


def _sized_for_recordings(source: TorchSource, size: int, seconds: float, rate: int) -> AudioPreprocessing:
    """Return how an architecture reads recordings: as wide as their length needs, or square where it must be."""
    own = source.preprocessing.size[0]
    mels = size or (MELS if accepts_size(source, MELS) else own)
    frames = math.ceil(seconds / HOP / SIZE_STEP) * SIZE_STEP
    if accepts_size(source, mels, frames):
        return audio_preprocessing(source.preprocessing, size=(mels, frames), seconds=frames * HOP, rate=rate)
    if mels != own:
        _check_size(source, mels)
    return audio_preprocessing(source.preprocessing, size=(mels, mels), seconds=seconds, rate=rate)


def _check_size(source: TorchSource, size: int) -> None:
    """Raise UsageError, with the least size that works, where a network cannot be run on pictures of `size` pixels."""
    if accepts_size(source, size):
        return
    own = source.preprocessing.size[0]
    least = next((side for side in SIZES if side > size and accepts_size(source, side)), own)
    raise UsageError(
        f"--size must be one that {source.info.uri} can take",
        f"{size} px",
        f"give {least} px or more" if least != own else f"give {own} px, its own, or name another architecture",
    )


def _with_widths(body: nn.Module, preprocessing: Preprocessing, taps: Sequence[Tap]) -> tuple[Tap, ...]:
    """Return the taps with the widths that they have at this size: `flatten` keeps every position."""
    blank = torch.zeros(1, *preprocessing.shape, dtype=torch.uint8)
    with torch.inference_mode():
        blocks = Tapped(body, preprocessing, taps).eval()(blank)
    return tuple(replace(tap, width=block.shape[1]) for tap, block in zip(taps, blocks, strict=True))
