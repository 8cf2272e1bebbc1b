"""Checkpoints as Lightning, fastai, DDP, EMA, `torch.compile` and sharded safetensors leave them are the network's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from headstart.base.errors import SourceError
from headstart.sources.registry import open_source

SAID = {
    "lightning2.ckpt": "left out of the checkpoint: state_dict.criterion.weight, state_dict.train_acc.tp",
    "feature_extractor.pth": "the part 'feature_extractor.' was taken",
    "ema.pth": "averaged weights were taken, and not those of model",
    "fastai_export.pth": "the part '0.' was taken",
    "compiled.pth": "'_orig_mod.' taken off every name",
}


@pytest.mark.shared
@pytest.mark.slow
def test_each_checkpoint_is_the_same_network__f35(made: Callable[[str], Path], tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    made("f35")
    paths = [path for path in sorted(tmp_path.iterdir()) if path.name not in ("photos", "whole_model.pth")]
    assert len(paths) > 12
    weights = None
    for path in paths:
        source = open_source(f"file:{path}", arch="torchvision:resnet18")
        assert SAID.get(path.name, "") in " | ".join(source.info.notes)
        state = source.module().state_dict()
        if path.name.startswith(("half", "bf16")):
            continue
        weights = weights or state
        assert all(torch.equal(weights[name], state[name]) for name in state if not name.startswith("fc"))
    with pytest.raises(SourceError, match=r"models\.resnet\.ResNet, which could run code; nothing was run; get it as"):
        open_source(f"file:{tmp_path / 'whole_model.pth'}", arch="torchvision:resnet18")
