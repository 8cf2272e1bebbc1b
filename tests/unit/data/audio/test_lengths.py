"""MP3 and FLAC whose headers estimate, or say wrongly, how long they are: all that is there is read, and said."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from recordings import recording, tone

from headstart.data.audio import lengths, limits
from headstart.data.audio.decoding import length, remarks, samples
from headstart.data.dataset import BadExample

MISSING, FALSE = "MP3 of which frames are missing", "FLAC whose header says a false number of samples"


def mp3(*, rate: int = 44_100, mode: str = "VARIABLE", quiet_first: bool = True) -> bytes:
    """Return 4 s whose halves need frames of unlike sizes, so that the first ones tell nothing of the number."""
    sound = np.concatenate([np.zeros(2 * rate), np.random.default_rng(0).normal(0, 0.3, 2 * rate)])
    return recording(
        sound if quiet_first else sound[::-1], rate=rate, kind="MP3", bitrate_mode=mode, compression_level=0.5
    )


def without_tag(data: bytes) -> bytes:
    return data[lengths._size(data[1], data[2]) :]


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
@pytest.mark.parametrize("quiet_first", [True, False])
def test_an_estimate_of_frames_is_no_proof__AUD_05(rate: int, mode: str, quiet_first: bool) -> None:
    data = mp3(rate=rate, mode=mode, quiet_first=quiet_first)
    for whole in (data, without_tag(data), b"ID3\4\0\0\0\0\2\0" + b"a" * 256 + without_tag(data) + b"TAG" + b"x" * 125):
        assert not {MISSING, FALSE}.intersection(remarks(whole, "a.mp3"))
        found = samples(whole, rate=rate, seconds=9)
        assert 4 <= len(found) / rate < 4.2 + 4_000 / rate
        assert length(whole)[0] == pytest.approx(len(found) / rate, abs=0.01)
        assert len(samples(whole, rate=rate, seconds=1, share=1.0)) == rate


@pytest.mark.parametrize("share", [0.5, 0.99])
def test_an_mp3_without_its_last_frames_is_used_and_noted__AUD_05(share: float) -> None:
    data = mp3()
    for whole in (data, without_tag(data)):
        cut = whole[: int(share * len(whole))]
        assert MISSING in remarks(cut, "a.mp3")
        assert len(samples(cut, rate=16_000, seconds=1, share=1.0)) == 16_000


def test_a_tag_that_lies_hides_no_frame() -> None:
    data = mp3()
    at = data.index(b"Xing")
    few, many = (data[: at + 8] + frames.to_bytes(4, "big") + data[at + 12 :] for frames in (9, 900_000))
    assert len(samples(few, rate=16_000, seconds=9)) >= 64_000
    assert MISSING in remarks(many, "a.mp3")
    two = data + data
    assert 8 <= length(two)[0] < 8.3
    assert len(samples(two, rate=16_000, seconds=20)) >= 8 * 16_000


def test_any_bytes_behind_the_beginning_of_an_mp3_are_read_or_refused() -> None:
    rng, data = np.random.default_rng(0), mp3(rate=16_000)
    for position in rng.integers(0, 60, 60):
        odd = bytearray(data[: rng.integers(1, len(data))])
        if position < len(odd):
            odd[position] = rng.integers(256)
        with suppress(BadExample):
            remarks(bytes(odd), "a.mp3")


@pytest.mark.parametrize("claimed", [0, 1, 1_000, 24_000 - 1, 24_000 + 1, 48_000, 10**8])
def test_a_flac_with_a_false_number_of_samples_is_read_whole_and_noted__AUD_07(claimed: int) -> None:
    data = bytearray(recording(np.random.default_rng(0).normal(0, 0.1, 24_000), kind="FLAC"))
    data[21] = data[21] & 0xF0 | claimed >> 32
    data[22:26] = (claimed & 0xFFFFFFFF).to_bytes(4, "big")
    odd = bytes(data)
    assert remarks(odd, "a.flac") == ((FALSE,) if claimed else ())
    assert len(samples(odd, rate=16_000, seconds=9)) == 24_000
    assert len(samples(odd, rate=16_000, seconds=1, share=1.0)) == 16_000
    with pytest.raises(BadExample, match="broken"):
        remarks(odd[: len(odd) // 2], "a.flac")


def test_the_numbers_in_frames_are_right_for_every_size_of_sound() -> None:
    for count in (16, 200, 4_095, 4_096, 4_097, 70_000):
        sound = tone(seconds=count / 16_000)
        data = recording(np.stack([sound, -sound], axis=1), kind="FLAC")
        assert lengths.mend_flac(data) == (data, "")


@pytest.mark.parametrize("pictures", [0, 1])
def test_a_flac_ends_where_its_own_kind_of_frame_says__AUD_07(pictures: int) -> None:
    """Another kind's mark stands behind its last frame, and its metadata hold what looks like frames."""
    data = recording(np.random.default_rng(0).normal(0, 0.1, 24_000), kind="FLAC")
    block = b"\x02" + (4_000).to_bytes(3, "big") + b"\xff\xf8\xc9\x18" * 1_000
    false = data[:21] + bytes([data[21] & 0xF0]) + (9).to_bytes(4, "big") + data[26:]
    odd = false[:42] + block * pictures + false[42:] + b"\xff\xf9" * 200
    count, first = limits.flac_metadata(odd)
    assert count == limits.flac_metadata(data)[0] + pictures
    assert odd[first : first + 2] == b"\xff\xf8"
    assert lengths.mend_flac(odd)[1] == FALSE
    assert len(samples(odd, rate=16_000, seconds=9)) == 24_000
