"""ResNet-9: what its docstring promises of layers, sizes, cost and the start of its residual blocks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from headstart.sources.networks.resnet9 import Residual, ResNet9, convolution
from headstart.sources.networks.tapped import watching


@pytest.fixture(scope="module")
def network() -> ResNet9:
    torch.manual_seed(0)
    return ResNet9(7).eval()


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("side", "last"), [(64, 4), (48, 3), (32, 2), (33, 3), (9, 1), (1, 1)])
def test_a_picture_shrinks_by_sixteen_and_every_size_is_taken(network: ResNet9, side: int, last: int) -> None:
    with torch.inference_mode():
        assert network.forward_features(noise(1, 3, side, side)).shape == (1, 256, last, last)
        assert network(noise(1, 3, side, side)).shape == (1, 7)


def test_the_two_steps_are_the_whole_and_the_pooled_features_what_the_classifier_reads(network: ResNet9) -> None:
    pictures = noise(2, 3, 32, 48)
    with torch.inference_mode():
        final = network.forward_features(pictures)
        pooled = network.forward_head(final, pre_logits=True)
        np.testing.assert_allclose(pooled, final.flatten(2).mean(2), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(network(pictures), network.classifier(pooled), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(network(pictures[1:]), network(pictures)[1:], rtol=1e-3, atol=1e-5)


def test_nine_layers_on_the_longest_way_and_54_million_multiplications(network: ResNet9) -> None:
    done: dict[str, int] = {}
    parts = {name: part for name, part in network.named_modules() if isinstance(part, nn.Conv2d | nn.Linear)}

    def count(name: str, output: Tensor) -> None:
        weight = parts[name].weight
        assert isinstance(weight, Tensor)
        done[name] = weight.numel() * output[0].numel() // weight.shape[0]

    with torch.inference_mode(), watching(parts, count):
        network(noise(1, 3, 64, 64))
    assert len([name for name in done if "shortcut" not in name]) == 9
    assert sum(done.values()) == pytest.approx(54e6, rel=0.01)


@pytest.mark.parametrize(("widths", "stride"), [((4, 4), 1), ((4, 6), 1), ((4, 6), 2), ((4, 4), 2)])
def test_a_residual_block_begins_as_its_shortcut(widths: tuple[int, int], stride: int) -> None:
    block = Residual(*widths, stride).eval()
    maps = noise(2, widths[0], 5, 5)
    with torch.inference_mode():
        start = block(maps)
        np.testing.assert_allclose(start, block.shortcut(maps).relu(), rtol=1e-5, atol=1e-6)
        if widths[0] == widths[1] and stride == 1:
            np.testing.assert_allclose(start, maps.relu(), rtol=1e-5, atol=1e-6)
        block.second[1].weight.fill_(1.0)
        assert not torch.allclose(block(maps), start), "what it learns is added"


def test_the_halved_shortcut_drops_no_position() -> None:
    block = Residual(1, 1, 2).eval()
    for row in range(5):
        for column in range(5):
            maps = torch.zeros(1, 1, 5, 5)
            maps[0, 0, row, column] = 1
            with torch.inference_mode():
                assert block(maps).count_nonzero() == 1, f"position {row}, {column} is seen"


def test_the_scale_that_starts_at_zero_learns() -> None:
    block = Residual(3, 3, 1).train()
    block(noise(4, 3, 6, 6)).sum().backward()
    scale = block.second[1].weight
    assert isinstance(scale, Tensor) and scale.grad is not None
    assert (scale == 0).all() and scale.grad.abs().max() > 0


def test_a_convolution_is_normalised_and_has_no_bias_of_its_own() -> None:
    part = convolution(3, 5, 2).train()
    with torch.inference_mode():
        output = part(10 + 4 * noise(8, 3, 9, 9))
    assert output.shape == (8, 5, 5, 5) and output.min() == 0
    assert part[0].bias is None
    assert 0.4 < float(output.square().mean()) < 0.6, "half of a normalised map is above zero"
