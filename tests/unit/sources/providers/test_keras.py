"""keras.applications by Keras's own names: their values, sizes, weights and refusals."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from keras_models import features_of, photos, randomise, save_released, torch_features

from headstart.base.errors import MissingExtra, SourceError, UsageError
from headstart.engines.environment import without_tensorflow
from headstart.sources.base import Source
from headstart.sources.keras.applications import build_application, import_keras
from headstart.sources.networks.source import TorchSource
from headstart.sources.providers.keras import load
from headstart.sources.registry import open_source

torch = pytest.importorskip("torch")
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # Keras saves so
    pytest.mark.thorough,
]


@pytest.fixture(scope="module", autouse=True)
def keras() -> Iterator[ModuleType]:
    found = import_keras()
    with without_tensorflow():
        yield found


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    (tmp_path / "keras" / "models").mkdir(parents=True)
    return tmp_path / "keras" / "models"


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("keras:xception", "did you mean 'Xception'"),
        ("keras:ResNet51", "did you mean 'ResNet50'"),
        ("keras:NASNetMobile", "does not offer NASNet"),
        ("keras:Xception@v1", "have no revisions"),
    ],
)
def test_a_wrong_name_is_refused(uri: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        open_source(uri, weights="none")


def test_a_size_must_fit_the_network_and_belong_to_keras() -> None:
    with pytest.raises(UsageError, match="size for keras:Xception must be at least 71 pixels; found 64"):
        open_source("keras:Xception", weights="none", size=64)
    with pytest.raises(UsageError, match="has a size of its own"):
        open_source("timm:resnet18", weights="none", size=64)


def test_a_missing_extra_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keras", None)
    with pytest.raises(MissingExtra, match=r"pip install .*\[keras\]'"):
        open_source("keras:VGG16", weights="none")


def test_random_weights_are_those_of_their_seed() -> None:
    one, same, other = (open_source("keras:MobileNet", weights="none", size=32, seed=seed) for seed in (0, 0, 1))
    states = [source.module().state_dict() for source in (one, same, other)]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert any(not torch.equal(value, states[2][name]) for name, value in states[0].items())
    assert fingerprint(one) == fingerprint(same) != fingerprint(other)


def fingerprint(source: Source) -> str:
    return source.network().fingerprint


def test_vgg16_flattens_to_25088_features_at_its_own_size() -> None:
    source = open_source("keras:VGG16", weights="none", layer="flatten")
    assert isinstance(source, TorchSource)
    assert [block.width for block in source.network().blocks] == [25_088]
    assert source.info.parameters == 14_714_688  # what Keras counts without the classifier


@pytest.mark.slow
def test_openvino_gives_the_features_of_keras(cache: Path) -> None:
    from headstart.engines.select import open_engine

    pytest.importorskip("openvino")
    source = open_source("keras:MobileNet", weights="none", size=64)
    prepared = source.prepare_all(photos(8, side=64))
    wanted = features_of(build_application("MobileNet", size=64, top=False, seed=0), prepared / np.float32(127.5) - 1)
    engine = open_engine(source.network(), sample=lambda: prepared, cache=cache, engine="openvino")
    given = engine.run(prepared)[:, : wanted.shape[1]]
    cosine = (given * wanted).sum(1) / np.linalg.norm(given, axis=1) / np.linalg.norm(wanted, axis=1)
    assert cosine.mean() >= 0.998
    assert cosine.min() >= 0.99


def test_released_weights_give_the_features_and_classes_of_keras(home: Path) -> None:
    model = randomise(build_application("MobileNet", size=224, top=True))
    save_released(model, home / "mobilenet_1_0_224_tf.h5")
    source = open_source("keras:MobileNet")
    items = photos(2)
    given = source.classify(items)
    wanted = features_of(model, source.prepare_all(items).astype(np.float32) / 127.5 - 1)
    np.testing.assert_allclose(given, wanted, rtol=1e-4, atol=1e-6)
    assert source.info.revision == "mobilenet_1_0_224_tf.h5"
    assert source.info.parameters == 3_206_976


@pytest.mark.slow
def test_released_efficientnets_divide_once_more_as_keras_does(
    home: Path, keras: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module(keras.applications.EfficientNetB0.__module__)
    path = home / "efficientnetb0_notop.h5"
    save_released(randomise(build_application("EfficientNetB0", size=64, top=False)), path)
    monkeypatch.setattr(module.file_utils, "get_file", lambda *args, **kwargs: str(path))
    theirs = keras.applications.EfficientNetB0(include_top=False, pooling="avg", input_shape=(64, 64, 3))
    monkeypatch.setattr("headstart.sources.providers.keras.fetch", lambda name, *, top: path)
    source = open_source("keras:EfficientNetB0", size=64)
    prepared = source.prepare_all(photos(2, side=64))
    wanted = features_of(theirs, prepared.astype(np.float32))
    np.testing.assert_allclose(
        torch_features(source, photos(2, side=64)), wanted, rtol=1e-3, atol=1e-4 * np.abs(wanted).max()
    )


@pytest.mark.slow
def test_an_efficientnet_that_began_as_the_released_one_is_told(tmp_path: Path) -> None:
    path = tmp_path / "mine.weights.h5"
    model = build_application("EfficientNetB0", size=32, top=False)
    normalisation = next(layer for layer in model.layers if layer.name.startswith("normalization"))
    model.save_weights(path)
    scale = load("EfficientNetB0", 32, path, top=False)[0].get_submodule("layers.normalization").weight
    np.testing.assert_allclose(scale.flatten(), [1, 1, 1])
    variance = np.array((0.229, 0.224, 0.225), np.float32)
    normalisation.weights[1].assign(variance)
    model.save_weights(path)
    scale = load("EfficientNetB0", 32, path, top=False)[0].get_submodule("layers.normalization").weight
    np.testing.assert_allclose(scale.flatten(), 1 / variance, rtol=1e-6)


def test_released_weights_that_are_absent_or_damaged_are_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SourceError, match=r"needs its weights, xception_weights.*put it at .*xception"):
        open_source("keras:Xception")
    monkeypatch.setenv("HEADSTART_OFFLINE", "1")
    with pytest.raises(SourceError, match="found offline; download https://"):
        open_source("keras:Xception")
    damaged = home / "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
    damaged.write_bytes(b"not these")
    with pytest.raises(SourceError, match=r"must be the file that was released .*remove it: rm "):
        open_source("keras:VGG16", size=64)


@pytest.mark.thorough
def test_a_keras_file_fits_the_architecture_that_is_named(tmp_path: Path) -> None:
    model = randomise(build_application("MobileNet", size=96, top=True))
    items = photos(2, side=96)
    paths = {kind: tmp_path / f"model{kind}" for kind in (".keras", ".weights.h5")}
    model.save(paths[".keras"])
    model.save_weights(paths[".weights.h5"])
    save_released(model, tmp_path / "model.h5")
    encoded = [open_source(f"file:{path}", arch="keras:MobileNet") for path in (*paths.values(), tmp_path / "model.h5")]
    assert [source.info.notes[0].split(":")[0] for source in encoded] == ["2 arrays of the file are left out"] * 3
    features = [torch_features(source, items) for source in encoded]
    np.testing.assert_array_equal(features[0], features[1])
    np.testing.assert_array_equal(features[0], features[2])


@pytest.mark.filterwarnings("ignore")
def test_a_legacy_file_of_a_network_in_a_model_is_matched_by_names(tmp_path: Path) -> None:
    """Keras keeps the weights of an inner model that learn first, and its statistics behind them."""
    keras, items = import_keras(), photos(2, side=64)
    model = randomise(build_application("MobileNet", size=64, top=False))
    top = [keras.layers.BatchNormalization(), keras.layers.Dense(5)]
    keras.Sequential([keras.layers.Input((64, 64, 3)), model, *top]).save(tmp_path / "nested.h5")
    source = open_source(f"file:{tmp_path / 'nested.h5'}", arch="keras:MobileNet", size=64)
    assert source.info.notes[0].startswith("6 arrays of the file are left out")
    values = (source.prepare_all(items) / 127.5 - 1).astype(np.float32)
    found, expected = torch_features(source, items), features_of(model, values)
    cosine = (found * expected).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)
    assert cosine.min() >= 0.99999


def test_arrays_that_do_not_fit_are_listed__CKP_05_CKP_07(tmp_path: Path) -> None:
    path = tmp_path / "other.weights.h5"
    build_application("VGG16", size=32, top=False).save_weights(path)
    with pytest.raises(
        SourceError, match=r"135 arrays of the architecture; found \d+ that do not fit: .*; .*; .* and \d+ more"
    ):
        open_source(f"file:{path}", arch="keras:MobileNet")


def test_a_number_that_is_none_is_refused_by_name__CKP_06(tmp_path: Path) -> None:
    model = build_application("MobileNet", size=32, top=False)
    model.layers[1].set_weights([np.full_like(model.layers[1].get_weights()[0], np.nan)])
    model.save_weights(tmp_path / "nan.weights.h5")
    with pytest.raises(SourceError, match=r"NaN or infinity in layers.conv1.weight"):
        open_source(f"file:{tmp_path / 'nan.weights.h5'}", arch="keras:MobileNet").module()
