"""torchvision's classifiers: the cut, the preprocessing, the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import models

from headstart.base.errors import SourceError
from headstart.base.hashing import sha256_file
from headstart.data.images.preprocessing import decode
from headstart.sources.networks.tapped import Normalised
from headstart.sources.networks.two_step import Split
from headstart.sources.providers import torchvision as from_torchvision
from headstart.sources.registry import open_source
from headstart.sources.uri import parse

PHOTOS = ("chelsea.png", "coffee.png")


def photo(name: str) -> Path:
    skimage = pytest.importorskip("skimage")
    return Path(skimage.__file__).parent / "data" / name


def cut(name: str, side: int = 96) -> Any:
    how = from_torchvision.Preprocessing(size=(side, side), resize=side)
    return from_torchvision.build_random(parse(f"torchvision:{name}"), how, seed=0)


@pytest.mark.parametrize(
    "name",
    ["alexnet", "densenet121", "googlenet", "mobilenet_v3_small", "regnet_y_400mf", "resnet18", "squeezenet1_1"],
)
def test_the_two_steps_are_the_whole_network(name: str) -> None:
    body = cut(name)
    pictures = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        final = body.forward_features(pictures)
        scores = body.forward_head(final)
        pool = body.forward_head(final, pre_logits=True)
        whole = body.body(pictures)
        assert final.ndim == 4
        torch.testing.assert_close(scores, whole)
        torch.testing.assert_close(body(pictures), whole)
        if isinstance(body.classifier, torch.nn.Linear):
            torch.testing.assert_close(body.classifier(pool), whole)


def test_a_network_that_cannot_be_cut_says_why() -> None:
    class Branching(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.sum() > 0 else -x

    class Skipping(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.fc = torch.nn.Conv2d(3, 3, 3), torch.nn.Linear(6, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(torch.cat([self.conv(x).mean((2, 3)), x.mean((2, 3))], 1))

    class Wrapped(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = torch.nn.Conv2d(3, 3, 3), torch.nn.Bilinear(3, 3, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            pooled = self.conv(x).mean((2, 3))
            return self.head(pooled, pooled)

    blank = torch.zeros(1, 3, 8, 8)
    for body, why in [
        (Branching(), "cannot be traced"),
        (torch.nn.ReLU(), "no part with weights"),
        (torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 2)), "no map of features"),
        (Skipping(), "reads more than conv"),
        (Wrapped(), "classifier of the form Bilinear"),
    ]:
        with pytest.raises(SourceError, match=why):
            Split(body, blank)


@pytest.mark.parametrize("name", ["resnet50", "efficientnet_b0", "inception_v3", "vit_b_16@IMAGENET1K_SWAG_E2E_V1"])
@pytest.mark.parametrize("picture", PHOTOS)
def test_preprocessing_is_the_library_s_own(name: str, picture: str) -> None:
    """We resize only what the crop keeps and the library resizes all: Pillow rounds its filter's weights and each of
    its two passes, so a value may differ by one or two of 255 levels."""
    spec = parse(f"torchvision:{name}")
    known = from_torchvision._known_weights(spec)
    how = from_torchvision._preprocessing(known)
    path = photo(picture)
    with Image.open(path) as opened:
        library = known.transforms()(opened.convert("RGB"))
    ours = Normalised(torch.nn.Identity(), how)(torch.from_numpy(decode(path.read_bytes(), how))[None])[0]
    assert ours.shape == library.shape
    levels = (ours - library).abs() * torch.tensor(how.std).reshape(3, 1, 1) * 255
    assert levels.max() <= 2.01
    assert levels.mean() <= 0.02


def test_every_set_of_weights_states_its_preprocessing() -> None:
    for name in models.list_models(module=models):
        for known in models.get_model_weights(name):
            how = from_torchvision._preprocessing(known)
            assert 128 <= how.size[0] <= 600, name
            assert how.resize is not None and how.resize >= how.size[0], name
            assert known.url.startswith("https://"), name


def test_the_default_weights_and_a_named_revision_differ() -> None:
    default, first = (
        open_source(uri, weights="none") for uri in ("torchvision:resnet50", "torchvision:resnet50@IMAGENET1K_V1")
    )
    assert default.preprocessing.resize == 232
    assert first.preprocessing.resize == 256
    with pytest.raises(
        SourceError, match=r"must be one of IMAGENET1K_V1, IMAGENET1K_V2; found 'IMAGENET1K_V3'; .*did you mean"
    ):
        open_source("torchvision:resnet50@IMAGENET1K_V3", weights="none")
    with pytest.raises(SourceError, match="did you mean 'resnet50'"):
        open_source("torchvision:resnet500")
    with pytest.raises(SourceError, match="must know the classifier"):
        open_source("torchvision:fasterrcnn_resnet50_fpn", weights="none")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the checkpoints folder of an empty cache of torch.hub."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path / "hub" / "checkpoints"


def test_weights_that_are_absent_are_an_error_that_says_where_they_go(
    hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADSTART_OFFLINE", "1")
    with pytest.raises(SourceError) as caught:
        open_source("torchvision:resnet18")
    said = str(caught.value)
    assert "offline" in said
    assert f"put it at {hub / 'resnet18-f37072fd.pth'}" in said
    assert "https://download.pytorch.org/models/resnet18-f37072fd.pth" in said
    monkeypatch.delenv("HEADSTART_OFFLINE")

    def refuse(*given: object, **how: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    with pytest.raises(SourceError, match="no route to host; get https://"):
        open_source("torchvision:resnet18")


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["mobilenet_v3_small", pytest.param("googlenet", marks=pytest.mark.slow)])
def test_weights_in_torch_s_cache_are_loaded_whole_and_checked(
    name: str, hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = models.get_model(name, weights=None, **({"init_weights": False} if name == "googlenet" else {})).eval()
    hub.mkdir(parents=True)
    file = hub / models.get_model_weights(name).DEFAULT.url.rpartition("/")[2]
    torch.save(released.state_dict(), file)
    with pytest.raises(SourceError, match=r"sha256 of .* must begin with"):
        open_source(f"torchvision:{name}")
    monkeypatch.setattr(from_torchvision, "_digest", lambda path: sha256_file(path)[:8])
    source = open_source(f"torchvision:{name}")
    assert source.info.sha256 == sha256_file(file)
    assert source.info.revision == models.get_model_weights(name).DEFAULT.name
    body = source.module()
    for key, tensor in body.body.state_dict().items():
        torch.testing.assert_close(tensor, released.state_dict()[key])
    probabilities = source.classify([photo("coffee.png")])
    assert probabilities.shape == (1, 1000)
    with torch.inference_mode():
        prepared = Normalised(torch.nn.Identity(), source.preprocessing)(
            torch.from_numpy(source.prepare_all([photo("coffee.png")]))
        )
        if name == "googlenet":
            released.transform_input = True
        np.testing.assert_allclose(probabilities, released(prepared).softmax(1).numpy(), atol=1e-5)


def test_weights_of_another_network_or_with_nan_are_refused(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.mkdir(parents=True)
    file = hub / models.ResNet18_Weights.DEFAULT.url.rpartition("/")[2]
    monkeypatch.setattr(from_torchvision, "_digest", lambda path: "")
    torch.save(models.mobilenet_v3_small().state_dict(), file)
    with pytest.raises(SourceError, match="must hold the weights of torchvision:resnet18"):
        open_source("torchvision:resnet18").module()
    state = models.resnet18().state_dict()
    state["layer1.0.conv1.weight"][0, 0, 0, 0] = float("nan")
    torch.save(state, file)
    with pytest.raises(SourceError, match=r"layer1\.0\.conv1\.weight"):
        open_source("torchvision:resnet18").module()


def test_the_cache_of_torch_hub_is_found_without_torch(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    with_torch = from_torchvision.hub_folder()
    monkeypatch.delitem(sys.modules, "torch")
    assert from_torchvision.hub_folder() == with_torch == hub.parent
    monkeypatch.delenv("TORCH_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert from_torchvision.hub_folder() == Path("/somewhere/torch/hub")
