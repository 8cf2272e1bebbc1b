"""The tensor that a network of timm's is given is the one that timm's own pipeline makes of the photo.

The other libraries' pipelines are compared in the tests of their providers.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from headstart.sources.networks.tapped import Normalised
from headstart.sources.registry import open_source

ARCHITECTURES = {
    "timm:resnet18": "resnet18",
    "timm:vit_small_patch14_dinov2": "vit_small_patch14_dinov2",
    "timm:convnext_atto": "convnext_atto",
    "timm:tf_efficientnet_b0": "tf_efficientnet_b0",
    "timm:vit_tiny_patch16_224": "vit_tiny_patch16_224",
    "timm:mobilenetv3_small_050": "mobilenetv3_small_050",
    "packaged:efficientnet-lite0": "tf_efficientnet_lite0",
    "packaged:efficientnet-lite1": "tf_efficientnet_lite1",
    "packaged:efficientnet-lite2": "tf_efficientnet_lite2",
}
"""timm's name of each network, whose `pretrained_cfg` says how it wants its pictures."""


@pytest.fixture(scope="module")
def photos() -> list[Path]:
    skimage = pytest.importorskip("skimage")
    return [Path(skimage.__file__).parent / "data" / name for name in ("chelsea.png", "coffee.png")]


@pytest.mark.parametrize("uri", ARCHITECTURES)
def test_the_input_is_that_of_timm_on_real_photos(uri: str, photos: list[Path]) -> None:
    """timm resizes the whole photo and we only what lies inside the crop: Pillow rounds its filter's weights and each
    of its two passes, at other places, so a few values differ by one of 255 levels. The photos are lossless: on JPEG
    ours are decoded at the scale that is needed, and the tests of `data.images` say how much that adds.
    """
    from timm.data import create_transform, resolve_data_config
    from timm.models import get_pretrained_cfg

    known = get_pretrained_cfg(ARCHITECTURES[uri]).to_dict()
    pipeline = create_transform(**resolve_data_config(pretrained_cfg=known))
    source = open_source(uri, weights="none")
    enter = Normalised(torch.nn.Identity(), source.preprocessing)
    for path in photos:
        with Image.open(path) as opened:
            theirs = pipeline(opened.convert("RGB"))
        ours = enter(torch.from_numpy(source.prepare(path.read_bytes())[None]))[0]
        assert ours.shape == theirs.shape
        levels = (ours - theirs).abs() * torch.tensor(source.preprocessing.std).reshape(3, 1, 1) * 255
        assert levels.max() <= 1.01
        assert levels.mean() <= 0.001
