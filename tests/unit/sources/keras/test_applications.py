"""The table agrees with Keras, which is imported on torch with channels last, and draws weights from a seed."""

from __future__ import annotations

import importlib
import random
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from keras_models import photos
from numpy.typing import NDArray

from headstart.base.errors import SourceError
from headstart.sources.keras.applications import APPLICATIONS, build_application, import_keras
from headstart.sources.networks.tapped import Normalised
from headstart.sources.registry import open_source

pytestmark = pytest.mark.thorough

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


def test_another_backend_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    with pytest.raises(SourceError, match="Keras must run on torch; found KERAS_BACKEND=jax"):
        import_keras()


def test_keras_that_was_set_to_channels_first_is_refused() -> None:
    keras = import_keras()
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(SourceError, match="with channels last; found torch and channels_first"):
            import_keras()
    finally:
        keras.config.set_image_data_format("channels_last")


def test_tensorflow_is_never_imported_beside_torch() -> None:
    build_application("MobileNet", size=32, top=False, shape_only=True)
    assert "tensorflow" not in sys.modules


def test_a_keras_that_runs_on_another_backend_already_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    keras = import_keras()
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(SourceError, match="Keras must run on torch, with channels last; found jax and") as refused:
        import_keras()
    assert "\n" not in str(refused.value)


def test_random_weights_leave_the_random_state_alone() -> None:
    before = random.getstate(), torch.get_rng_state()
    build_application("MobileNet", size=32, top=False, seed=3)
    assert random.getstate() == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])


def test_what_keras_refuses_is_refused_in_its_words() -> None:
    with pytest.raises(SourceError, match="Keras must be able to build 'VGG16'; found Input size must be at least"):
        build_application("VGG16", size=8, top=False, shape_only=True)
