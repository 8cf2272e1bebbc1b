"""Log-mel spectrograms and MFCC against librosa's, on recordings of people."""

from __future__ import annotations

import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from headstart.data.audio.decoding import samples
from headstart.data.audio.spectrogram import Spectrogram, band_levels, cepstra, log_mel

CLIPS = 20


@pytest.mark.slow  # librosa compiles for seconds; test_spectrogram.py holds the levels to those of transformers
@pytest.mark.shared
@pytest.mark.parametrize("scale", ["htk", "slaney"])
def test_levels_and_coefficients_are_those_of_librosa(shared: Path, scale: str) -> None:
    """To 0.01 dB within 70 dB of the loudest band, and to 0.01 of a coefficient of levels in 0..1."""
    librosa = pytest.importorskip("librosa")
    with tarfile.open(shared / "spoken_digits.tar") as tar:
        members = [member for member in tar if member.isfile()]
        files = [tar.extractfile(member) for member in members[:: len(members) // CLIPS][:CLIPS]]
        clips = [samples(file.read(), rate=16_000, seconds=2.0) for file in files if file is not None]
    assert len(clips) == CLIPS
    how = Spectrogram(16_000, 400, 160, 512, 32, 1, low=60.0, high=3_800.0, scale=scale)  # type: ignore[arg-type]
    for clip in clips:
        how = replace(how, frames=len(clip) // 160)
        power = librosa.feature.melspectrogram(
            y=clip / np.abs(clip).max(),
            sr=16_000,
            n_fft=512,
            win_length=400,
            hop_length=160,
            pad_mode="constant",
            n_mels=32,
            fmin=60.0,
            fmax=3_800.0,
            htk=scale == "htk",
            norm="slaney" if scale == "slaney" else None,
        )[:, : how.frames]
        theirs = librosa.power_to_db(power, ref=np.max, top_db=None)
        near = np.maximum(theirs, -70)
        np.testing.assert_allclose(np.maximum(band_levels(clip, how), -70), near, atol=0.01)
        shades = np.clip(theirs / 80 + 1, 0, 1)
        shades = shades[:, np.rint(shades * 255).any(axis=0)]
        coefficients = librosa.feature.mfcc(S=shades, n_mfcc=20, dct_type=2, norm="ortho")
        expected = np.concatenate([coefficients.mean(axis=1), coefficients.std(axis=1)])
        np.testing.assert_allclose(cepstra(log_mel(clip, how)[:, :, None]), expected, atol=0.01)
