"""Our EfficientNet-Lite against timm's."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import timm
import torch

from headstart.engines.openvino import OpenVinoEngine, convert
from headstart.engines.select import parity
from headstart.engines.torch import TorchEngine
from headstart.sources.networks.efficientnet_lite import SamePaddedConv2d
from headstart.sources.providers.packaged import NETWORKS
from headstart.sources.registry import open_source


@pytest.mark.parametrize("name", NETWORKS)
def test_it_is_timm_s_network_part_by_part(name: str) -> None:
    known = NETWORKS[name]
    ours: Any = open_source(f"packaged:{name}").module()
    theirs = timm.create_model(known.architecture).eval()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict(), strict=True)
    pictures = torch.randn(2, 3, known.size, known.size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        final = ours.forward_features(pictures)
        torch.testing.assert_close(final, theirs.forward_features(pictures), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(ours(pictures), theirs(pictures), rtol=1e-4, atol=1e-4)
        pool = theirs.forward_head(final, pre_logits=True)
        torch.testing.assert_close(ours.forward_head(final, pre_logits=True), pool)


def test_random_weights_are_spread_as_timm_s_are() -> None:
    ours = open_source("packaged:efficientnet-lite0", weights="none", seed=3).module().state_dict()
    torch.manual_seed(3)
    theirs = timm.create_model("tf_efficientnet_lite0").state_dict()
    for name, tensor in ours.items():
        if tensor.numel() > 10_000:
            assert tensor.std().item() == pytest.approx(theirs[name].std().item(), rel=0.05), name
        elif tensor.is_floating_point() and tensor.std() == 0:
            assert torch.equal(tensor, theirs[name]), name


@pytest.mark.parametrize("side", [7, 8, 15, 33])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2)])
def test_padding_is_tensorflow_s(side: int, kernel: int, stride: int) -> None:
    from timm.layers import Conv2dSame

    ours = SamePaddedConv2d(4, 4, kernel, stride=stride, groups=4)
    theirs = Conv2dSame(4, 4, kernel, stride=stride, groups=4, bias=False)
    theirs.load_state_dict(ours.state_dict())
    values = torch.randn(1, 4, side, side, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ours(values), theirs(values))


@pytest.mark.slow
def test_the_default_source_loads_without_timm_and_torchvision() -> None:
    code = (
        "import headstart, sys; headstart.open_source('packaged:efficientnet-lite0').module();"
        "print([name for name in ('timm', 'torchvision', 'torch._dynamo') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"


@pytest.mark.slow  # the contract of sources asks the same of random weights each time
def test_openvino_agrees_at_an_odd_size() -> None:
    network = open_source("packaged:efficientnet-lite2").network()
    pictures = np.random.default_rng(0).integers(0, 256, (2, 260, 260, 3), dtype=np.uint8)
    found = OpenVinoEngine(convert(network), precision="f32").run(pictures)
    assert parity(found, TorchEngine(network.module(), batch=2).run(pictures), network.blocks).worst > 0.9999
