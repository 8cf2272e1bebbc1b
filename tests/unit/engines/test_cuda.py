"""The torch engine on a CUDA device: what it computes agrees with the CPU, and nothing slower is opened."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from headstart.base.progress import Progress
from headstart.data.text import Tokens
from headstart.engines.base import Block, Network
from headstart.engines.conversion_process import NetworkOrigin, engine_opener
from headstart.engines.select import cached_engine_name, cuda_device, cuda_engines, open_engine, parity

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")


class Pictures(torch.nn.Module):
    """A small convolutional network of uint8 pictures, with two blocks."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = torch.nn.Conv2d(3, 32, 3, padding=1)
        self.second = torch.nn.Conv2d(32, 64, 3, stride=2, padding=1)

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = torch.relu(self.first(pictures.permute(0, 3, 1, 2).float() / 255))
        return x.mean(dim=(2, 3)), torch.relu(self.second(x)).mean(dim=(2, 3))


class Texts(torch.nn.Module):
    """The mean of the vectors of a text's tokens, through one layer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.vectors, self.layer = torch.nn.Embedding(100, 32), torch.nn.Linear(32, 16)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor]:
        weights = mask[..., None].float()
        return (self.layer((self.vectors(ids) * weights).sum(dim=1) / weights.sum(dim=1)),)


PICTURES = Network("pictures", (24, 24, 3), (Block("first", 32), Block("second", 64)), Pictures)
TEXTS = Network("texts", (), (Block("mean", 16),), Texts)


def pictures(number: int = 40) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, size=(number, 24, 24, 3), dtype=np.uint8)


def texts(number: int = 40) -> list[Tokens]:
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 40, size=number)
    return [Tokens((rng.integers(1, 100, size=n).astype(np.int32),), int(n), int(n)) for n in lengths]


def test_without_a_device_none_is_offered() -> None:
    assert (cuda_device() is not None) == torch.cuda.is_available()
    assert bool(cuda_engines(PICTURES, "auto")) == torch.cuda.is_available()
    assert cuda_engines(PICTURES, "openvino") == ()
    assert cuda_engines(dataclasses.replace(PICTURES, graph=lambda: pytest.fail("not to be read")), "auto") == ()


@needs_cuda
@pytest.mark.parametrize("engine", ["auto", "torch"])
@pytest.mark.parametrize(("network", "examples"), [(PICTURES, pictures()), (TEXTS, texts())])
def test_the_device_is_used_and_agrees_with_the_cpu(
    cache: Path, engine: str, network: Network, examples: object
) -> None:
    assert cached_engine_name(network, engine=engine, cache=cache) is None
    opened = open_engine(network, sample=lambda: examples, cache=cache, engine=engine)
    assert opened.name.startswith("torch-cuda-")
    assert cached_engine_name(network, engine=engine, cache=cache) == opened.name
    from headstart.engines.torch import TorchEngine, TorchTexts

    module = network.module()
    exact = TorchEngine(module) if network.input_shape else TorchTexts(module, 16)
    assert parity(opened.run(examples), exact.run(examples), network.blocks).passed
    assert all(weights.device.type == "cpu" for weights in module.parameters())


@needs_cuda
def test_a_photo_s_features_do_not_depend_on_its_batch(cache: Path) -> None:
    opened = open_engine(PICTURES, sample=pictures, cache=cache)
    photos = pictures(600)
    whole, order = opened.run(photos), np.random.default_rng(1).permutation(600)
    np.testing.assert_array_equal(opened.run(photos[order]), whole[order])
    np.testing.assert_array_equal(opened.run(photos[:1]), whole[:1])


@needs_cuda
def test_a_device_that_disagrees_is_not_used(cache: Path) -> None:
    class Wrong(Pictures):
        def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            first, second = super().forward(pictures)
            return first, -second if second.is_cuda else second

    wrong = dataclasses.replace(PICTURES, fingerprint="wrong", module=Wrong)
    said: list[str] = []
    opened = open_engine(wrong, sample=pictures, cache=cache, engine="torch", say=said.append)
    assert opened.name == "torch-f32" and "torch-cuda-bf16 is not used: cosine" in said[0]
    assert cached_engine_name(wrong, engine="torch", cache=cache) == "torch-f32"


@needs_cuda
def test_no_process_converts_what_the_device_runs(cache: Path) -> None:
    origin = NetworkOrigin("nowhere:nothing", {})
    with engine_opener(PICTURES, origin, engine="auto", cache=cache, progress=Progress()) as opener:
        assert opener(pictures).name.startswith("torch-cuda-")
