"""Low-rank adapters: beside what is used, silent at first, and in the end part of the weights."""

from __future__ import annotations

import copy
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from headstart.base.errors import MissingExtra, UsageError
from headstart.tune.network.lora import RANK, adapt, merge


class Body(nn.Module):
    """One of everything: what is adapted, what is not, and a name in a name."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3)
        self.depth = nn.Conv2d(6, 6, 3, groups=6)
        self.norm = nn.BatchNorm2d(6)
        self.block = nn.ModuleDict({"stem": nn.Linear(6, 6), "out": nn.Linear(6, 4, bias=False)})
        self.unused = nn.Linear(6, 2)
        self.odd = nn.MultiheadAttention(6, 1).out_proj  # derived from a linear layer

    def forward(self, pictures: Tensor) -> Tensor:
        pooled = self.norm(self.depth(self.stem(pictures))).mean((2, 3))
        scores: Tensor = self.block["out"](self.odd(self.block["stem"](pooled)).relu())
        return scores


def body() -> Any:
    torch.manual_seed(0)
    return Body().eval()


def used(network: nn.Module) -> list[str]:
    return [name for name, _ in network.named_parameters() if not name.startswith("unused")]


def pictures() -> Tensor:
    return torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def test_a_network_without_matrices_is_refused() -> None:
    for network in (nn.Sequential(nn.BatchNorm2d(3)), nn.Sequential(nn.Conv2d(4, 4, 3, groups=2))):
        with pytest.raises(UsageError, match="needs linear layers or convolutions; found none that learn; use --tune"):
            adapt(network, {name for name, _ in network.named_parameters()}, seed=0)
    with pytest.raises(UsageError, match="none that learn"):
        adapt(nn.Sequential(nn.Linear(2, 2)), (), seed=0)


def test_without_peft_the_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingExtra, match="--tune lora needs"):
        adapt(body(), used(body()), seed=0)


@pytest.mark.slow  # peft takes six seconds to import; `test_trial` and `test_tune_texts` train adapters each time
def test_adapters_stand_beside_used_matrices_add_nothing_at_first_and_are_merged() -> None:
    plain, network = body(), body()
    state = torch.random.get_rng_state()
    names = adapt(network, used(network), seed=3, rank=2)
    assert torch.equal(torch.random.get_rng_state(), state), "torch's own random numbers are untouched"
    assert names == ("stem", "block.stem", "block.out")
    learning = {name for name, tensor in network.named_parameters() if ".lora_" in name}
    assert {name.partition(".lora_")[0] for name in learning} == set(names)
    with torch.inference_mode():
        expected = plain(pictures()).numpy()
        np.testing.assert_array_equal(network(pictures()).numpy(), expected)
        for name, tensor in network.named_parameters():
            if name in learning:
                tensor.add_(0.1)
        changed = network(pictures()).numpy()
        assert np.abs(changed - expected).max() > 0.01
        merge(network, names)
        np.testing.assert_allclose(network(pictures()).numpy(), changed, rtol=1e-4, atol=1e-5)
    assert list(network.state_dict()) == list(plain.state_dict()), "nothing of them is left"
    differences = {
        name: torch.linalg.matrix_rank(tensor.flatten(1) - plain.state_dict()[name].flatten(1)).item()
        for name, tensor in network.state_dict().items()
        if not torch.equal(tensor, plain.state_dict()[name])
    }
    assert differences.keys() == {f"{name}.weight" for name in names}
    assert max(differences.values()) <= 2


@pytest.mark.slow
def test_adapters_follow_from_the_seed_and_have_the_rank() -> None:
    def drawn(seed: int) -> dict[str, Tensor]:
        network = copy.deepcopy(body())
        adapt(network, used(network), seed=seed)
        return {name: tensor for name, tensor in network.named_parameters() if "lora_A" in name}

    one, again, other = drawn(0), drawn(0), drawn(1)
    assert one.keys() == other.keys() and all(torch.equal(tensor, again[name]) for name, tensor in one.items())
    assert all(not torch.equal(tensor, other[name]) for name, tensor in one.items())
    assert {tensor.shape[0] for tensor in one.values()} == {RANK}
