"""Recordings: formats by content, one scale, one rate, one channel; and everything that is wrong with a file."""

from __future__ import annotations

import builtins
import resource
import struct
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from recordings import recording, tone

from headstart.base.errors import MissingExtra
from headstart.data.audio.decoding import length, remarks, samples, sound_bytes
from headstart.data.audio.formats import sniff
from headstart.data.dataset import BadExample
from headstart.data.file_tree import MAX_BYTES
from headstart.data.readers.open import open_inputs


def rms(sound: np.ndarray) -> float:
    return float(np.sqrt(np.mean(sound.astype(np.float64) ** 2)))


def peak_hertz(sound: np.ndarray, rate: int) -> float:
    power = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 1 << 16))
    return float(power.argmax() * rate / (1 << 16))


@pytest.mark.parametrize(
    ("kind", "coding", "wanted"),
    [
        ("WAV", "PCM_16", "wav"),
        ("RF64", "PCM_16", "wav"),
        ("FLAC", "PCM_16", "flac"),
        ("OGG", "VORBIS", "ogg"),
        ("OGG", "OPUS", "ogg"),
        ("MP3", "MPEG_LAYER_III", "mp3"),
        ("AIFF", "PCM_16", "aiff"),
        ("AU", "ULAW", "au"),
    ],
)
def test_every_format_says_the_same(kind: str, coding: str, wanted: str) -> None:
    sound = tone(1_000, seconds=1.0, level=0.5)
    data = recording(sound, kind=kind, coding=coding)
    assert sniff(data) == wanted
    found = samples(data, rate=16_000, seconds=1.0)
    assert found.dtype == np.float32 and abs(len(found) - 16_000) < 3_000  # MP3 pads
    assert rms(found[2_000:-2_000]) == pytest.approx(0.5 / np.sqrt(2), rel=0.03)
    assert peak_hertz(found, 16_000) == pytest.approx(1_000, abs=3)


@pytest.mark.parametrize("given", [8_000, 1_234, 192_000, 44_100, 22_050, 11_025, 16_001, 384_007])
def test_another_rate_is_converted_and_noted__AUD_01(given: int) -> None:
    hertz = 200.0
    data = recording(tone(hertz, seconds=0.6, rate=given), rate=given, kind="WAV")
    found = samples(data, rate=16_000, seconds=0.5)
    assert len(found) == 8_000
    assert peak_hertz(found, 16_000) == pytest.approx(hertz, abs=1)
    assert rms(found[500:-500]) == pytest.approx(0.5 / np.sqrt(2), rel=0.03)
    noted = any(f"sampled at {given:,} Hz" in remark for remark in remarks(data, "a.wav"))
    assert noted == (given not in (44_100, 22_050))


def test_what_lies_above_half_the_new_rate_does_not_fold_back__AUD_01() -> None:
    data = recording(tone(12_000, seconds=0.5, rate=48_000), rate=48_000)
    assert rms(samples(data, rate=16_000, seconds=0.5)[500:-500]) < 0.005


@pytest.mark.parametrize("rate", [999, 2_000_000])
def test_absurd_rates_are_refused__AUD_01(rate: int) -> None:
    data = bytearray(recording(tone()))
    data[24:28] = struct.pack("<I", rate)
    with pytest.raises(BadExample, match="samples a second"):
        samples(bytes(data), rate=16_000, seconds=1)


@pytest.mark.parametrize("channels", [2, 6, 8])
def test_channels_are_mixed_down_and_noted__AUD_02(channels: int) -> None:
    first = np.stack([tone(seconds=0.1)] + [np.zeros(1_600)] * (channels - 1), axis=1)
    data = recording(first)
    found = samples(data, rate=16_000, seconds=0.1)
    assert found.shape == (1_600,)
    np.testing.assert_allclose(found, tone(seconds=0.1) / channels, atol=1e-4)
    assert f"{channels} channels, mixed down to one" in remarks(data, "a.wav")


@pytest.mark.parametrize(
    ("kind", "coding", "tolerance"),
    [
        ("WAV", "PCM_U8", 0.01),
        ("WAV", "PCM_16", 1e-4),
        ("WAV", "PCM_24", 1e-6),
        ("WAV", "PCM_32", 1e-6),
        ("WAV", "FLOAT", 1e-6),
        ("WAV", "DOUBLE", 1e-6),
        ("WAV", "ULAW", 0.02),
        ("WAV", "ALAW", 0.02),
        ("AIFF", "PCM_24", 1e-6),
        ("FLAC", "PCM_24", 1e-6),
    ],
)
def test_every_depth_is_on_one_scale__AUD_03(kind: str, coding: str, tolerance: float) -> None:
    data = recording(tone(seconds=0.1), kind=kind, coding=coding)
    np.testing.assert_allclose(samples(data, rate=16_000, seconds=0.1), tone(seconds=0.1), atol=tolerance)


def test_twenty_bits_in_three_bytes_and_big_endian__AUD_03() -> None:
    ints = np.round(tone(seconds=0.1) * 2**19).astype(np.int32) << 12
    twenty = bytearray(recording(ints, coding="PCM_24"))
    twenty[34:36] = struct.pack("<H", 20)
    np.testing.assert_allclose(samples(bytes(twenty), rate=16_000, seconds=0.1), tone(seconds=0.1), atol=1e-5)
    big = recording(tone(seconds=0.1), coding="PCM_16", endian="BIG")
    assert big.startswith(b"RIFX")
    np.testing.assert_allclose(samples(big, rate=16_000, seconds=0.1), tone(seconds=0.1), atol=1e-4)


def test_floats_beyond_full_scale_are_not_clipped__AUD_03() -> None:
    data = recording(tone(seconds=0.1, level=4.0), coding="FLOAT")
    assert samples(data, rate=16_000, seconds=0.1).max() == pytest.approx(4.0, rel=1e-3)


def test_no_samples__AUD_04() -> None:
    empty = recording(np.zeros(0))
    assert len(empty) == 44
    for call in (lambda: samples(empty, rate=16_000, seconds=1), lambda: remarks(empty, "a.wav")):
        with pytest.raises(BadExample, match="no samples"):
            call()
    with pytest.raises(BadExample, match="no samples"):
        sniff(b"")
    for cut in (12, 36):
        with pytest.raises(BadExample, match="no samples"):
            remarks(empty[:cut], "a.wav")


def test_a_truncated_wav_is_never_quiet__AUD_05() -> None:
    data = recording(tone(seconds=0.27562, rate=16_000), coding="PCM_16")  # 4,410 samples
    cut = data[: 44 + 2 * 236]
    for call in (lambda: samples(cut, rate=16_000, seconds=0.01), lambda: remarks(cut, "a.wav")):
        with pytest.raises(BadExample, match="header says 4,410 samples, 236 are there"):
            call()


@pytest.mark.parametrize(
    ("kind", "coding"),
    [
        ("FLAC", "PCM_16"),
        ("OGG", "VORBIS"),
        ("OGG", "OPUS"),
        ("AIFF", "PCM_16"),
        ("AU", "ULAW"),
        ("RF64", "PCM_16"),
    ],
)
def test_truncated_files_of_every_format__AUD_05(kind: str, coding: str | None) -> None:
    data = recording(np.random.default_rng(0).normal(0, 0.1, 16_000), kind=kind, coding=coding)
    for share in (0.5, 0.9):
        with pytest.raises(BadExample):
            remarks(data[: int(share * len(data))], f"a.{kind.lower()}")


def test_a_recorder_that_did_not_know_the_length_is_read__AUD_05() -> None:
    data = bytearray(recording(tone(), coding="PCM_16"))
    data[4:8] = data[40:44] = b"\xff" * 4
    assert len(samples(bytes(data), rate=16_000, seconds=0.5)) == 8_000


def test_an_mp3_named_wav_is_read_by_content__AUD_06() -> None:
    data = recording(tone(seconds=1.0), kind="MP3")
    assert "MP3 named .wav, read by content" in remarks(data, "a.wav")
    assert not any("named" in remark for remark in remarks(data, "a.mp3"))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\0\0\0\x20ftypM4A \0\0\0\0", r"format not accepted \(M4A or MP4\)"),
        (b"\xff\xf1\x50\x80\x02\x1f\xfc", r"format not accepted \(AAC\)"),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", r"format not accepted \(WMA\): convert it to WAV or FLAC"),
        (b"NIST_1A\n   1024\n", r"format not accepted \(NIST SPHERE\)"),
        (b"\x02#!SILK_V3", r"format not accepted \(SILK\)"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 20, r"looks like PNG"),
        (b"%PDF-1.4", r"looks like PDF"),
        (b"hello", r"looks like text"),
        (b"\x00\x01\x02", r"not an accepted recording$"),
    ],
)
def test_other_formats_are_named__AUD_06(data: bytes, reason: str) -> None:
    with pytest.raises(BadExample, match=reason):
        remarks(data, "a.aac")


def test_a_flac_that_claims_the_most_frames_costs_no_memory__AUD_07() -> None:
    data = bytearray(recording(tone(), kind="FLAC"))
    data[21] |= 0x0F  # the last bytes of STREAMINFO before its MD5: 36 bits of samples
    data[22:26] = b"\xff" * 4
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(BadExample, match=r"truncated|broken"):
        samples(bytes(data), rate=16_000, seconds=1e9)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


def test_channels_that_change_mid_stream_end_the_recording_or_break_it__AUD_07() -> None:
    chained = recording(tone(), kind="OGG") + recording(np.stack([tone(), tone()], axis=1), kind="OGG")
    mono, stereo = (recording(sound, kind="FLAC") for sound in (tone(), np.stack([tone(), tone()], axis=1)))
    glued = mono + stereo[stereo.index(b"\xff\xf8") :]
    for data in (chained, glued):
        with suppress(BadExample):
            found = samples(data, rate=16_000, seconds=5)
            assert np.isfinite(found).all() and len(found) <= 16_500


def test_ten_hours_cost_flat_memory__AUD_08(tmp_path: Path) -> None:
    sound = tone(seconds=2.0, rate=8_000)
    data = bytearray(recording(sound, rate=8_000, coding="PCM_16"))
    size = 10 * 3600 * 8_000 * 2
    data[4:8], data[40:44] = struct.pack("<I", size + 36), struct.pack("<I", size)
    with (tmp_path / "night.wav").open("wb") as file:
        file.write(data)
        file.truncate(size + 44)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    held = open_inputs([tmp_path], kind="sound").read(0)
    assert len(held) == MAX_BYTES + 1
    assert any("of which the beginning is read" in remark for remark in remarks(held, "night.wav"))
    np.testing.assert_allclose(samples(held, rate=8_000, seconds=2.0), sound, atol=1e-4)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 3 * MAX_BYTES // 1024


def test_three_samples_are_a_recording__AUD_08() -> None:
    data = recording(np.array([0.1, -0.2, 0.3]))
    assert len(samples(data, rate=16_000, seconds=1)) == 3
    assert remarks(data, "a.wav") == ()
    assert length(data) == (3 / 16_000, 16_000)


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf, 1e300])
def test_samples_that_are_no_numbers_are_refused__AUD_09(odd: float) -> None:
    sound = tone(seconds=0.1)
    sound[700] = odd
    data = recording(sound, coding="DOUBLE")
    for call in (lambda: samples(data, rate=16_000, seconds=1), lambda: remarks(data, "a.wav")):
        with pytest.raises(BadExample, match="NaN or infinite"):
            call()


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3"])
def test_a_longer_recording_may_begin_anywhere(kind: str) -> None:
    data = recording(np.concatenate([tone(500, seconds=1.0), tone(3_000, seconds=1.0)]), kind=kind)
    for share, hertz in ((0.0, 500), (0.4, 500), (1.0, 3_000)):
        found = samples(data, rate=16_000, seconds=0.5, share=share)
        assert len(found) == 8_000 and peak_hertz(found, 16_000) == pytest.approx(hertz, abs=5)
    short = recording(tone(seconds=0.2), kind="WAV")
    np.testing.assert_array_equal(
        samples(short, rate=16_000, seconds=0.5, share=0.9), samples(short, rate=16_000, seconds=0.5)
    )


def test_silence_is_flagged__AUD_09() -> None:
    assert remarks(recording(np.zeros(800)), "a.wav") == ("silent: every sample is zero",)


def test_hostile_bytes_are_unusable_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    whole = [recording(tone(seconds=0.05), kind=kind) for kind in ("WAV", "FLAC", "OGG", "AIFF")]
    for data in whole:
        for _ in range(40):
            broken = bytearray(data)
            for at in rng.integers(4, min(len(data), 120), 4):
                broken[at] = rng.integers(256)
            with suppress(BadExample):
                assert np.isfinite(samples(bytes(broken), rate=16_000, seconds=0.1)).all()


@pytest.mark.parametrize("kind", ["f4", "f8", "i2", "i4", "u1"])
def test_samples_from_python(kind: str) -> None:
    sound = np.stack([tone(seconds=0.05), tone(seconds=0.05)], axis=1)
    scale = {"i2": 2**15 - 1, "i4": 2**31 - 1, "u1": 127}.get(kind, 1)
    given = np.round(sound * scale) + (128 if kind == "u1" else 0) if scale > 1 else sound
    data = sound_bytes((given.astype(kind), 16_000))
    np.testing.assert_allclose(samples(data, rate=16_000, seconds=1), tone(seconds=0.05), atol=0.01)


@pytest.mark.parametrize("item", [3, (np.zeros(5), 0), (np.zeros((2, 2, 2)), 8_000), (np.zeros(3, complex), 8_000)])
def test_what_is_no_recording_from_python(item: object) -> None:
    with pytest.raises(BadExample, match="pair"):
        sound_bytes(item)


def test_without_the_library_the_error_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    data, real = recording(tone()), builtins.__import__

    def refuse(name: str, *rest: object) -> object:
        if name == "soundfile":
            raise ModuleNotFoundError(name)
        return real(name, *rest)  # type: ignore[arg-type]

    monkeypatch.delitem(sys.modules, "soundfile")
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingExtra, match=r"pip install .*\[audio\]'"):
        remarks(data, "a.wav")


@pytest.mark.parametrize("item", [((None, []), 8000), (np.zeros(4), 1 << 40)])
def test_pairs_that_are_no_recording_are_skipped(item):
    with pytest.raises(BadExample):
        sound_bytes(item)
