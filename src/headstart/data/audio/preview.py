"""What a report shows of a recording: its spectrogram in colour, with the places of its axes, and samples to hear."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.data.audio.decoding import length, samples, sound_bytes
from headstart.data.audio.spectrogram import Spectrogram, log_mel

SHOWN = 8.0  # seconds at most, from the beginning
HIGHEST_RATE = 16_000  # samples a second that are played at most
BANDS, COLUMNS, HOP = 64, 240, 0.010
TICKS = (100, 500, 1_000, 2_000, 4_000, 8_000)  # Hz
VIRIDIS = ("440154", "482878", "3e4989", "31688e", "26828e", "1f9e89", "35b779", "6ece58", "b5de2b", "fde725")
"""Colours from quiet to loud, evenly spaced: matplotlib's viridis, which is read in grey and by colour-blind eyes."""


@dataclass(frozen=True)
class SoundPreview:
    """A recording to look at and to listen to."""

    picture: bytes  # PNG: bands from low to high upward, the beginning of the recording on the left
    player: bytes  # WAV of 16 bits and one channel: what is shown, its loudest sample as loud as can be
    shown: float  # seconds of it
    seconds: float  # of the whole recording
    ticks: tuple[tuple[str, float], ...]  # frequencies, and how high they stand in the picture, 0..1


def preview(data: bytes) -> SoundPreview:
    """Return a recording as a report shows it; BadExample as `headstart.data.audio.decoding.remarks`."""
    whole, rate = length(data)
    rate = min(rate, HIGHEST_RATE)
    sound = samples(data, rate=rate, seconds=SHOWN)
    shown = len(sound) / rate
    step = max(1, round(max(HOP, shown / COLUMNS) * rate))
    window = max(2 * step, round(0.025 * rate))
    fft = max(1_024, 1 << (window - 1).bit_length())
    settings = Spectrogram(rate, window, step, fft, BANDS, max(1, len(sound) // step), high=rate / 2)
    top = _mel(rate / 2)
    ticks = tuple(
        (f"{hertz // 1_000} kHz" if hertz >= 1_000 else f"{hertz} Hz", _mel(hertz) / top)
        for hertz in TICKS
        if hertz < 0.8 * rate / 2
    )
    return SoundPreview(_coloured(log_mel(sound, settings)), _wav(sound, rate), shown, max(whole, shown), ticks)


def _mel(hertz: float) -> float:
    return math.log10(1 + hertz / 700)


def _coloured(levels: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    anchors = np.array([list(bytes.fromhex(colour)) for colour in VIRIDIS])
    places = np.linspace(0, len(anchors) - 1, 256)
    palette = np.stack([np.interp(places, range(len(anchors)), channel) for channel in anchors.T], axis=1)
    image = Image.fromarray(np.ascontiguousarray(levels[::-1]))
    image.putpalette(palette.round().astype(np.uint8).tobytes())
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return file.getvalue()


def _wav(sound: NDArray[np.float32], rate: int) -> bytes:
    peak = float(np.abs(sound).max(initial=0)) or 1.0
    return sound_bytes(((sound.astype(np.float64) / peak * 32_767).round().astype(np.int16), rate))
