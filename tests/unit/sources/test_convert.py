"""Keras networks as plain torch: the same features, and a folder that needs no Keras."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from keras_models import features_of, photos, randomise, torch_features

from headstart.base.errors import SourceError
from headstart.base.hashing import canonical_json
from headstart.sources.convert import convert
from headstart.sources.keras.blueprint import finish
from headstart.sources.keras.graph import build
from headstart.sources.keras.library import arrays_of, build_application, import_keras, walk_model, without_tensorflow
from headstart.sources.keras.walker import walk
from headstart.sources.providers.keras import build_arrays
from headstart.sources.registry import open_source

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras saves so
OTHERS = (
    "MobileNetV2",
    "ResNet50V2",
    "DenseNet121",
    "EfficientNetB0",
    "EfficientNetV2B0",
    "InceptionResNetV2",
    "MobileNetV3Large",
)


@pytest.fixture(scope="module", autouse=True)
def _keras() -> Iterator[None]:
    import_keras()
    with without_tensorflow():
        yield


def difference(name: str, size: int) -> float:
    """Return the largest difference between our features and Keras's own, relative to the largest feature."""
    model = randomise(build_application(name, size=size, top=False))
    blueprint = finish(walk_model(model), name)
    body = build_arrays(blueprint, arrays_of(model), name)
    values = np.random.default_rng(1).uniform(-1, 1, (2, size, size, 3)).astype(np.float32)
    values *= 127.5 if name.startswith(("EfficientNet", "ConvNeXt", "MobileNetV3")) else 1.0
    wanted = features_of(model, values)
    with torch.inference_mode():
        final = body.forward_features(torch.from_numpy(values).permute(0, 3, 1, 2))
        given = body.forward_head(final, pre_logits=True).numpy()
    assert given.shape == wanted.shape
    assert wanted.std() > 0.01  # random statistics keep a deep network from saying nothing
    return float(np.abs(given - wanted).max() / np.abs(wanted).max())


@pytest.mark.parametrize(
    ("name", "size"), [("Xception", 96), ("VGG16", 64), ("ResNet50", 64), ("InceptionV3", 96), ("MobileNet", 224)]
)
def test_features_are_those_of_keras(name: str, size: int) -> None:
    assert difference(name, size) <= 1e-4


@pytest.mark.parametrize("name", ["MobileNetV3Small", "ConvNeXtTiny"])
def test_features_of_other_kinds_of_network_are_those_of_keras(name: str) -> None:
    assert difference(name, 64) <= 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_features_of_every_family_are_those_of_keras(name: str) -> None:
    assert difference(name, 96) <= 1e-4


def test_an_odd_size_pads_as_tensorflow_does() -> None:
    assert difference("MobileNet", 75) <= 1e-4


def test_a_folder_needs_no_keras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint, folder = tmp_path / "mine.weights.h5", tmp_path / "mobilenet"
    randomise(build_application("MobileNet", size=224, top=False)).save_weights(checkpoint)
    info = convert("keras:MobileNet", folder, weights=str(checkpoint))
    assert sorted(path.name for path in folder.iterdir()) == ["source.json", "weights.safetensors"]
    assert info.uri == f"file:{folder}"
    wanted = torch_features(open_source("keras:MobileNet", weights=checkpoint), photos(2))
    for name in [*(name for name in sys.modules if name.partition(".")[0] == "keras"), "keras"]:
        monkeypatch.setitem(sys.modules, name, None)
    np.testing.assert_allclose(torch_features(open_source(f"file:{folder}"), photos(2)), wanted, rtol=1e-5, atol=1e-6)


def test_a_folder_is_converted_again_but_nothing_else_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "vgg"
    first = convert("keras:MobileNet", folder, weights="none", seed=1)
    assert convert("keras:MobileNet", folder, weights="none", seed=1) == first
    (folder / "diary.txt").write_text("mine")
    with pytest.raises(SourceError, match="must be absent, empty or a converted source"):
        convert("keras:MobileNet", folder, weights="none")
    with pytest.raises(SourceError, match="only keras: sources are converted"):
        convert("timm:resnet18", tmp_path / "other", weights="none")
    assert not (tmp_path / "other").exists()


def test_an_altered_description_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "mobilenet"
    convert("keras:MobileNet", folder, weights="none")
    whole = json.loads((folder / "source.json").read_bytes())
    layers = whole["network"]["graph"]["layers"]
    cases = [
        ({**layers[0], "op": "eval"}, "must be one that this version can run; found KeyError: 'eval'"),
        ({**layers[0], "name": "other"}, "must hold exactly the"),
        ({**layers[0], "out": 33}, "must be one that|must fit the architecture"),
    ]
    for changed, said in cases:
        graph = {**whole["network"]["graph"], "layers": [changed, *layers[1:]]}
        altered = {**whole, "network": {**whole["network"], "graph": graph}}
        (folder / "source.json").write_bytes(canonical_json(altered))
        with pytest.raises(SourceError, match=said):
            open_source(f"file:{folder}").module()
    (folder / "source.json").write_bytes(canonical_json({**whole, "network": {}}))
    with pytest.raises(SourceError, match="must describe a network"):
        open_source(f"file:{folder}")


def test_a_layer_that_cannot_be_converted_is_refused() -> None:
    shown = {"class_name": "__keras_tensor__", "config": {"keras_history": ["input", 0, 0]}}

    def model(kind: str, **how: object) -> dict[str, object]:
        start = {"class_name": "InputLayer", "config": {"name": "input", "batch_shape": [None, 8, 8, 3]}}
        config = {"name": "x", **how}
        last = {"class_name": kind, "module": "keras.layers", "config": config, "inbound_nodes": [{"args": [shown]}]}
        return {"layers": [start, last]}

    cases = {
        "a layer of class Lambda": model("Lambda"),
        "the activation 'softsign'": model("Activation", activation="softsign"),
        "channels first": model("Flatten", data_format="channels_first"),
        "uneven sides": model("AveragePooling2D", pool_size=[3, 3], strides=[2, 2], padding="same"),
        "a threshold": model("ReLU", threshold=0.5, max_value=None, negative_slope=0.0),
    }
    for said, config in cases.items():
        with pytest.raises(SourceError, match=said):
            walk(config, [])


def test_tensors_must_be_those_of_the_graph() -> None:
    layer = {"name": "a", "op": "dense", "from": ["input"], "in": 2, "out": 3, "bias": False}
    graph = {
        "schema": 1,
        "name": "tiny",
        "input": [1, 1, 2],
        "layers": [layer],
        "final": "a",
        "pool": "a",
        "scores": None,
    }
    with pytest.raises(SourceError, match="found ValueError: schema 2"):
        build({**graph, "schema": 2}, {})
    with pytest.raises(SourceError, match="1 missing"):
        build(graph, {})
    with pytest.raises(SourceError, match=r"layers.a.weight \(3, 3\) for \(3, 2\)"):
        build(graph, {"layers.a.weight": torch.zeros(3, 3)})
