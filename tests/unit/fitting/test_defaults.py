"""Of several default sources the one that predicts unseen examples best is kept: planted where only one can hear."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from recordings import recording

from headstart import fit, load
from headstart.base.progress import Progress
from headstart.data.modality import MODALITIES
from headstart.fitting.defaults import further_defaults
from headstart.run.clock import Clock
from headstart.run.options import FitOptions
from headstart.run.prepare import prepare

RATE = 16_000


@pytest.fixture(scope="module")
def glides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write glides up and down between 5 and 7 kHz, in noise.

    A network that hears up to 3.8 kHz cannot tell them apart, nor can what does not tell first from last.
    """
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("glides")
    for name, way in (("down", -1), ("up", 1)):
        (folder / name).mkdir()
        for at in range(20):
            time = np.arange(RATE // 2) / RATE
            hertz = 6_000 + 100 * rng.normal() + way * 1_000 * (4 * time - 1)
            sound = np.sin(2 * np.pi * np.cumsum(hertz) / RATE) + 0.3 * rng.normal(size=len(time))
            (folder / name / f"{at}.wav").write_bytes(recording(0.2 * sound, rate=RATE))
    return folder


@pytest.mark.thorough
def test_the_source_that_hears_what_differs_is_kept_and_shipped(glides: Path, tmp_path: Path) -> None:
    model = fit(glides, out=tmp_path / "out")
    assert model.report["source"] == "spectrogram:packaged:efficientnet-lite0"
    assert model.report["test"]["accuracy"]["value"] == 1.0
    tried = {row["source"]: row for row in model.report["sources_tried"]}
    assert list(tried) == ["packaged:speech", model.report["source"], "simple:mfcc"]
    assert [row["chosen"] for row in tried.values()] == [False, True, False]
    assert tried[model.report["source"]]["log_loss"] < min(
        tried[uri]["log_loss"] for uri in ("packaged:speech", "simple:mfcc")
    )
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Choice of the source" in page and all(uri in page for uri in tried)
    again = load(tmp_path / "out" / "bundle").predict([glides / "down" / "0.wav", glides / "up" / "0.wav"])
    assert list(again) == ["down", "up"]


@pytest.mark.slow
def test_where_the_cepstra_alone_hear_what_differs_they_are_shipped(tmp_path: Path) -> None:
    """Noise that is louder by one decibel from 1 to 2 kHz: a mean over time tells it, no network hears it."""
    rng, folder = np.random.default_rng(0), tmp_path / "noises"
    for name, gain in (("bright", 10 ** (0.5 / 20)), ("dull", 10 ** (-0.5 / 20))):
        (folder / name).mkdir(parents=True)
        for at in range(30):
            spectrum = np.fft.rfft(rng.normal(size=RATE * 2))
            spectrum[len(spectrum) // 8 : len(spectrum) // 4] *= gain
            (folder / name / f"{at}.wav").write_bytes(recording(0.03 * np.fft.irfft(spectrum), rate=RATE))
    model = fit(folder, out=tmp_path / "out")
    tried = {row["source"]: row["log_loss"] for row in model.report["sources_tried"]}
    assert model.report["source"] == "simple:mfcc" == min(tried, key=tried.__getitem__), tried
    assert model.report["test"]["accuracy"]["value"] > 0.9
    again = load(tmp_path / "out" / "bundle").predict([folder / "bright" / "0.wav", folder / "dull" / "0.wav"])
    assert list(again) == ["bright", "dull"]


@pytest.mark.parametrize(
    "options",
    [{"source": "packaged:speech"}, {"layer": "pool"}, {"budget": 60.0}, {"tune": "none", "budget": 9.0}],
)
def test_what_is_named_or_hurried_is_taken_alone(glides: Path, options: dict[str, object]) -> None:
    prepared = prepare(glides, FitOptions(), Progress(), Clock())
    assert further_defaults(prepared, FitOptions()) == MODALITIES["sound"].further_sources != ()
    assert further_defaults(prepared, FitOptions(**options)) == ()
