"""A source behaves as a scikit-learn transformer: cloned, pickled, searched over, and computed once."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline

from headstart.base.errors import UsageError
from headstart.sklearn import SourceFeatures
from headstart.sources.registry import open_source


@pytest.fixture(autouse=True)
def warm(warm_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(warm_cache))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return 20 small pictures: ten with stripes down, then ten with stripes across."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for number in range(20):
        pixels = rng.integers(0, 90, size=(64, 64, 3), dtype=np.uint8)
        if number < 10:
            pixels[:, :: rng.integers(6, 10)] += 150
        else:
            pixels[:: rng.integers(6, 10)] += 150
        Image.fromarray(pixels).save(folder / f"{number:02}.png")
    return sorted(map(str, folder.iterdir()))


LABELS = ["down"] * 10 + ["across"] * 10


def test_shapes_and_names(photos: list[str]) -> None:
    features = SourceFeatures()
    x = features.fit_transform(photos)
    assert x.shape == (20, 1280)
    assert x.dtype == np.float32
    assert features.n_features_out_ == 1280
    names = features.get_feature_names_out()
    assert len(names) == 1280
    assert names[0] == "pool_0"
    wide = SourceFeatures(layer="joined").fit(photos)
    assert wide.transform(photos[:2]).shape == (2, wide.n_features_out_)
    assert len(wide.get_feature_names_out()) == wide.n_features_out_
    assert SourceFeatures().transform([]).shape == (0, 1280)


def test_arrays_and_sources_do_as_well(photos: list[str]) -> None:
    arrays = np.stack([np.asarray(Image.open(path)) for path in photos])
    x = SourceFeatures(open_source("packaged:efficientnet-lite0")).transform(arrays)
    np.testing.assert_array_equal(x, SourceFeatures().transform(np.array(photos)))


def test_cloned_and_pickled(photos: list[str]) -> None:
    features = SourceFeatures(layer="stage4.avg").fit(photos)
    assert features.get_params() == {
        "engine": "auto",
        "layer": "stage4.avg",
        "source": "packaged:efficientnet-lite0",
    }
    again = pickle.loads(pickle.dumps(clone(features)))
    np.testing.assert_array_equal(again.transform(photos[:3]), features.transform(photos[:3]))


def test_cross_validation_and_grid_search(photos: list[str]) -> None:
    pipeline = make_pipeline(SourceFeatures(), LogisticRegression(max_iter=500))
    assert cross_val_score(pipeline, photos, LABELS, cv=4).mean() >= 0.9
    search = GridSearchCV(
        pipeline, {"sourcefeatures__layer": ["pool", "joined"], "logisticregression__C": [0.1, 10]}, cv=2
    )
    search.fit(np.array(photos), LABELS)
    assert search.best_score_ >= 0.9
    assert search.predict(photos[:1]).tolist() == ["down"]


def test_what_cannot_be(photos: list[str], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="layer"):
        SourceFeatures(layer="nowhere").fit(photos)
    with pytest.raises(UsageError, match="provider"):
        SourceFeatures("nowhere:x").fit(photos)
    with pytest.raises(UsageError, match="must be a list"):
        SourceFeatures().fit(photos[0])
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(UsageError, match=r"broken\.png"):
        SourceFeatures().transform([photos[0], str(tmp_path / "broken.png")])
