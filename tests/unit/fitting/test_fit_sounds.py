"""Recordings from end to end: a source of one's own, `fit`, tuning and `predict` on it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forged import resign
from numpy.typing import NDArray
from recordings import recording, tone

import headstart as hs
from headstart.base.errors import DataError, UsageError
from headstart.base.progress import Progress
from headstart.cli.sources import as_table, as_text
from headstart.data.audio.spectrogram import AudioPreprocessing
from headstart.data.readers.open import open_inputs
from headstart.fitting.fit import fit
from headstart.model import Model, load
from headstart.pretraining.options import PretrainOptions
from headstart.pretraining.pretrain import pretrain, run_pretrain
from headstart.sources.catalogue import CatalogueRow
from headstart.sources.registry import open_source
from headstart.testing import toy_photos

pytestmark = pytest.mark.thorough

RESNET: dict[str, Any] = {"size": 32, "learning_rate": 0.01, "batch_size": 8, "augment": "none"}


def glide(rng: np.random.Generator, *, rising: bool) -> NDArray[np.float64]:
    """Return a gliding tone: mean and spread of its spectrum say nothing of its direction."""
    start, seconds = rng.uniform(300, 500), rng.uniform(0.28, 0.32)
    time = np.arange(round(seconds * 8_000)) / 8_000
    sound = np.sin(2 * np.pi * (start * time + 2_000 * time**2)) + 0.05 * rng.normal(size=len(time))
    return 0.5 * rng.uniform(0.2, 1.0) * (sound if rising else sound[::-1])


def glides(folder: Path, per_class: int = 60) -> Path:
    rng = np.random.default_rng(0)
    for name in ("falling", "rising"):
        (folder / name).mkdir(parents=True)
        for at in range(per_class):
            sound = glide(rng, rising=name == "rising")
            (folder / name / f"{at}.wav").write_bytes(recording(sound, rate=8_000))
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of gliding tones."""
    return glides(tmp_path_factory.mktemp("data") / "glides")


@pytest.fixture(scope="module")
def developed(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of ResNet-9 developed on them."""
    folder = tmp_path_factory.mktemp("runs") / "ears"
    pretrain(data, arch="arch:resnet9", epochs=4, **RESNET, out=folder)
    return folder


def test_it_passes_the_gate_where_the_order_of_sounds_tells(developed: Path) -> None:
    result = json.loads((developed / "result.json").read_text())
    assert result["task"] == "audio-classification" and result["gate"]["passed"]
    assert result["gate"]["accuracy"]["value"] > 0.9 > result["gate"]["simple"]
    heard = result["spectrogram"]
    assert (heard["rate"], heard["mels"], heard["hop"]) == (8_000, 32, 80)
    assert result["size"] == [32, heard["frames"]] and 0.3 <= heard["frames"] * 80 / 8_000 <= 0.4
    card = (developed / "README.md").read_text()
    assert "log-mel spectrograms of 32 bands" in card and "MFCC with logistic regression" in card
    assert " test recordings | |" in card and "photo" not in card.lower()
    assert "headstart fit YOUR_RECORDINGS --source file:FOLDER" in card


def test_the_folder_opens_as_a_source_that_hears(developed: Path, data: Path) -> None:
    source = open_source(f"file:{developed}")
    assert source.info.kind == "sound" and isinstance(source.preprocessing, AudioPreprocessing)
    assert source.info.input["spectrogram"]["rate"] == 8_000
    files = sorted(data.rglob("*.wav"))[::8]
    found = source.classify(files).argmax(axis=1)
    assert np.mean([("falling", "rising")[at] == file.parent.name for at, file in zip(found, files, strict=True)]) > 0.9
    pair = (tone(rate=44_100).astype(np.float32), 44_100)
    assert source.encode([pair, recording(tone())]).shape == (2, 256)
    with pytest.raises(UsageError, match="looks like text"):
        source.encode([b"hello"])


def test_a_network_of_one_size_hears_a_square(data: Path, tmp_path: Path) -> None:
    options = PretrainOptions(arch="arch:lenet5", epochs=1, force=True, seconds=0.5, out=tmp_path / "o")
    found = run_pretrain(data, options, Progress())
    how = found.network.preprocessing
    assert isinstance(how, AudioPreprocessing) and how.size == (32, 32) and how.channels == "grey"
    assert how.spectrogram.seconds == pytest.approx(0.5, rel=0.02)
    assert "--seconds 0.5" in found.inputs.command


def test_broken_recordings_are_skipped_and_counted__AUD_04_AUD_05(data: Path, tmp_path: Path) -> None:
    labelled = [(path.read_bytes(), path.parent.name) for path in sorted(data.rglob("*.wav"))]
    labelled[3] = labelled[3][0][:600], labelled[3][1]
    labelled[4] = recording(np.zeros(0)), labelled[4][1]
    items, labels = zip(*labelled, strict=True)
    files = []
    for at, item in enumerate(items):
        files.append(tmp_path / f"{at}.wav")
        files[-1].write_bytes(item)
    options = PretrainOptions(arch="arch:lenet5", epochs=1, force=True, out=tmp_path / "o")
    found = run_pretrain((files, list(labels)), options, Progress())
    assert found.result["examples"]["skipped"] == 2
    assert {one.reason.split(" (")[0] for one in found.inputs.scan.dataset.skipped} == {"truncated", "no samples"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"horizontal_flip": True}, "--horizontal-flip is for photos"),
        ({"size": 20}, "--size must be one"),
        ({"seconds": -1.0}, "--seconds"),
    ],
)
def test_what_makes_no_sense_is_refused(data: Path, tmp_path: Path, options: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        run_pretrain(data, PretrainOptions(arch="arch:lenet5", **options, out=tmp_path / "o"), Progress())


def test_seconds_are_of_recordings_and_texts_are_neither(tmp_path: Path) -> None:
    pictures = [np.full((32, 32), level, np.uint8) for level in range(8)]
    lenet = PretrainOptions(arch="arch:lenet5", out=tmp_path)
    with pytest.raises(UsageError, match="--seconds is for recordings"):
        run_pretrain((pictures, list("aabbaabb")), lenet.changed(seconds=1), Progress())
    with pytest.raises(DataError, match="photos or recordings"):
        run_pretrain((["one", "two"], ["a", "b"]), lenet, Progress())


@pytest.fixture(scope="module")
def fitted(developed: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Path]:
    """Return a model fitted on recordings with that source, and the folder of its run."""
    folder = tmp_path_factory.mktemp("runs") / "fit"
    return fit(data, source=f"file:{developed}", engine="torch", out=folder), folder


def test_fit_on_recordings(fitted: tuple[Model, Path]) -> None:
    result = json.loads((fitted[1] / "result.json").read_text())
    assert result["task"] == "audio-classification" and result["test"]["accuracy"]["value"] > 0.9
    assert result["baselines"]["simple"] < result["test"]["accuracy"]["value"]
    assert result["examples"]["train"] + result["examples"]["test"] == 120
    page = (fitted[1] / "report.html").read_text()
    assert "MFCC with logistic regression" in page and "photo" not in re.sub('base64,[^"]+', "", page.lower())
    assert "media-src data:" in page
    shown = re.findall(
        r'<img src="data:image/png;base64,[^"]+" alt="">.*?<audio controls[^>]+src="data:audio/wav', page, re.DOTALL
    )
    assert len(shown) >= 12 and page.count('<p class="duration">') == len(shown) and "1 kHz" in page


def test_a_bundle_of_recordings_predicts_what_the_model_did(fitted: tuple[Model, Path], data: Path) -> None:
    model, folder = fitted
    again = load(folder / "bundle", engine="torch")
    files = sorted(data.rglob("*.wav"))[::10]
    np.testing.assert_allclose(again.predict_proba(files), model.predict_proba(files), atol=1e-5)
    assert np.mean([name == file.parent.name for name, file in zip(again.predict(files), files, strict=True)]) > 0.8
    said = again.predict_dataset(open_inputs([data / "rising"], kind="sound"))
    assert len(said.ids) == 60
    assert "audio-classification" in (folder / "bundle" / "README.md").read_text()


def test_broken_recordings_are_skipped_by_fit_and_predict__AUD_05_AUD_09(
    developed: Path, data: Path, tmp_path: Path
) -> None:
    files = [(path, path.parent.name) for path in sorted(data.rglob("*.wav"))]
    cut, odd = tmp_path / "cut.wav", tmp_path / "odd.wav"
    cut.write_bytes(files[0][0].read_bytes()[:500])
    odd.write_bytes(recording(np.full(900, np.nan), coding="FLOAT"))
    paths, labels = zip(*files, (cut, "rising"), (odd, "falling"), strict=True)
    model = fit((list(paths), list(labels)), source=f"file:{developed}", engine="torch")
    assert model.report["examples"]["skipped"] == 2
    said = model.predict_dataset(open_inputs([cut, files[1][0]], kind="sound"))
    assert len(said.ids) == 1 and said.skipped[0].reason.startswith("truncated")


@pytest.mark.slow
def test_the_last_stage_learns_on_recordings(developed: Path, data: Path) -> None:
    settings: dict[str, Any] = {"tune": "last:1", "epochs": 2, "batch_size": 8, "augment": "strong"}
    model = fit(data, source=f"file:{developed}", engine="torch", **settings, labels_per_class=24)
    assert model.report["tune"] == "last:1" and "tuning" in model.report


def test_the_list_says_how_long_and_at_what_rate(developed: Path) -> None:
    info = open_source(f"file:{developed}").info
    assert "input rate" in as_text(info, "auto") and "8000" in as_text(info, "auto")
    assert "s at 8,000 Hz" in as_table([CatalogueRow(info.uri, "here", info)], 140)


@pytest.mark.slow
def test_compare_on_recordings(developed: Path, data: Path, tmp_path: Path) -> None:
    found = hs.compare(
        data,
        source=f"file:{developed}",
        labels_per_class=[10],
        seeds=2,
        budget="40s",
        engine="torch",
        out=tmp_path / "o",
    )
    assert not found.failures
    said = json.loads((tmp_path / "o" / "result.json").read_text())
    assert said["task"] == "audio-classification" and set(said["arms"]) == {"baseline", "scratch", "frozen", "tuned"}
    accuracy = {name: arm["accuracy"]["value"] for name, arm in said["arms"].items()}
    assert accuracy["frozen"] > 0.9 > accuracy["baseline"]  # gliding tones are so easy that scratch may learn them, too
    assert said["start"]["value"] == pytest.approx(accuracy["frozen"] - accuracy["scratch"])
    assert "recordings" in (tmp_path / "o" / "report.html").read_text()


def test_a_source_need_not_be_named(tmp_path: Path) -> None:
    model = fit(glides(tmp_path / "few", per_class=20), out=tmp_path / "out")
    assert model.source.info.uri == model.report["source"] == "packaged:speech"
    assert model.report["test"]["accuracy"]["value"] > 0.9 > model.report["baselines"]["simple"]
    new = glide(np.random.default_rng(9), rising=True), 8_000
    assert load(tmp_path / "out" / "bundle").predict([new]) == ["rising"]


def test_long_recordings_are_heard_whole_and_a_bundle_keeps_how(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    end = {"low": 300.0, "high": 2_000.0}
    items = [
        (np.concatenate([0.05 * rng.normal(size=20_000), tone(end[name] * rng.uniform(0.9, 1.1), rate=8_000)]), 8_000)
        for name in ("low", "high")
        for _ in range(16)
    ]
    labels = ["low"] * 16 + ["high"] * 16
    model = fit((items, labels), source="packaged:speech", hop=0.5, out=tmp_path / "out")
    opened = json.loads((tmp_path / "out" / "bundle" / "manifest.json").read_text())["source"]["opened"]
    assert opened == {"hop": 0.5}
    again = load(tmp_path / "out" / "bundle")
    np.testing.assert_array_equal(again.predict_proba(items[:3]), model.predict_proba(items[:3]))
    deaf = fit((items, labels), source="packaged:speech", hop=0)  # what tells them apart lies behind the first window
    assert model.report["test"]["accuracy"]["value"] > 0.85 > deaf.report["test"]["accuracy"]["value"]


def test_windows_are_asked_only_of_sources_that_have_them(developed: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"must read recordings to have windows; found hop=1.0"):
        open_source("arch:lenet5", weights="none", hop=1.0)
    with pytest.raises(UsageError, match=r"must be given windows of 0.3\d s; found window=5"):
        open_source(f"file:{developed}", window=5.0)
    with pytest.raises(UsageError, match=r"hop= must be 0 or at least 0.05 s; found 0.001"):
        open_source("packaged:speech", hop=0.001)
    own = open_source(f"file:{developed}")
    assert (
        isinstance(own.preprocessing, AudioPreprocessing)
        and own.preprocessing.hop == own.preprocessing.spectrogram.seconds
    )


@pytest.mark.slow
def test_a_bundle_of_the_time_before_whole_recordings_opens_as_it_was(
    developed: Path, tmp_path: Path, data: Path
) -> None:
    fit(data, source=f"file:{developed}", hop=0, out=tmp_path / "out")

    def older(manifest: dict[str, Any]) -> None:
        del manifest["preprocessing"]["hop"]
        for name in ("scale", "centred"):
            del manifest["preprocessing"]["spectrogram"][name]
        manifest["source"]["opened"].pop("hop")

    resign(tmp_path / "out" / "bundle", older)
    assert load(tmp_path / "out" / "bundle").source.preprocessing.hop == 0


def test_sources_of_another_kind_are_refused_in_one_line(developed: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="must read recordings; found arch:lenet5, which reads photos"):
        fit(data, source="arch:lenet5", weights="none")
    with pytest.raises(UsageError, match=r"must read photos; found file:.*, which reads recordings"):
        fit(toy_photos(tmp_path / "photos"), source=f"file:{developed}")
    with pytest.raises(UsageError, match="size= changes pictures"):
        fit(data, source=f"file:{developed}", tune="all", size=64)
