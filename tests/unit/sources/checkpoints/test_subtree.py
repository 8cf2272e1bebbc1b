"""The prefix below which the whole body is found is taken, and everything else in the checkpoint is named."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from headstart.base.errors import SourceError
from headstart.sources.checkpoints.load import Loaded, load_checkpoint
from headstart.sources.checkpoints.parts import read_contents
from headstart.sources.checkpoints.subtree import choose

HEAD = frozenset({"fc.weight", "fc.bias"})


class Net(nn.Module):
    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.layer = nn.Sequential(nn.Conv2d(4, 5, 1), nn.Conv2d(5, 6, 1))
        self.fc = nn.Linear(6, classes)

    def get_classifier(self) -> nn.Module:
        return self.fc


def state(seed: int = 0, classes: int = 3) -> dict[str, torch.Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return dict(Net(classes).state_dict())


def below(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def loaded(held: object, folder: Path, part: str = "") -> tuple[Net, Loaded]:
    torch.save(held, folder / "w.ckpt")
    net = Net()
    expected = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
    checkpoint = choose(read_contents(folder / "w.ckpt"), expected, HEAD, part=part, where="w.ckpt")
    return net, load_checkpoint(net, checkpoint, where="w.ckpt")


def holds(net: Net, tensors: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(net.state_dict()[name], tensors[name]) for name in tensors if name not in HEAD)


OURS, OTHER = state(), state(1)
METRICS = {"criterion.weight": torch.ones(3), "train_acc.tp": torch.zeros(1)}
SEQUENTIAL = nn.Sequential(nn.Sequential(*list(Net().children())[:-1]), nn.Sequential(nn.Linear(6, 9), nn.Linear(9, 2)))
CASES: dict[str, tuple[Any, dict[str, torch.Tensor], str]] = {
    "Lightning": ({"state_dict": {**below("net", OURS), **METRICS}, "epoch": 1}, OURS, "the part 'net.' was taken"),
    "records": (
        {"model": OURS, "args": argparse.Namespace(path=Path("a")), "best": 0.5}, OURS, "weights taken from model of",
    ),
    "records beside tensors": ({**OURS, "args": argparse.Namespace(lr=1), "epoch": 3}, OURS, ""),
    "compiled and parallel": (below("_orig_mod.module", OURS), OURS, "'_orig_mod.module.' taken off every name"),
    "several heads": (
        {**below("features.body", OURS), "head.0.weight": torch.ones(7, 6)}, OURS, "left out of the checkpoint: head.0",
    ),
    "a deeper head of another name": (
        {name: value for name, value in OURS.items() if name not in HEAD}
        | {"top.0.weight": torch.ones(9, 6), "top.2.weight": torch.ones(2, 9)},
        OURS, "top.0.weight, top.2.weight (2 in all)",
    ),
    "a deeper head": (
        {name: value for name, value in OURS.items() if name not in HEAD}
        | {"fc.0.weight": torch.ones(9, 6), "fc.2.weight": torch.ones(2, 9)},
        OURS, "fc.0.weight, fc.2.weight (2 in all)",
    ),
    "averaged": ({"model": OTHER, "model_ema": OURS}, OURS, "averaged weights were taken, and not those of model"),
    "ema_state_dict": ({"state_dict": OTHER, "ema_state_dict": OURS}, OURS, "and not those of state_dict"),
    "a callback's": ({"state_dict": OTHER, "callbacks": {"EMA": {"weights": OURS}}}, OURS, "not those of state_dict"),
    "twice the same": ({"model": OURS, "best": dict(OURS)}, OURS, "weights taken from model of the checkpoint"),
    "fastai": ({"model": SEQUENTIAL.state_dict(), "opt": {"state": []}}, {}, "the part '0.' was taken"),
    "nested": ({"net": {"encoder": OURS, "decoder": {"w": torch.ones(3)}}}, OURS, "weights taken from net.encoder of"),
    "other classes": (below("model", state(0, classes=9)), state(0, 9), "9 classes where the architecture has 3"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_part_that_fits_is_taken_and_said(case: str, tmp_path: Path) -> None:
    held, weights, note = CASES[case]
    net, result = loaded(held, tmp_path)
    assert holds(net, weights)
    assert note in " | ".join(result.notes)
    if case == "fastai":
        assert torch.equal(net.layer[1].weight, SEQUENTIAL[0][2][1].weight)
        assert "left out of the checkpoint: model.1.0.weight" in " | ".join(result.notes)


def test_two_that_fit_and_differ_are_an_error_with_a_way_that_works(tmp_path: Path) -> None:
    held = {"student": below("module.backbone", OURS), "teacher": below("module.backbone", OTHER)}
    with pytest.raises(
        SourceError, match=r"student.module.backbone, teacher.module.backbone; name .*file:w.ckpt#"
    ) as caught:
        loaded(held, tmp_path)
    named = str(caught.value).rpartition("#")[2]
    assert holds(loaded(held, tmp_path, part=named)[0], OTHER)
    assert holds(loaded(held, tmp_path, part="student")[0], OURS)
    with pytest.raises(SourceError, match="below 'pupil'; found student, teacher; name one of these"):
        loaded(held, tmp_path, part="pupil")


def changed(tensors: dict[str, torch.Tensor], **new: torch.Tensor | None) -> dict[str, torch.Tensor]:
    whole = {**tensors, **{name.replace("__", "."): value for name, value in new.items()}}
    return {name: value for name, value in whole.items() if value is not None}


@pytest.mark.parametrize(
    ("held", "why"),
    [
        (changed(OURS, conv__bias=None), "1 missing (conv.bias) and 0 extra"),
        (changed(OURS, layer__2__weight=torch.ones(6, 6, 1, 1)), "0 missing and 1 extra (layer.2.weight)"),
        (changed(OURS, projector__0__weight=torch.ones(7, 6)), "0 missing and 1 extra (projector.0.weight)"),
        (changed(OURS, token=torch.ones(6)), "0 missing and 1 extra (token)"),
        (changed(OURS, conv__weight=torch.ones(4, 3, 5, 5)), "conv.weight (4, 3, 5, 5) for (4, 3, 3, 3)"),
        (changed(OURS, conv__bias=torch.ones(9), bn__bias=None), "1 missing (bn.bias) and 0 extra, 1 of another shape"),
    ],
)
@pytest.mark.parametrize("prefix", ["", "model.net."])
def test_what_does_not_fit_is_named_on_both_sides__CKP_07(
    held: dict[str, torch.Tensor], why: str, prefix: str, tmp_path: Path
) -> None:
    beside = METRICS if prefix else {}
    with pytest.raises(SourceError, match=re.escape(why)):
        loaded({"state_dict": {**{prefix + name: value for name, value in held.items()}, **beside}}, tmp_path)
