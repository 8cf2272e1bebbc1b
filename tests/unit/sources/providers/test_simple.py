"""`simple:` reads what the baseline of a kind reads, without a network; the truth is planted."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fitted import fitted_on, prepared_on
from PIL import Image
from toy_texts import sentences, write_csv

import headstart as hs
from headstart.base.errors import BundleError, SourceError
from headstart.data.images.preprocessing import Preprocessing, small_pixels
from headstart.fitting.predictor import shipped_predictor
from headstart.fitting.result import build_model, build_result, measure
from headstart.sources.providers.simple import SimpleSource
from headstart.sources.registry import open_source


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_pixels_are_averaged_over_boxes_as_the_baseline_has_them() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    source = SimpleSource("pixels", Preprocessing(size=(32, 32), resize=None))
    x = source.encode([png(photo)])
    np.testing.assert_array_equal(x[0], small_pixels(photo).astype(np.float32) / np.float32(255))
    assert source.info.parameters == 0 and source.info.layers == ("pool",) and source.info.feature_size == 768


def test_recordings_give_mean_and_spread_of_their_cepstra_and_texts_nothing() -> None:
    tone = np.sin(np.arange(16_000) / 5).astype(np.float32)
    x = open_source("simple:mfcc").encode([(tone, 16_000), (tone[:4000], 16_000)])
    assert x.shape == (2, 40) and np.isfinite(x).all() and x.any()
    assert open_source("simple:words").encode(["a b", "c"]).tolist() == [[0.0], [0.0]]


@pytest.mark.parametrize("name", ["simple:pixel", "simple:pixels@2"])
def test_other_names_and_revisions_are_refused(name: str) -> None:
    with pytest.raises(SourceError, match=r"did you mean 'pixels'|no revisions"):
        open_source(name)


def test_there_is_nothing_to_tune() -> None:
    with pytest.raises(SourceError, match="must be a network"):
        open_source("simple:pixels").module()


def test_where_a_source_knows_nothing_its_words_alone_are_shipped_and_load_again(tmp_path: Path, cache: Path) -> None:
    """Every word has the same vector, so that the source tells no text from another."""
    rows = sentences(20)
    words = sorted({word for text, _ in rows for word in text.lower().split()})
    (tmp_path / "vectors.txt").write_text("".join(f"{word} 1.0 2.0 3.0\n" for word in words))
    source = f"words:{tmp_path / 'vectors.txt'}"
    fitted = fitted_on(prepared_on(write_csv(tmp_path / "texts.csv", rows), source, engine="auto"))
    shipped = shipped_predictor(fitted, named=False)
    assert shipped.source.info.uri == "simple:words"
    assert any("The model is the simple baseline, TF-IDF" in note for note in shipped.notes)
    np.testing.assert_array_equal(shipped.probabilities, fitted.baseline.probabilities)
    kept = replace(fitted, predictor=shipped)
    result = build_result(kept, measure(kept, seed=0), tune="none", seed=0, seconds={})
    model = build_model(kept, result, {})
    assert result["source"] == "simple:words"
    model.save(tmp_path / "bundle")
    again = hs.load(tmp_path / "bundle")
    texts = [text for text, _ in rows[::9]]
    np.testing.assert_array_equal(again.predict_proba(texts), model.predict_proba(texts))
    card = (tmp_path / "bundle" / "README.md").read_text()
    assert "without a pretrained network" in card and "needs no network" in card


def test_a_bundle_of_pixels_reads_photos_as_they_were_read_and_refuses_what_is_no_preprocessing(
    tmp_path: Path, cache: Path
) -> None:
    rng = np.random.default_rng(1)
    photos = [rng.integers(0, 256, (40, 60, 3), dtype=np.uint8) // 3 + 85 * (row % 2) for row in range(40)]
    model = hs.fit((photos, [str(row % 2) for row in range(40)]), source="simple:pixels")
    assert model.report["source"] == "simple:pixels" and model.report["engine"] == "numpy-f32"
    model.save(tmp_path / "bundle")
    np.testing.assert_array_equal(
        hs.load(tmp_path / "bundle").predict_proba(photos[:4]), model.predict_proba(photos[:4])
    )
    manifest = (tmp_path / "bundle" / "manifest.json").read_text()
    (tmp_path / "bundle" / "manifest.json").write_text(manifest.replace("224", "0"))
    with pytest.raises(BundleError):
        hs.load(tmp_path / "bundle")
