"""What never learns is computed once: passes behind it give the same scores and gradients, and leave no trace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from headstart.data.images.preprocessing import Preprocessing
from headstart.heads.linear import LinearHead
from headstart.sources.layers import Tap
from headstart.sources.networks.tapped import spans, watching
from headstart.tune.network.classifier import Classifier
from headstart.tune.network.frozen_prefix import FrozenPrefix
from headstart.tune.network.readers import PictureReader

SIDE, CLASSES = 8, 3
HOW = Preprocessing(size=(SIDE, SIDE), resize=SIDE, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
POOL = Tap("pool", 6, "pool")
EARLY, LATE = Tap("stage0.avg", 4, "avg", "first"), Tap("stage1.max", 5, "max", "second")
ALL_TAPS = ((POOL,), (EARLY, POOL, LATE))


class Body(nn.Module):
    """Three convolutions; `table` gives the same for any number of pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.table = nn.Embedding(4, 1)
        self.second = nn.Conv2d(4, 5, 3, stride=2)
        self.third = nn.Conv2d(5, 6, 3)

    def forward_features(self, pictures: Tensor) -> Tensor:
        maps = self.first(pictures) + self.table(torch.arange(4))[:, :, None]
        return self.third(self.second(maps))

    def forward_head(self, final: Tensor, *, pre_logits: bool = False) -> Tensor:
        return final.mean((2, 3))


class Pair(Body):
    """Its boundary returns its map and something else, as recurrent cells and attention do."""

    class Both(nn.Conv2d):
        def forward(self, maps: Tensor) -> Any:
            return super().forward(maps), "seen"

    def __init__(self) -> None:
        super().__init__()
        self.second = self.Both(4, 5, 3, stride=2)

    def forward_features(self, pictures: Tensor) -> Tensor:
        maps, word = self.second(self.first(pictures))
        assert word == "seen"
        return self.third(maps)


class Looking(Body):
    """Its last part looks at the pictures too, past every module."""

    def forward_features(self, pictures: Tensor) -> Tensor:
        return self.third(self.second(self.first(pictures))) + pictures.mean((1, 2, 3))[:, None, None, None]


class Shortcut(Body):
    """What was frozen comes back behind the boundary."""

    def forward_features(self, pictures: Tensor) -> Tensor:
        early = self.first(pictures)
        return self.third(self.second(early)) + early.mean((1, 2, 3), keepdim=True)


class Averaging(Body):
    """Refuses an empty batch, as some networks do."""

    def forward_features(self, pictures: Tensor) -> Tensor:
        if not len(pictures):
            raise ValueError("no pictures")
        return super().forward_features(pictures)


def pictures(count: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8))


def classifier(kind: type[Body] = Body, taps: tuple[Tap, ...] = (POOL,)) -> Classifier:
    torch.manual_seed(0)
    rng, width = np.random.default_rng(0), sum(tap.width for tap in taps)
    head = LinearHead("ridge", 1.0, rng.normal(size=(width, CLASSES)).astype(np.float32), np.ones(CLASSES, np.float32))
    x = rng.normal(size=(20, width)).astype(np.float32)
    return Classifier(PictureReader(kind().eval(), HOW, taps), head, x).eval()


def prefix(network: Classifier, boundary: str = "second") -> FrozenPrefix:
    blank = (pictures(2, seed=9),)
    return FrozenPrefix(network, boundary, spans(network.body, lambda: network.features(*blank)), blank)


@contextmanager
def counted(network: Classifier) -> Iterator[dict[str, int]]:
    """Count how often each convolution runs."""
    done: dict[str, int] = {}
    parts = {name: part for name, part in network.body.named_modules() if isinstance(part, nn.Conv2d)}
    with watching(parts, lambda name, output: done.__setitem__(name, done.get(name, 0) + 1)):
        yield done


@pytest.mark.parametrize(
    ("kind", "boundary", "taps"),
    [
        *((kind, at, taps) for kind in (Body, Averaging) for at in ("first", "second") for taps in ALL_TAPS),
        (Pair, "second", ALL_TAPS[0]),
    ],
)
def test_passes_behind_the_boundary_give_the_scores_of_the_whole(
    kind: type[Body], boundary: str, taps: tuple[Tap, ...]
) -> None:
    network = classifier(kind, taps)
    short = prefix(network, boundary)
    assert short.agrees((pictures(3),))
    for count in (1, 5):
        inputs = (pictures(count, seed=count),)
        with torch.inference_mode():
            activations = short.compute(inputs)
            assert [tuple(part.shape[1:]) for part in activations] == list(short.shapes)
            scores = network.scored(short.features(activations))
            np.testing.assert_allclose(scores.numpy(), network(*inputs).numpy(), rtol=1e-4, atol=1e-5)


def test_the_rows_of_cached_activations_can_be_mixed() -> None:
    network = classifier(taps=(EARLY, POOL))
    short, inputs = prefix(network), pictures(6)
    with torch.inference_mode():
        activations = short.compute((inputs,))
        rows = torch.tensor([4, 1, 4])
        scores = network.scored(short.features([part[rows] for part in activations]))
        np.testing.assert_allclose(scores.numpy(), network(inputs[rows]).numpy(), rtol=1e-4, atol=1e-5)


def test_gradients_behind_the_boundary_are_those_of_the_whole() -> None:
    network, inputs = classifier(), (pictures(4),)
    short = prefix(network)
    assert short.agrees(inputs)
    slopes = []
    for run in (lambda: network(*inputs), lambda: network.scored(short.features(short.compute(inputs)))):
        network.zero_grad()
        run().square().sum().backward()
        slopes.append([weight.grad.clone() for weight in (*network.body.third.parameters(), network.linear.weight)])
    for whole, part in zip(*slopes, strict=True):
        np.testing.assert_allclose(part.numpy(), whole.numpy(), rtol=1e-4, atol=1e-5)


def test_what_is_frozen_does_not_run_again_and_everything_is_as_it_was() -> None:
    network = classifier(taps=(EARLY, POOL))
    short = prefix(network)
    assert [tap.name for tap in short.frozen] == ["stage0.avg"]
    activations = short.compute((pictures(4),))
    with counted(network) as done:
        short.compute((pictures(4),))
    assert done == {"first.0": 1, "second": 1}, "nothing behind the boundary runs"
    own = network.body.third.forward
    network.body.second.forward = lambda maps: nn.Conv2d.forward(network.body.second, maps)
    patched = network.body.second.forward
    with counted(network) as done, pytest.raises(RuntimeError, match="size"):
        short.features([torch.zeros(4, 7, 1, 1), *activations[1:]])  # fails behind the boundary
    assert "first.0" not in done
    assert network.body.second.forward is patched, "a forward of its own comes back, after an error too"
    assert "forward" not in network.body.first.__dict__ and network.body.third.forward == own


@pytest.mark.parametrize("kind", [Looking, Shortcut])
def test_a_forward_that_needs_more_than_the_boundary_is_noticed(kind: type[Body]) -> None:
    for boundary in ("second", "third"):
        assert not prefix(classifier(kind), boundary).agrees((pictures(3),))


def test_an_empty_batch_is_tried_first_and_blank_pictures_where_that_fails() -> None:
    seen: list[int] = []

    class Counting(Averaging):
        def forward_features(self, pictures: Tensor) -> Tensor:
            seen.append(len(pictures))
            return super().forward_features(pictures)

    network = classifier(Counting)
    short = prefix(network)
    assert short.agrees((pictures(3),))
    seen.clear()
    short.features(short.compute((pictures(5),)))
    assert seen == [5, 5]
    plain = prefix(classifier(Body))
    assert plain.agrees((pictures(3),))
