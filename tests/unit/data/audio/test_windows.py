"""Long recordings: windows of the whole, on one scale, in memory that does not grow with them."""

from __future__ import annotations

import io
import tracemalloc

import numpy as np
import pytest
import soundfile
from recordings import recording, tone

from headstart.data.audio.decoding import remarks, samples, whole_in_windows, windows
from headstart.data.audio.spectrogram import (
    AudioPreprocessing,
    Windows,
    audio_preprocessing,
    cepstra,
    side_by_side,
    task,
)
from headstart.data.dataset import BadExample
from headstart.data.file_tree import MAX_BYTES
from headstart.data.images.preprocessing import Preprocessing

GREY = Preprocessing(size=(32, 100), resize=None, channels="grey", mean=(0.5,), std=(0.5,))


def listening(hop: float = 1.0, *, rate: int = 16_000, channels: str = "grey") -> AudioPreprocessing:
    """Return how recordings are heard in windows of a second."""
    plain = GREY if channels == "grey" else Preprocessing(size=(32, 100), resize=None)
    how = audio_preprocessing(plain, size=(32, 100), seconds=1.0, rate=rate)
    return AudioPreprocessing(**{**{name: getattr(how, name) for name in how.__dataclass_fields__}, "hop": hop})


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
@pytest.mark.parametrize(
    ("seconds", "hop", "starts"), [(3.0, 1.0, [0, 1, 2]), (2.5, 1.0, [0, 1, 1.5]), (2.0, 0.5, [0, 0.5, 1])]
)
def test_windows_are_stretches_of_the_whole(rate: int, seconds: float, hop: float, starts: list[float]) -> None:
    sound = np.random.default_rng(0).normal(size=round(seconds * rate)).astype(np.float32) / 8
    found = list(windows(recording(sound, rate=rate, coding="FLOAT"), rate=16_000, seconds=1.0, hop=hop))
    assert [len(window) for window in found] == [16_000] * len(starts)
    for window, start in zip(found, starts, strict=True):
        part = recording(sound[round(start * rate) : round((start + 1.1) * rate)], rate=rate, coding="FLOAT")
        expected = samples(part, rate=16_000, seconds=1.0)
        np.testing.assert_allclose(window[100:-100], expected[100:-100], atol=1e-6)
    alone = samples(recording(sound, rate=rate, coding="FLOAT"), rate=16_000, seconds=1.0)
    np.testing.assert_array_equal(found[0], alone)


def test_what_fits_into_a_window_is_as_it_was__AUD_08() -> None:
    how = listening()
    for sound in (tone(seconds=0.4), tone(seconds=1.0), np.zeros(3), np.full(3, 0.1)):
        heard = how.hear(recording(sound))
        assert isinstance(heard, np.ndarray)
        np.testing.assert_array_equal(heard, how.prepare(recording(sound)))
    long = recording(tone(seconds=3.0))
    np.testing.assert_array_equal(listening(0).hear(long), how.prepare(long))


def test_the_loudest_band_is_that_of_the_whole() -> None:
    quiet, loud = 0.001 * tone(400, seconds=1.0), tone(400, seconds=1.0)
    heard = listening().hear(recording(np.concatenate([quiet, loud, np.zeros(16_000)]), coding="FLOAT"))
    assert isinstance(heard, Windows)
    assert heard.grey.shape == (3, 32, 100)
    quietest, loudest, silence = (int(window.max()) for window in heard.grey)
    assert (loudest, silence) == (255, 0) and abs(quietest - 255 * (1 - 60 / 80)) < 2
    alone = listening().prepare(recording(loud, coding="FLOAT"))[:, :, 0].astype(int)
    assert np.abs(heard.grey[1, :, 2:-2].astype(int) - alone[:, 2:-2]).max() <= 1
    silent = listening().hear(recording(np.zeros((48_000, 6))))
    assert isinstance(silent, Windows) and not silent.grey.any()


def test_all_windows_at_once_and_of_a_very_long_recording_some_of_everywhere() -> None:
    sound = np.random.default_rng(0).normal(size=80_000).astype(np.float32) / 8
    data, how = recording(sound, coding="FLOAT"), {"rate": 16_000, "seconds": 1.0}
    whole = whole_in_windows(data, **how, hop=0.5, most=60.0)
    np.testing.assert_array_equal(whole, list(windows(data, **how, hop=0.5)))
    some = whole_in_windows(data, **how, hop=0.5, most=2.0)
    np.testing.assert_array_equal(some, np.stack([sound[start : start + 16_000] for start in (0, 32_000, 64_000)]))
    assert whole_in_windows(recording(sound[:100]), **how, hop=1.0, most=60.0).shape == (1, 100)
    np.testing.assert_array_equal(whole_in_windows(data, **how, hop=0.0, most=60.0), sound[None, :16_000])


def test_networks_of_colour_get_three_channels() -> None:
    heard = listening(channels="rgb").hear(recording(tone(seconds=2.0)))
    assert isinstance(heard, Windows) and len(heard) == 2
    assert heard.pictures_of(1, 2).shape == (1, 32, 100, 3)
    np.testing.assert_array_equal(heard.pictures_of(0, 2)[..., 2], heard.grey)


def test_memory_does_not_grow_with_the_samples__AUD_08() -> None:
    def peak(seconds: int) -> int:
        file = io.BytesIO()
        with soundfile.SoundFile(file, "w", 16_000, 1, format="FLAC") as writer:
            for _ in range(seconds):
                writer.write(tone(500, seconds=1.0))
        data = file.getvalue()
        tracemalloc.start()
        listening().hear(data)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    short, long = peak(20), peak(120)
    assert long - short < 100 * 16_000 * 4 / 2, "less than half of what the samples take"


def test_a_fault_anywhere_in_a_long_recording_is_found__AUD_05_AUD_09() -> None:
    sound = tone(seconds=5.0)
    with pytest.raises(BadExample, match="truncated"):
        listening().hear(recording(sound)[:-40_000])
    sound[-1] = np.nan
    with pytest.raises(BadExample, match="NaN"):
        listening().hear(recording(sound, coding="FLOAT"))


def test_more_than_is_heard_is_said() -> None:
    assert remarks(recording(tone(seconds=5.0)), "a.wav") == ()
    for hours, clauses in ((3.99, 0), (4.01, 1)):
        long = recording(np.zeros(int(hours * 3_600 * 1_000)) + 0.25, rate=1_000, coding="ULAW")
        assert sum("longer than 4 hours" in clause for clause in remarks(long, "a.wav")) == clauses
    heard = list(windows(recording(tone(seconds=5.0)), rate=16_000, seconds=1, hop=1, most=3))
    assert [len(one) for one in heard] == [16_000] * 3


def test_of_a_file_that_is_too_large_the_beginning_is_heard() -> None:
    second = recording(np.random.default_rng(0).normal(0, 0.1, 192_000), rate=192_000, coding="DOUBLE")
    head, samples = second[: second.index(b"data") + 8], second[second.index(b"data") + 8 :]
    whole = head[:4] + b"\xff" * 4 + head[8:-4] + b"\xff" * 4 + samples * 60
    begun = whole[: MAX_BYTES + 1]
    heard = list(windows(begun, rate=16_000, seconds=1, hop=1))
    assert len(heard) == -(-(MAX_BYTES - len(head)) // len(samples))
    assert any("larger than 64 MiB, of which the beginning is read" in clause for clause in remarks(begun, "a.wav"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["FLAC", "MP3"])
def test_of_a_packed_file_that_is_too_large_the_beginning_is_heard(kind: str) -> None:
    sound = np.random.default_rng(0).normal(0, 0.1, 48_000 * 30)
    if kind == "FLAC":
        data = recording(
            np.tile(sound[:, None], (1, 8)) + np.random.default_rng(1).normal(0, 0.1, (len(sound), 8)),
            rate=48_000,
            kind=kind,
            coding="PCM_24",
        )
    else:
        data = recording(sound, rate=48_000, kind=kind)
        data *= -(-MAX_BYTES // len(data)) + 1
    assert len(data) > MAX_BYTES
    begun = data[: MAX_BYTES + 1]
    heard = sum(1 for _ in windows(begun, rate=16_000, seconds=1, hop=1))
    assert heard >= 0.9 * 30 * MAX_BYTES / len(data)


def test_the_process_apart_gives_the_same() -> None:
    data, how = recording(tone(seconds=2.5), kind="OGG"), listening()
    values, pictures = task(data, "_heard", how.spectrogram.__dict__, 1.0)
    heard = how.hear(data)
    assert values == {"type": "u1"} and isinstance(heard, Windows)
    np.testing.assert_array_equal(np.frombuffer(pictures, np.uint8), heard.grey.ravel())


def test_a_long_recording_is_summarised_over_all_of_it() -> None:
    parts = [tone(300, seconds=1.0), tone(900, seconds=1.0), tone(2_500, seconds=1.0)]
    heard = listening().hear(recording(np.concatenate(parts)))
    assert isinstance(heard, Windows)
    whole = side_by_side(heard, 10_000)
    assert whole.shape == (32, 300, 1)
    np.testing.assert_array_equal(whole[:, 100:200, 0], heard.grey[1])
    assert side_by_side(heard, 150).shape == (32, 200, 1)
    assert np.abs(cepstra(whole)[:20]).max() > 0
