"""Weights are checked tensor by tensor before they become a network."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from headstart.base.errors import SourceError
from headstart.sources.checkpoints.load import load_in_order
from headstart.sources.checkpoints.read import read_checkpoint


def body() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 5, 1))


def renamed(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"theirs.{at}": tensor.clone() for at, tensor in enumerate(state.values())}


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return renamed(body().state_dict())


def test_tensors_of_other_names_are_loaded_in_order(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    torch.save(state, tmp_path / "w.pth")
    network = body()
    load_in_order(network, read_checkpoint(tmp_path / "w.pth").tensors, where="w.pth")
    for given, held in zip(state.values(), network.state_dict().values(), strict=True):
        assert torch.equal(given, held)


def test_wrong_shapes_are_refused_and_the_first_three_listed__CKP_05(state: dict[str, torch.Tensor]) -> None:
    for name in list(state)[:5]:
        state[name] = torch.zeros(7)
    network = body()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(SourceError, match=r"5 that do not: 0.weight \(7\) for \(4, 3, 3, 3\), .* and 2 more"):
        load_in_order(network, state, where="w.pth")
    for name, tensor in network.state_dict().items():
        assert torch.equal(before[name], tensor)


def test_a_tensor_of_another_kind_of_number_is_refused__CKP_05(state: dict[str, torch.Tensor]) -> None:
    name = next(name for name, tensor in state.items() if tensor.dtype == torch.int64)
    state[name] = torch.tensor(1.0)
    with pytest.raises(SourceError, match="num_batches_tracked"):
        load_in_order(body(), state, where="w.pth")


def test_a_missing_tensor_is_refused_with_both_counts(state: dict[str, torch.Tensor]) -> None:
    state.popitem()
    with pytest.raises(SourceError, match=r"w.pth must hold the 9 tensors of the architecture; found 8 tensors"):
        load_in_order(body(), state, where="w.pth")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite_are_refused_by_name__CKP_06(state: dict[str, torch.Tensor], value: float) -> None:
    state["theirs.1"][2] = value
    with pytest.raises(SourceError, match=re.escape("NaN or infinity in theirs.1")):
        load_in_order(body(), state, where="w.pth")


class _Payload:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, ("open('ran', 'w')",)


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"a": _Payload()}, tmp_path / "w.pth")
    with pytest.raises(SourceError, match="must hold tensors and nothing that runs; found eval"):
        read_checkpoint(tmp_path / "w.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("cut", [0, 10, 200, -1])
def test_a_truncated_file_is_refused(state: dict[str, torch.Tensor], tmp_path: Path, cut: int) -> None:
    path = tmp_path / "w.pth"
    torch.save(state, path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(SourceError, match=re.escape(str(path))):
        read_checkpoint(path)


def test_anything_but_named_tensors_is_refused(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "w.pth")
    with pytest.raises(SourceError, match="must hold named tensors; found a list"):
        read_checkpoint(tmp_path / "w.pth")
