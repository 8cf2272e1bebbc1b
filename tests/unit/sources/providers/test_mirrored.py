"""Photos seen from both sides: the mean of the features of both, in one network; and sources at another size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx_nets import SIDE, convnet

from headstart.base.errors import SourceError, UsageError
from headstart.fitting.fit import fit
from headstart.model import load
from headstart.sources.providers.mirrored import MirroredSource
from headstart.sources.registry import open_source
from headstart.testing import ToySource, toy_photos

SMALL = "packaged:efficientnet-lite0@32px"


def photos(side: int, count: int = 3) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8))


def mirrored(pictures: list[np.ndarray]) -> list[np.ndarray]:
    return [np.ascontiguousarray(picture[:, ::-1]) for picture in pictures]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the URI of a network that takes pictures of any size, and does not crop those of its own."""
    path = tmp_path_factory.mktemp("graph") / "net.onnx"
    convnet(path, shape=("n", 3, "h", "w"))
    path.with_name("net.onnx.preprocessing.json").write_text(f'{{"size": [{SIDE}, {SIDE}], "resize": {SIDE}}}')
    return f"onnx:{path}"


@pytest.mark.thorough
def test_features_are_the_mean_of_both_views(network: str) -> None:
    inner, both = open_source(network), open_source(f"mirrored:{network}")
    pictures = photos(SIDE)
    for layer in ("joined", "flatten"):
        (first, blocks), (second, _) = (inner.at(layer).compute(each) for each in (pictures, mirrored(pictures)))
        computed, own = both.at(layer).compute(pictures)
        np.testing.assert_allclose(computed, (first + second) / 2, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(computed, both.at(layer).compute(mirrored(pictures))[0], rtol=1e-4, atol=1e-5)
        assert own == blocks and both.at(layer).network().fingerprint != inner.at(layer).network().fingerprint
    np.testing.assert_array_equal(both.classify(pictures), inner.classify(pictures))
    small = open_source(f"{network}@64px")
    assert (small.info.input["size"], small.info.input["resize"]) == ((64, 64), 64)
    assert small.network().fingerprint != inner.network().fingerprint


def test_what_it_says_of_itself_is_that_of_the_source_inside() -> None:
    inner, both = open_source(SMALL), open_source(f"mirrored:{SMALL}")
    assert (both.info.uri, both.views, inner.views) == (f"mirrored:{SMALL}", 2, 1)
    assert (both.info.parameters, both.info.layers, both.info.sha256) == (
        inner.info.parameters,
        inner.info.layers,
        inner.info.sha256,
    )
    with pytest.raises(SourceError, match=f"must be seen from one side to be tuned; found two views; name {SMALL}"):
        both.module()


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("mirrored:packaged:wordllama", "must name one network of photos; found packaged:wordllama"),
        (f"mirrored:mirrored:{SMALL}", "must name one network of photos"),
        (f"mirrored:mean:{SMALL}+packaged:efficientnet-lite1", "must name one network of photos"),
        ("mirrored:simple:pixels", "must name one network of photos; found simple:pixels"),
        ("mirrored:packaged:lite", "packaged: sources are"),
        (f"spectrogram:mirrored:{SMALL}", "which reads photos from both sides"),
        ("packaged:wordllama@64px", "must be a network of photos that takes pictures of any size; found @64px"),
        ("packaged:speech@64px", "must be a network of photos"),
    ],
)
def test_what_has_no_second_view_or_no_free_size_is_refused(uri: str, says: str) -> None:
    with pytest.raises(SourceError, match=says):
        open_source(uri)


def test_a_size_that_is_asked_for_twice_or_beside_the_uri_is_refused() -> None:
    with pytest.raises(UsageError, match=r"write packaged:efficientnet-lite0@64px$"):
        open_source("packaged:efficientnet-lite0", size=64)
    with pytest.raises(UsageError, match="has a size of its own; found size 64; leave it out"):
        open_source(SMALL, size=64)


@pytest.mark.slow
def test_a_bundle_opens_the_same_views_at_the_same_size(network: str, tmp_path: Path) -> None:
    data = toy_photos(tmp_path / "photos", per_class=8)
    uri = f"mean:mirrored:{network}@48px+{network}"
    model = fit(data, source=uri)
    assert model.report["source"] == uri
    model.save(tmp_path / "bundle")
    again = load(tmp_path / "bundle")
    inputs = [(member.info.input["size"], member.info.input["resize"]) for member in again.source.members]
    assert inputs == [((48, 48), 48), ((SIDE, SIDE), SIDE)]
    np.testing.assert_allclose(again.predict_proba(photos(40)), model.predict_proba(photos(40)), atol=1e-6)


@pytest.mark.slow
def test_a_torch_network_sees_both_sides_too() -> None:
    from headstart.engines.torch import TorchEngine

    pictures = np.stack(photos(32))
    inner, both = (
        TorchEngine(source.network().module()) for source in (ToySource(), MirroredSource("m:x", ToySource()))
    )
    expected = (inner.run(pictures) + inner.run(np.ascontiguousarray(pictures[:, :, ::-1]))) / 2
    np.testing.assert_allclose(both.run(pictures), expected, atol=1e-5)
