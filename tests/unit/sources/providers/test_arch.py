"""Our own architectures."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from headstart.base.errors import SourceError
from headstart.engines.torch import TorchEngine
from headstart.sources.networks.stages import look_for_taps
from headstart.sources.providers import arch as from_arch
from headstart.sources.registry import open_source


def test_lenet5_has_61706_parameters_and_looks_as_it_is_described() -> None:
    source = open_source("arch:lenet5", weights="none")
    body = source.module()
    assert sum(weight.numel() for weight in body.parameters()) == 61_706
    unused = sum(weight.numel() for weight in body.classifier.parameters())
    assert source.info.parameters == 61_706 - unused
    found = look_for_taps(body, torch.zeros(1, 1, 32, 32), [f"stages.{at}" for at in range(2)])
    assert (source.taps, source.more) == found
    assert source.info.feature_size == 84
    for classes in (2, 26):
        assert from_arch.lenet5(classes)(torch.zeros(3, 1, 32, 32)).shape == (3, classes)


def test_lenet5_sees_grey_pictures() -> None:
    source = open_source("arch:lenet5", weights="none")
    rng = np.random.default_rng(0)
    colour = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    grey = rng.integers(0, 256, (32, 32, 1), dtype=np.uint8)
    prepared = source.prepare_all([colour, grey, grey[:, :, 0]])
    assert prepared.shape == (3, 32, 32, 1)
    np.testing.assert_array_equal(prepared[1], grey)
    np.testing.assert_array_equal(prepared[2], grey)
    assert source.encode([colour]).shape == (1, 84)
    assert source.at("flatten").encode([colour]).shape == (1, 400)
    assert source.classify([colour]).shape == (1, 10)


def test_a_small_grey_picture_is_padded_to_the_size() -> None:
    how = from_arch.LENET5.preprocessing
    from headstart.data.images.preprocessing import Preprocessing, decode, to_bytes

    small = Preprocessing(size=how.size, resize=28, channels="grey", mean=how.mean, std=how.std, background=0)
    digit = np.full((28, 28), 200, dtype=np.uint8)
    prepared = decode(to_bytes(digit), small)
    assert prepared.shape == (32, 32, 1)
    assert (prepared[2:30, 2:30] == 200).all()
    assert prepared.sum() == 200 * 28 * 28


def test_seeds_give_weights_and_leave_torch_s_own_state_alone() -> None:
    before = torch.random.get_rng_state()
    one, same, other = (open_source("arch:lenet5", weights="none", seed=seed) for seed in (1, 1, 2))
    pictures = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 1), dtype=np.uint8)
    x = [TorchEngine(source.network().module()).run(pictures) for source in (one, same, other)]
    np.testing.assert_array_equal(x[0], x[1])
    assert not np.allclose(x[0], x[2])
    assert one.network().fingerprint == same.network().fingerprint != other.network().fingerprint
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("arch:lenet5", "headstart pretrain DATA --arch arch:lenet5.*file:FOLDER"),
        ("arch:lenet", "did you mean 'lenet5'"),
        ("arch:lenet5@main", "leave out @revision"),
    ],
)
def test_what_cannot_be_had_is_said(uri: str, says: str) -> None:
    with pytest.raises(SourceError, match=says):
        open_source(uri)
