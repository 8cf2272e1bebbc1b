"""Networks of keras.applications in torch: they give what Keras's own model gives, learn, stay frozen and convert.

These tests compare with Keras's own model on its torch backend at small sizes; that Keras itself is right about its
released weights they cannot see.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from keras_models import features_of, photos, randomise
from numpy.typing import NDArray

from headstart.base.errors import SourceError
from headstart.engines.environment import without_tensorflow
from headstart.sources.keras.applications import build_application, import_keras
from headstart.sources.keras.layers import parts_of
from headstart.sources.keras.network import KerasNetwork, weights_of
from headstart.sources.networks.source import TorchSource
from headstart.sources.providers.keras import inspect
from headstart.sources.registry import open_source

torch = pytest.importorskip("torch")
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # Keras saves so
    pytest.mark.thorough,
]
QUICK = [("VGG16", 32), ("MobileNet", 75), ("MobileNetV3Small", 64), ("ConvNeXtTiny", 32)]
FAMILIES = [
    ("Xception", 71),
    ("VGG19", 32),
    ("ResNet50", 64),
    ("ResNet50V2", 64),
    ("InceptionV3", 75),
    ("InceptionResNetV2", 75),
    ("MobileNetV2", 64),
    ("MobileNetV3Large", 64),
    ("DenseNet121", 64),
    ("EfficientNetB0", 64),
    ("EfficientNetV2B0", 64),
]


@pytest.fixture(scope="module", autouse=True)
def _keras() -> Iterator[None]:
    import_keras()
    with without_tensorflow():
        yield


def values_for(name: str, size: int) -> NDArray[np.float32]:
    """Return two pictures of noise in the range of values that the application wants, channels last."""
    values = np.random.default_rng(1).uniform(-1, 1, (2, size, size, 3)).astype(np.float32)
    return values * (127.5 if name.startswith(("EfficientNet", "ConvNeXt", "MobileNetV3")) else 1.0)


def pooled(network: Any, values: NDArray[np.float32]) -> Any:
    final = network.forward_features(torch.from_numpy(values).permute(0, 3, 1, 2))
    return network.forward_head(final, pre_logits=True)


def cosines(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    return (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)


def check_family(name: str, size: int) -> None:
    """Check that a network gives Keras's features, that its head end learns, and that the rest stays to the bit."""
    model = randomise(build_application(name, size=size, top=False))
    network = KerasNetwork(model).eval()
    values = values_for(name, size)
    expected = features_of(model, values)
    with torch.inference_mode():
        features = pooled(network, values).numpy()
    assert expected.std() > 0.01  # random statistics keep a deep network from saying nothing
    assert np.abs(features - expected).max() <= 1e-4 * np.abs(expected).max()
    assert cosines(features, expected).min() >= 0.99999

    names = [key for key, _ in network.named_parameters()]
    frozen = {key: tensor.clone() for key, tensor in network.state_dict().items() if key not in names[-4:]}
    for key, weight in network.named_parameters():
        weight.requires_grad_(key in names[-4:])
    torch.manual_seed(0)
    head = torch.nn.Linear(expected.shape[1], 2)
    learning = [*head.parameters(), *(weight for weight in network.parameters() if weight.requires_grad)]
    rate = 1e-4 / max(1.0, float(expected.std()) ** 2)  # small enough for features of any size
    optimiser, losses = torch.optim.SGD(learning, lr=rate), []
    for _ in range(2):
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(head(pooled(network, values)), torch.tensor([0, 1]))
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[1] < losses[0]
    assert all(torch.equal(network.state_dict()[key], tensor) for key, tensor in frozen.items())


def check_conversion(name: str, size: int) -> None:
    """Check that OpenVINO gives the features of torch for every block of a network."""
    from headstart.engines.openvino import OpenVinoEngine, convert
    from headstart.engines.torch import TorchEngine

    source = open_source(f"keras:{name}", weights="none", size=size)
    prepared = source.prepare_all(photos(2, side=size))
    converted = OpenVinoEngine(convert(source.network()), precision="f32").run(prepared)
    assert cosines(converted, TorchEngine(source.network().module(), batch=2).run(prepared)).min() >= 0.99999


@pytest.mark.parametrize(("name", "size"), QUICK)
def test_a_network_is_that_of_keras_learns_and_stays_frozen(name: str, size: int) -> None:
    check_family(name, size)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size"), FAMILIES)
def test_networks_of_every_family_are_those_of_keras(name: str, size: int) -> None:
    check_family(name, size)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size"), [*QUICK, *FAMILIES])
def test_networks_of_every_family_convert_to_openvino(name: str, size: int) -> None:
    check_conversion(name, size)


@pytest.mark.parametrize("name", ["MobileNet", "MobileNetV3Small"])
def test_the_classifier_is_that_of_keras(name: str) -> None:
    model = randomise(build_application(name, size=64, top=True))
    values = values_for(name, 64)
    with torch.inference_mode():
        scores = KerasNetwork(model).eval()(torch.from_numpy(values).permute(0, 3, 1, 2))
    np.testing.assert_allclose(scores.softmax(1).numpy(), features_of(model, values), rtol=1e-3, atol=1e-6)


def test_stages_are_the_last_maps_of_each_resolution_through_which_everything_flows() -> None:
    # Golden: as they were when headstart wrote out the layers of Keras's configuration by hand (version 0.1).
    found = inspect("Xception", 71, top=False)
    modules = {tap.name: (tap.module.removeprefix("layers."), tap.width) for tap in (*found.taps, *found.more)}
    assert [tap.name for tap in found.taps] == [
        *("pool", "stage2.avg", "stage3.avg", "stage4.avg", "stage5.avg", "stage4.max", "stage5.max", "final.max")
    ]
    assert [modules[f"stage{at}.max"] for at in range(6)] == [
        ("block1_conv1_act", 32),
        ("block1_conv2_act", 64),
        ("add", 128),
        ("add_1", 256),
        ("add_10", 728),
        ("block14_sepconv2_depthwise", 1536),
    ]
    assert (modules["pool"], modules["flatten"]) == (("", 2048), ("", 2048 * 3 * 3))
    assert found.parameters == 20_806_952


def test_names_do_not_depend_on_what_keras_has_built_before() -> None:
    first, second = (KerasNetwork(build_application("Xception", size=71, top=False, shape_only=True)) for _ in range(2))
    assert list(first.layers) == list(second.layers)
    assert {"conv2d_2", "batch_normalization_37", "add_11", "block14_sepconv2"} <= set(first.layers)


def test_weights_are_named_by_their_places_in_a_file(tmp_path: Any) -> None:
    from headstart.sources.checkpoints.keras_file import read_arrays

    model = build_application("ConvNeXtTiny", size=32, top=False)
    model.save_weights(tmp_path / "w.weights.h5")
    arrays, weights = read_arrays(tmp_path / "w.weights.h5"), weights_of(model)
    assert arrays.keys() == weights.keys()
    assert all(np.array_equal(arrays[place], weight.numpy()) for place, weight in weights.items())


def test_a_layer_without_a_counterpart_is_refused() -> None:
    keras = import_keras()
    source = keras.Input((8, 8, 3))
    layers = {
        "of class Lambda": keras.layers.Lambda(lambda x: x),
        "activation softsign": keras.layers.Activation("softsign"),
        "uneven sides": keras.layers.AveragePooling2D(3, 2, padding="same"),
    }
    for message, layer in layers.items():
        layer(source)
        with pytest.raises(SourceError, match=message):
            parts_of(layer)


def test_a_source_of_keras_can_be_copied_and_changed() -> None:
    source = open_source("keras:MobileNet", weights="none", size=32)
    assert isinstance(source, TorchSource)
    weight = np.zeros((32, 3, 3, 3), np.float32)
    changed = source.with_weights({"layers.conv1.weight": weight})
    assert not changed.module().get_submodule("layers.conv1").weight.any()
    assert source.module().get_submodule("layers.conv1").weight.any()
