"""Layers that are extracted only when asked for: early stages, and the last map flattened."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import headstart as hs
from headstart.base.errors import UsageError
from headstart.engines.torch import TorchEngine
from headstart.testing import ToySource, toy_photos


def blocks_of(source: ToySource) -> list[str]:
    return [block.name for block in source.network().blocks]


def test_a_layer_outside_the_standard_blocks_is_the_network_s_only_output() -> None:
    source = ToySource()
    standard = blocks_of(source)
    assert "flatten" not in standard
    assert "stage0.max" not in standard
    assert blocks_of(source.at("flatten")) == ["flatten"]
    assert blocks_of(source.at("stage0.max+pool")) == ["stage0.max", "pool"]
    for layer in ("auto", "pool", "joined", "stage1.avg+pool"):
        assert blocks_of(source.at(layer)) == standard
        assert source.at(layer).network().fingerprint == source.network().fingerprint
    asked = [source.at(layer).network().fingerprint for layer in ("auto", "flatten", "stage0.max", "flatten+pool")]
    assert len(set(asked)) == 4


def test_flatten_holds_every_number_of_the_last_map() -> None:
    source = ToySource()
    pictures = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    found = TorchEngine(source.at("flatten").network().module()).run(pictures)
    with torch.inference_mode():
        final = source.module().forward_features(torch.from_numpy(pictures).permute(0, 3, 1, 2) / 127.5 - 1)
    assert found.shape == (3, 24 * 4 * 4)
    np.testing.assert_allclose(found, final.flatten(1).numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("layer", "width"),
    [("auto", 24), ("pool", 24), ("joined", 24 + 8 + 16 + 24 + 16 + 24), ("flatten", 384), ("stage1.avg+flatten", 400)],
)
def test_the_width_of_the_features_is_that_of_the_layer(layer: str, width: int) -> None:
    source = ToySource().at(layer)
    assert source.info.feature_size == width
    assert source.encode([np.zeros((32, 32, 3), np.uint8)]).shape == (1, width)


def test_one_body_serves_two_layers_and_keeps_neither_s_maps() -> None:
    source = ToySource()
    pictures = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    flat, standard = (source.at(layer).network().module() for layer in ("flatten", "auto"))
    first = TorchEngine(standard).run(pictures)
    TorchEngine(flat).run(pictures)
    np.testing.assert_array_equal(TorchEngine(standard).run(pictures), first)
    assert not any(module._forward_hooks for module in source.module().modules())


def test_a_wrong_layer_is_answered_with_all_there_are() -> None:
    with pytest.raises(UsageError) as caught:
        ToySource().at("nonsense")
    for name in ("pool", "joined", "stage0.avg", "stage0.max", "stage2.max", "flatten"):
        assert name in str(caught.value)
    with pytest.raises(UsageError, match="'joined'"):
        ToySource().at("flatten+joined")


@pytest.mark.parametrize(("layer", "width"), [("flatten", 384), ("flatten+pool", 408), ("stage0.max+stage2.avg", 32)])
def test_fit_predict_save_and_load_with_a_layer_asked_for(layer: str, width: int, tmp_path: Path) -> None:
    photos = toy_photos(tmp_path / "photos", per_class=15)
    source = ToySource()
    model = hs.fit(photos, source=source, layer=layer, engine="torch")
    items = [photos / "cat" / "0000.jpg", photos / "dog" / "0001.png"]
    assert sum(block.width for block in model.blocks) == width
    assert model.report["layer"] == layer
    assert model.report["test"]["accuracy"]["value"] >= 0.8
    assert model.predict(items) == ["cat", "dog"]
    features = hs.SourceFeatures(source, layer=layer, engine="torch").transform(items)
    assert features.shape == (2, width)


@pytest.mark.thorough
def test_a_bundle_opens_its_source_at_its_layer(tmp_path: Path) -> None:
    photos = toy_photos(tmp_path / "photos", per_class=15)
    model = hs.fit(photos, source="packaged:efficientnet-lite0", layer="stage1.avg", engine="torch")
    model.save(tmp_path / "bundle")
    again = hs.load(tmp_path / "bundle", engine="torch")
    assert again.source.layer == "stage1.avg"
    items = [photos / "cat" / "0000.jpg"]
    np.testing.assert_array_equal(again.predict_proba(items), model.predict_proba(items))
