"""A Keras source as a folder of safetensors: the same features and classes, and refused where it was altered."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_models import photos, randomise, save_released, torch_features

from headstart.base.errors import SourceError
from headstart.base.hashing import canonical_json, sha256_file
from headstart.engines.environment import without_tensorflow
from headstart.sources.base import SourceInfo
from headstart.sources.keras.applications import APPLICATIONS, build_application, import_keras
from headstart.sources.providers.keras import convert
from headstart.sources.registry import open_source

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras saves so


@pytest.fixture(scope="module", autouse=True)
def _keras() -> Iterator[None]:
    import_keras()
    with without_tensorflow():
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, _keras: None) -> tuple[Path, SourceInfo]:
    """Return a converted folder, and what is said of it."""
    folder = tmp_path_factory.mktemp("made") / "mobilenet"
    return folder, convert("keras:MobileNet", folder, weights="none")


@pytest.fixture
def folder(made: tuple[Path, SourceInfo], tmp_path: Path) -> Path:
    """Return a copy of the converted folder, to be altered."""
    return shutil.copytree(made[0], tmp_path / "mobilenet")


@pytest.mark.slow
def test_a_folder_gives_the_same_features_and_classes_without_the_cache_of_keras(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    released = APPLICATIONS["MobileNet"].released(top=True)[1]
    released.parent.mkdir(parents=True)
    save_released(randomise(build_application("MobileNet", size=224, top=True)), released)
    folder = tmp_path / "mobilenet"
    info = convert("keras:MobileNet", folder)
    assert sorted(path.name for path in folder.iterdir()) == ["source.json", "weights.safetensors"]
    assert info.uri == f"file:{folder}"
    assert info.trained_on == open_source("keras:MobileNet").info.trained_on
    source = open_source("keras:MobileNet")
    features, classes = torch_features(source, photos(2)), source.classify(photos(2))
    released.unlink()
    converted = open_source(f"file:{folder}")
    np.testing.assert_array_equal(torch_features(converted, photos(2)), features)
    np.testing.assert_array_equal(converted.classify(photos(2)), classes)
    random = open_source(f"file:{folder}", weights="none", seed=3)
    assert random.info.sha256 == open_source("keras:MobileNet", weights="none", seed=3).info.sha256


@pytest.mark.thorough
def test_a_folder_is_converted_again_but_nothing_else_is_replaced(
    folder: Path, made: tuple[Path, SourceInfo], tmp_path: Path
) -> None:
    assert convert("keras:MobileNet", folder, weights="none") == replace(made[1], uri=f"file:{folder}")
    (folder / "diary.txt").write_text("mine")
    with pytest.raises(SourceError, match="must be absent, empty or a converted source"):
        convert("keras:MobileNet", folder, weights="none")
    with pytest.raises(SourceError, match="only keras: sources are converted"):
        convert("timm:resnet18", tmp_path / "other", weights="none")
    assert not (tmp_path / "other").exists()


def altered(folder: Path, **keys: Any) -> str:
    """Write another description into a converted folder, and return what is said of it."""
    path = folder / "source.json"
    path.write_bytes(canonical_json({**json.loads(path.read_bytes()), **keys}))
    with pytest.raises(SourceError) as refused:
        open_source(f"file:{folder}").module()
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.thorough
def test_an_altered_folder_is_refused(made: tuple[Path, SourceInfo], folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    assert "must hold exactly the 137 tensors of keras:MobileNet; found " in altered(folder, top=True)
    assert "must hold exactly the" in altered(folder, top=False, arch="keras:MobileNetV2")
    assert "must name a network of Keras under arch; found 'timm:resnet18'" in altered(folder, arch="timm:resnet18")
    assert "must state the preprocessing" in altered(folder, arch="keras:MobileNet", preprocessing=None)
    shutil.copytree(made[0], folder, dirs_exist_ok=True)
    weights = folder / "weights.safetensors"
    state = load_file(weights)
    for value, message in ((torch.zeros(3), "must fit the architecture tensor by tensor"), (None, "NaN or infinity")):
        changed = torch.full_like(state["layers.conv1.weight"], torch.nan) if value is None else value
        save_file({**state, "layers.conv1.weight": changed}, weights)
        assert message in altered(folder, members={weights.name: sha256_file(weights)})


def test_a_folder_of_the_version_before_is_refused_in_one_line(folder: Path) -> None:
    content = json.loads((folder / "source.json").read_bytes())
    del content["top"]
    (folder / "source.json").write_bytes(canonical_json(content))
    message = altered(folder, arch="", network={"graph": {"schema": 1}, "taps": [], "more": []})
    assert "found one of an earlier version; convert the source again with this version" in message
