"""The table of keras.applications agrees with Keras: its names, sizes and preprocessing."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from keras_models import photos
from numpy.typing import NDArray

from headstart.sources.keras.applications import APPLICATIONS
from headstart.sources.keras.library import import_keras
from headstart.sources.networks.tapped import Normalised
from headstart.sources.registry import open_source

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def keras() -> ModuleType:
    return import_keras()


def keras_preprocess(keras: ModuleType, name: str) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    module = importlib.import_module(getattr(keras.applications, name).__module__)
    if "ResNet" in name and name.endswith("V2"):
        module = keras.applications.inception_resnet_v2 if "Inception" in name else keras.applications.resnet_v2
    return module.preprocess_input  # type: ignore[no-any-return]


def test_every_application_has_its_row(keras: ModuleType) -> None:
    offered = {name for name in dir(keras.applications) if name[0].isupper()}
    assert set(APPLICATIONS) == {name for name in offered if not name.startswith("NASNet")}


def test_values_are_those_of_preprocess_input_for_every_application(keras: ModuleType) -> None:
    # Keras divides and then subtracts, we scale and shift: float32 rounding, of values up to 2.7, or up to 255.
    photo = photos(1)[0][:64, :64]
    for name, application in APPLICATIONS.items():
        preprocessing = application.preprocessing(64)
        network = Normalised(torch.nn.Identity(), preprocessing)
        seen = photo[:, :, ::-1] if preprocessing.channels == "bgr" else photo
        ours = network(torch.from_numpy(seen[None].copy())).numpy()[0].transpose(1, 2, 0)
        theirs = keras_preprocess(keras, name)(photo.astype(np.float32))
        assert np.abs(ours - theirs).max() <= 1e-6, name


def test_the_input_is_that_of_keras_on_a_real_photo(keras: ModuleType, tmp_path: Path) -> None:
    # load_img with bilinear resampling squashes as we do. On a lossless file the two differ nowhere; the file's JPEG
    # form may differ by the rounding of another decoder, and by our scaled decoding.
    from PIL import Image

    path = tmp_path / "astronaut.png"
    Image.fromarray(photos(1)[0][:, :400]).save(path)
    loaded = keras.utils.load_img(path, target_size=(299, 299), interpolation="bilinear")
    theirs = keras.applications.xception.preprocess_input(keras.utils.img_to_array(loaded))
    source = open_source("keras:Xception", weights="none")
    network = Normalised(torch.nn.Identity(), APPLICATIONS["Xception"].preprocessing(299))
    ours = network(torch.from_numpy(source.prepare(path.read_bytes())[None]))
    assert np.abs(ours.numpy()[0].transpose(1, 2, 0) - theirs).max() <= 1e-6


def test_released_weights_lie_in_the_cache_of_keras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    url, path, digest = APPLICATIONS["MobileNetV3Small"].released(top=False)
    name = "weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5"
    assert url == f"https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v3/{name}"
    assert (path, digest) == (tmp_path / "models" / name, "d3e8ec802a04aa4fc771ee12a9a9b836")
    assert APPLICATIONS["EfficientNetB0"].released(top=True)[0].startswith("https://storage.googleapis.com/keras-app")
