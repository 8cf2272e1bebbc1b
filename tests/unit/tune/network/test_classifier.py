"""The classifier is the source and its head, as one module that learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tuning_problem import tuning_problem

from headstart.engines.base import Block
from headstart.heads.select import refit
from headstart.sources.layers import select
from headstart.sources.registry import open_source
from headstart.testing import ToySource
from headstart.tune.network.classifier import Classifier, joined_blocks
from headstart.tune.network.fused_batchnorm import find_pairs, fused
from headstart.tune.network.readers import PictureReader


def classifier(folder: Path, uri: str, layer: str) -> tuple[Classifier, torch.Tensor, np.ndarray]:
    source = open_source(uri, weights="none", seed=0) if uri != "toy" else ToySource()
    place = tuning_problem(folder, source, per_class=8, layer=layer)
    pictures = torch.from_numpy(np.stack([source.prepare(place.dataset.read(at)) for at in place.validation_positions]))
    body = source.module()
    reader = PictureReader(body, source.preprocessing, place.taps)
    return Classifier(reader, place.head, place.features(place.train_positions)).eval(), pictures, place


@pytest.mark.parametrize("layer", ["pool", "joined", "stage1.avg"])
def test_it_starts_as_the_head_on_the_source_s_features(tmp_path: Path, layer: str) -> None:
    network, pictures, place = classifier(tmp_path, "toy", layer)
    with torch.inference_mode():
        scores = network(pictures).numpy()
    expected = place.validation_scores(place.head) / place.head.temperature
    np.testing.assert_allclose(scores, expected, rtol=1e-3, atol=1e-3 * expected.std())
    again = place.validation_scores(network.head())
    np.testing.assert_allclose(again, expected, rtol=1e-3, atol=1e-3 * expected.std())


def test_joined_blocks_are_those_of_select(tmp_path: Path) -> None:
    network, pictures, _ = classifier(tmp_path, "toy", "joined")
    with torch.inference_mode():
        blocks = network.features(pictures)
    raw = torch.cat(blocks, 1).numpy()
    expected, _ = select(raw, [tap.block for tap in network.reader.taps], "joined")
    np.testing.assert_allclose(joined_blocks(blocks).numpy(), expected, atol=1e-6)


def test_gradients_of_joined_blocks_are_finite_at_zero() -> None:
    block = torch.tensor([[0.0, 0.0, 4.0], [0.0, 0.0, 0.0]], requires_grad=True)
    joined_blocks([block, block]).sum().backward()
    assert block.grad is not None
    assert torch.isfinite(block.grad).all()


@pytest.mark.parametrize(
    "uri", ["timm:test_resnet", pytest.param("packaged:efficientnet-lite0", marks=pytest.mark.slow)]
)
def test_fused_batchnorm_changes_neither_scores_nor_gradients(tmp_path: Path, uri: str) -> None:
    network, pictures, _ = classifier(tmp_path, uri, "pool")
    network, pictures = network.double(), pictures[:3].double()  # rounding must not decide on which side of a kink
    chance = torch.Generator().manual_seed(0)
    for module in network.body.modules():
        if getattr(module, "running_var", None) is not None:
            module.running_var.uniform_(0.5, 2.0, generator=chance)
            module.running_mean.uniform_(-0.5, 0.5, generator=chance)
    pairs = find_pairs(network.body, lambda: network(pictures[:2]))
    assert len(pairs) == sum(getattr(module, "running_var", None) is not None for module in network.body.modules())

    def slopes() -> list[torch.Tensor]:
        network.zero_grad()
        loss = network(pictures).square().mean()
        loss.backward()
        return [loss.detach(), *(weight.grad.clone() for weight in network.parameters() if weight.grad is not None)]

    plain = slopes()
    with fused(network.body, pairs):
        folded = slopes()
    assert all("forward" not in module.__dict__ for module in network.body.modules()), "everything is as it was"
    for one, other in zip(plain, folded, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-8, atol=1e-8 * float(one.abs().max()))


def test_a_feature_of_rounding_drowns_no_other(tmp_path: Path) -> None:
    network, _, place = classifier(tmp_path, "toy", "pool")
    x = place.features(place.train_positions)
    x = np.column_stack([x, 1e-9 * np.random.default_rng(0).standard_normal(len(x)).astype(np.float32)])
    uncropped = refit(x, place.y_train, place.c, like=place.head)
    assert (uncropped.weight[-1] == 0).all(), "the head does not listen to it"
    usual = float(network.spread.square().mean().sqrt())
    assert float(Classifier(network.reader, uncropped, x).spread.min()) > 1e-2 * usual, (
        "nor does its slope count for more"
    )


def test_what_is_rounding_beside_its_block_is_zero_in_joined_layers() -> None:
    rows = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
    rows[:, 2] *= 1e-9
    both, _ = select(np.concatenate([rows, rows], 1), (Block("pool", 6), Block("other", 6)), "joined")
    assert (both[:, [2, 8]] == 0).all() and (both[:, [0, 1, 3]] != 0).all()
    found = joined_blocks([torch.from_numpy(rows)] * 2).numpy()
    np.testing.assert_allclose(found, both, atol=1e-6)
