"""Networks from random weights: the input that they get, what learns, and that what is planted is learned."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from headstart.base.errors import DataError, UsageError
from headstart.data.audio.spectrogram import HOP, AudioPreprocessing
from headstart.data.dataset import BadExample, Dataset
from headstart.data.readers.open import open_dataset
from headstart.sources.networks.source import TorchSource
from headstart.sources.registry import open_source
from headstart.testing import CLASSES, WIDTHS, ToySource, toy_stripes
from headstart.tune.from_scratch import (
    MIN_BATCH,
    PRETRAIN_RECIPE,
    PretrainSplits,
    UntrainedNetwork,
    pretrain_task,
    probabilities_of,
    recipe_for,
    train_from_scratch,
    untrained_network,
)
from headstart.tune.inputs.stream import Stream
from headstart.tune.training.task import Recipe

QUICK = Recipe(epochs=8, learning_rate=0.02, batch_size=8, patience=8, weight_decay=0.0, seed=1)


def network(source: TorchSource | None = None, **how: Any) -> UntrainedNetwork:
    return untrained_network(source or ToySource(), **{"classes": 2, "size": 0, "seed": 0, **how})


def lenet5() -> TorchSource:
    source = open_source("arch:lenet5", weights="none")
    assert isinstance(source, TorchSource)
    return source


@pytest.fixture(scope="module")
def stripes() -> PretrainSplits:
    """Return stripes in two directions: 32 to learn from, 12 to choose by and 12 to test on."""
    dataset = open_dataset(toy_stripes(2, 28, noise=0.05))
    order = tuple(np.random.default_rng(0).permutation(len(dataset)).tolist())
    return PretrainSplits(dataset, order[:32], order[32:44], order[44:])


def accuracy(net: UntrainedNetwork, splits: PretrainSplits) -> float:
    y = splits.dataset.class_ids(splits.test)
    return float((probabilities_of(net, splits, splits.test).argmax(1) == y).mean())


def sounds(count: int) -> PretrainSplits:
    dataset = Dataset("clips", "sound", (), (), lambda at: b"")
    return PretrainSplits(dataset, tuple(range(count)), (), ())


@pytest.mark.parametrize(("count", "batch"), [(10, 16), (1_023, 16), (2_048, 32), (8_191, 127), (10**6, 128)])
def test_few_recordings_come_in_small_batches(count: int, batch: int) -> None:
    recipe = recipe_for(sounds(count))
    assert (recipe.batch_size, MIN_BATCH) == (batch, 16)
    assert replace(recipe, batch_size=PRETRAIN_RECIPE.batch_size) == PRETRAIN_RECIPE


def test_photos_have_the_plain_recipe(stripes: PretrainSplits) -> None:
    assert recipe_for(stripes) is PRETRAIN_RECIPE


def test_the_architecture_keeps_its_own_size_or_gets_the_one_asked_for() -> None:
    source = ToySource()
    own, asked = network(source), network(source, size=96)
    assert own.preprocessing == source.preprocessing and own.arch == source.info.uri
    assert (asked.preprocessing.size, asked.preprocessing.resize) == ((96, 96), 96)
    assert asked.taps == source.taps
    squashed = ToySource()
    squashed.preprocessing = replace(squashed.preprocessing, resize=None)
    assert network(squashed, size=48).preprocessing.resize is None, "it is squashed at any size"
    for built, side in ((own, 32), (asked, 96)):
        widths = {tap.name: tap.width for tap in built.extra_taps}
        assert widths["flatten"] == WIDTHS[-1] * (side // 8) ** 2, "flatten keeps every position"
        assert widths["stage0.max"] == WIDTHS[0]


@pytest.mark.parametrize(("size", "grows"), [(32, False), (56, False), (64, True), (128, True)])
def test_only_large_pictures_start_smaller(size: int, grows: bool) -> None:
    assert network(size=size).progressive is grows


def test_its_classifier_is_new_and_the_source_stays_as_it_was() -> None:
    source = ToySource()
    before = {name: tensor.clone() for name, tensor in source.module().state_dict().items()}
    one, again, other = (network(source, classes=7, seed=seed).body.state_dict() for seed in (0, 0, 1))
    assert one["classifier.weight"].shape == (7, WIDTHS[-1])
    assert torch.equal(one["classifier.weight"], again["classifier.weight"])
    assert not torch.equal(one["classifier.weight"], other["classifier.weight"])
    assert torch.equal(one["stages.0.0.weight"], before["stages.0.0.weight"])
    one["stages.0.0.weight"].zero_()
    assert source.module().classifier.out_features == CLASSES
    for name, tensor in source.module().state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_a_size_that_cannot_be_is_refused_with_one_that_can() -> None:
    with pytest.raises(UsageError, match=r"arch:lenet5 can take; found 20 px; give 32 px, its own, or name another"):
        network(lenet5(), size=20)
    with pytest.raises(UsageError, match="found 64 px; give 32 px"):
        network(lenet5(), size=64)
    small = ToySource()
    small.taps = tuple(tap for tap in small.more if tap.name == "flatten")  # as wide at its own size alone
    with pytest.raises(UsageError, match=r"toy:convnet@0 can take; found 48 px; give 32 px, its own, or name another"):
        network(small, size=48)
    with pytest.raises(UsageError, match=r"found 24 px; give 32 px, its own"):
        network(small, size=24)


@pytest.mark.parametrize("seconds", [0.2, 1.0, 1.01])
def test_recordings_are_as_wide_as_they_are_long(seconds: float) -> None:
    built = network(recording=(seconds, 16_000))
    assert isinstance(built.preprocessing, AudioPreprocessing)
    mels, frames = built.preprocessing.size
    assert (mels, frames % 8) == (64, 0)
    assert seconds <= frames * HOP + 1e-9 < seconds + 8 * HOP
    assert built.preprocessing.spectrogram.rate == 16_000
    assert not built.progressive, "spectrograms never start smaller"
    assert network(recording=(seconds, 16_000), size=40).preprocessing.size == (40, frames)


def test_an_architecture_of_one_size_hears_squares() -> None:
    built = network(lenet5(), recording=(1.0, 8_000))
    assert isinstance(built.preprocessing, AudioPreprocessing)
    assert built.preprocessing.size == (32, 32) and built.preprocessing.channels == "grey"
    spectrogram = built.preprocessing.spectrogram
    assert spectrogram.hop * spectrogram.frames == pytest.approx(8_000, rel=0.02), "the whole second"
    with pytest.raises(UsageError, match="found 40 px"):
        network(lenet5(), size=40, recording=(1.0, 8_000))


def test_every_weight_learns_and_statistics_are_kept(stripes: PretrainSplits) -> None:
    built = network()
    built.body.norm = torch.nn.BatchNorm2d(3)
    for tensor in built.body.parameters():
        tensor.requires_grad_(requires_grad=False)
    ids = stripes.dataset.class_ids(stripes.train)
    with Stream(stripes.dataset, stripes.train, ids, built.preprocessing) as examples:
        task = pretrain_task(built, examples, examples)
        assert {weight.name for weight in task.weights} == {f"body.{name}" for name, _ in built.body.named_parameters()}
        assert all(weight.tensor.requires_grad and weight.lr_scale == 1 for weight in task.weights)
        assert task.c == 2 and task.statistics.keys() == {"body.norm.running_mean", "body.norm.running_var"}
        task.set_training(training=True)
        assert built.body.training
        task.set_training(training=False)
        assert not built.body.norm.training


@pytest.mark.usefixtures("float32")
def test_what_is_planted_is_learned(stripes: PretrainSplits) -> None:
    built = network()
    result = train_from_scratch(built, stripes, QUICK, augment=False)
    assert accuracy(network(), stripes) < 0.8 < accuracy(built, stripes)
    assert result.planned == 8 and result.best > 0 and not built.body.training
    x = probabilities_of(built, stripes, stripes.test)
    assert x.dtype == np.float32 and x.shape == (12, 2)
    np.testing.assert_allclose(x.sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(probabilities_of(built, stripes, stripes.test[::-1]), x[::-1], rtol=1e-4, atol=1e-6)


def test_the_same_seed_gives_the_same_bits(stripes: PretrainSplits) -> None:
    nets = [network() for _ in range(3)]
    for net, seed in zip(nets, (1, 1, 2), strict=True):
        train_from_scratch(net, stripes, replace(QUICK, epochs=1, seed=seed, keep_last=True), augment=True)
    one, again, other = (net.body.state_dict() for net in nets)
    assert all(torch.equal(tensor, again[name]) for name, tensor in one.items())
    assert any(not torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_a_run_is_resumed_by_what_it_was_and_by_nothing_else(stripes: PretrainSplits, tmp_path: Path) -> None:
    short = replace(QUICK, epochs=1)
    train_from_scratch(network(), stripes, short, augment=False, folder=tmp_path, identity={"data": "x"})
    for change, said in (
        ({"augment": True}, "augment: False then, True now"),
        ({"augment": False, "horizontal_flip": False}, "horizontal_flip: True then, False now"),
        ({"augment": False, "identity": {"data": "y"}}, "data"),
    ):
        with pytest.raises(UsageError, match=said):
            train_from_scratch(network(), stripes, short, **{"folder": tmp_path, "identity": {"data": "x"}, **change})
    with pytest.raises(UsageError, match="size"):
        train_from_scratch(network(size=48), stripes, short, augment=False, folder=tmp_path, identity={"data": "x"})


def test_a_picture_that_is_gone_is_named(stripes: PretrainSplits) -> None:
    gone = stripes.train[5]

    def read(position: int) -> bytes:
        if position == gone:
            raise BadExample("no such file")
        return stripes.dataset.read(position)

    lost = replace(stripes, dataset=replace(stripes.dataset, read=read))
    name = stripes.dataset.examples[gone].id
    with pytest.raises(DataError, match=rf"{name} must be readable again; found no such file"):
        train_from_scratch(network(), lost, replace(QUICK, epochs=1))
