"""Log-mel spectrograms against an independent reference, and what they say of odd recordings."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from recordings import recording, tone

from headstart.base.errors import UsageError
from headstart.data.audio.spectrogram import (
    AudioPreprocessing,
    Spectrogram,
    audio_preprocessing,
    band_levels,
    cepstra,
    log_mel,
    loudest_part,
    mel_filters,
    preprocessing_from,
)
from headstart.data.images.preprocessing import Preprocessing

HOW = Spectrogram(rate=16_000, window=400, hop=160, fft=512, mels=64, frames=96)
GREY = Preprocessing(size=(32, 32), resize=32, channels="grey", mean=(0.5,), std=(0.5,))
COLOUR = Preprocessing(size=(64, 64), resize=64)


def test_the_bands_are_those_of_transformers() -> None:
    audio = pytest.importorskip("transformers.audio_utils")
    theirs = audio.mel_filter_bank(257, 64, 20.0, 8_000.0, 16_000, norm=None, mel_scale="htk")
    np.testing.assert_allclose(mel_filters(16_000, 512, 64, 20.0, 8_000.0), theirs, atol=1e-5)


def test_the_bands_of_slaney_are_those_of_transformers() -> None:
    audio = pytest.importorskip("transformers.audio_utils")
    theirs = audio.mel_filter_bank(257, 32, 60.0, 3_800.0, 16_000, norm="slaney", mel_scale="slaney")
    np.testing.assert_allclose(mel_filters(16_000, 512, 32, 60.0, 3_800.0, "slaney"), theirs, atol=1e-7)


def test_what_is_shorter_stands_in_the_middle_where_that_is_asked_for() -> None:
    sound = tone(seconds=0.2).astype(np.float32)
    loud = np.flatnonzero(log_mel(sound, replace(HOW, centred=True)).any(axis=0))
    assert abs(loud[0] + loud[-1] - 95) <= 2 and 18 <= len(loud) <= 24
    whole = np.arange(20_000, dtype=np.float32)
    np.testing.assert_array_equal(log_mel(whole, replace(HOW, centred=True)), log_mel(whole, HOW))


def test_the_levels_are_those_of_transformers() -> None:
    audio = pytest.importorskip("transformers.audio_utils")
    rng = np.random.default_rng(0)
    sound = (tone(700, seconds=0.96) * np.linspace(0, 1, 15_360) + 0.01 * rng.normal(size=15_360)).astype(np.float32)
    sound /= np.abs(sound).max()
    theirs = audio.spectrogram(
        sound.astype(np.float64),
        audio.window_function(400, "hann"),
        frame_length=400,
        hop_length=160,
        fft_length=512,
        power=2.0,
        pad_mode="constant",
        mel_filters=audio.mel_filter_bank(257, 64, 20.0, 8_000.0, 16_000, norm=None, mel_scale="htk"),
        mel_floor=1e-10,
        log_mel="dB",
    )[:, :96]
    ours = band_levels(sound, HOW)
    np.testing.assert_allclose(ours, theirs - theirs.max(), atol=2e-2)
    wanted = np.maximum(theirs - theirs.max(), -80) / 80 * 255 + 255
    assert np.abs(log_mel(sound, HOW) - wanted).max() < 0.6  # half a step of 256, and float32


def test_loudness_does_not_matter__AUD_03() -> None:
    sound = tone(900, seconds=0.9).astype(np.float32)
    wanted = log_mel(sound, HOW).astype(int)
    for level in (1e-30, 1e-3, 8.0, 1e30):
        assert np.abs(log_mel((sound.astype(np.float64) * level).astype(np.float32), HOW) - wanted).max() <= 1


@pytest.mark.parametrize("sound", [np.zeros(16_000), np.zeros(0), np.full(3, 0.1), np.full(50_000, 1.0)])
def test_odd_recordings_have_finite_levels__AUD_09(sound: np.ndarray) -> None:
    levels = band_levels(sound.astype(np.float32), HOW)
    assert levels.shape == (64, 96) and np.isfinite(levels).all()
    assert log_mel(sound.astype(np.float32), HOW).max() == (255 if sound.any() else 0)


def test_what_is_shorter_is_followed_by_silence_and_what_is_longer_is_cut__AUD_08() -> None:
    how = audio_preprocessing(COLOUR, size=(64, 96), seconds=0.96, rate=16_000)
    short, long = (how.prepare(recording(tone(seconds=seconds))) for seconds in (0.3, 5.0))
    assert short.shape == long.shape == (64, 96, 3) and short.dtype == np.uint8
    assert not short[:, 40:].any() and long[:, 90].any()
    longer = how.prepare(recording(np.concatenate([tone(seconds=5.0), tone(2_000, seconds=5.0)])))
    np.testing.assert_array_equal(long, longer)


def test_what_networks_hear() -> None:
    how = audio_preprocessing(GREY, size=(32, 32), seconds=1.0, rate=8_000)
    bands = how.spectrogram
    assert (how.size, how.channels, len(how.mean)) == ((32, 32), "grey", 1)
    assert bands.hop == 250 and bands.window == 500 and bands.seconds == 1.0  # every sample lies under two windows
    assert audio_preprocessing(COLOUR, size=(64, 96), seconds=0.96, rate=16_000).spectrogram == HOW
    many = audio_preprocessing(COLOUR, size=(256, 96), seconds=0.96, rate=16_000).spectrogram
    assert mel_filters(many.rate, many.fft, many.mels, many.low, many.high).any(axis=0).all()


def test_parameters_that_contradict_are_refused() -> None:
    with pytest.raises(UsageError, match="bands by its frames"):
        AudioPreprocessing(size=(64, 64), resize=None, spectrogram=HOW)
    with pytest.raises(UsageError, match="half its rate"):
        Spectrogram(rate=8_000, window=200, hop=80, fft=256, mels=64, frames=96)


def test_the_cepstra_are_those_of_the_definition() -> None:
    picture = np.random.default_rng(0).integers(1, 256, (64, 10, 3), dtype=np.uint8)
    bands = picture[:, :, 0].reshape(32, 2, 10).mean(axis=1) / 255
    at = np.arange(32)
    basis = np.array([np.cos(np.pi * k * (2 * at + 1) / 64) for k in range(20)]) * np.sqrt(2 / 32)
    basis[0] /= np.sqrt(2)  # the orthonormal cosine transform, written out
    wanted = basis @ bands
    np.testing.assert_allclose(cepstra(picture), np.concatenate([wanted.mean(1), wanted.std(1)]), atol=1e-5)
    silent = np.concatenate([picture, np.zeros_like(picture)], axis=1)
    np.testing.assert_array_equal(cepstra(silent), cepstra(picture))
    assert cepstra(np.zeros((20, 10, 1), np.uint8)).shape == (40,)


def test_plain_values_and_back() -> None:
    how = audio_preprocessing(GREY, size=(32, 32), seconds=1.0, rate=8_000)
    plain = json.loads(json.dumps(asdict(how)))
    assert preprocessing_from(plain) == how
    assert preprocessing_from(json.loads(json.dumps(asdict(COLOUR)))) == COLOUR
    with pytest.raises(TypeError):
        preprocessing_from({**plain, "pitch": 3})


def test_the_loudest_part_is_the_same_wherever_it_stands_and_however_loud_it_is() -> None:
    rng = np.random.default_rng(0)
    sound = np.zeros((40, 90, 3), np.uint8)
    sound[:, 30:60] = rng.integers(130, 256, (40, 30, 1))
    part = loudest_part(sound, 32)
    assert part.shape == (40, 32, 1) and part.max() > 200
    noisy = np.where(sound > 0, sound, rng.integers(0, 100, sound.shape)).astype(np.uint8)
    assert (loudest_part(noisy, 32) == part).all()
    moved = np.roll(sound, -25, axis=1)
    assert (loudest_part(moved[:, :40], 32) == part).all()
    assert (loudest_part(sound[:, 30:60], 32)[:, 1:-1] == part[:, 1:-1]).all()


def test_the_loudest_part_of_silence_is_silent() -> None:
    assert not loudest_part(np.zeros((8, 5, 1), np.uint8), 32).any()
