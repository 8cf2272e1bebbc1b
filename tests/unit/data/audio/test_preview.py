"""What a report shows of a recording: colours, places of the axes, samples to hear, and how long it is."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile
from PIL import Image
from recordings import recording, tone

from headstart.data.audio.preview import SHOWN, preview
from headstart.data.dataset import BadExample


@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_a_tone_stands_at_its_tick(rate: int) -> None:
    found = preview(recording(tone(1_000, seconds=1.0, rate=rate), rate=rate))
    picture = np.asarray(Image.open(io.BytesIO(found.picture)).convert("RGB")).astype(int)
    rows, columns, _ = picture.shape
    loudest = picture.sum(axis=2)[:, columns // 2].argmax()
    assert abs((1 - dict(found.ticks)["1 kHz"]) - (loudest + 0.5) / rows) < 0.03
    assert tuple(picture[loudest, columns // 2]) == (0xFD, 0xE7, 0x25) and columns <= 240
    assert (found.shown, found.seconds) == (1.0, 1.0) and all(0 < height < 1 for _, height in found.ticks)


def test_what_is_played_is_what_is_shown() -> None:
    quiet = np.stack([0.01 * tone(440, seconds=20.0, rate=44_100)] * 6, axis=1)
    found = preview(recording(quiet, rate=44_100))
    sound, rate = soundfile.read(io.BytesIO(found.player))
    assert (rate, sound.ndim, len(sound) / rate) == (16_000, 1, SHOWN) and np.abs(sound).max() > 0.99
    assert (found.shown, found.seconds) == (SHOWN, 20.0)


@pytest.mark.parametrize("sound", [np.zeros(8_000), np.full(3, 0.1), np.full(1, 0.5)])
def test_silence_and_next_to_nothing_are_shown__AUD_08_AUD_09(sound: np.ndarray) -> None:
    found = preview(recording(sound))
    assert Image.open(io.BytesIO(found.picture)).size[1] == 64
    assert found.seconds == pytest.approx(len(sound) / 16_000)


def test_what_is_no_recording_has_no_preview() -> None:
    with pytest.raises(BadExample):
        preview(b"no recording")
