"""Recordings whose decoding has no bound of its own: none takes the time or memory of the process that asks."""

from __future__ import annotations

import resource
import struct

import numpy as np
import pytest
from recordings import recording, tone

from headstart.data.audio import limits
from headstart.data.audio.decoding import length, remarks, samples
from headstart.data.dataset import BadExample


def bomb() -> bytes:
    """Return 2 kB of Ogg Vorbis whose headers name 200 codebooks of 4,194,304 words of 22 bits each."""
    bits = "".join(f"{byte:08b}"[::-1] for byte in b"\x05vorbis")
    fields = [(199, 8), *[(0x564342, 24), (1, 16), (1 << 22, 24), (1, 1), (21, 5), (1 << 22, 23), (0, 4)] * 200]
    bits += "".join(f"{value:0{size}b}"[::-1] for value, size in fields)
    setup = bytes(int(bits[at : at + 8][::-1], 2) for at in range(0, len(bits), 8)) + bytes(99)
    first = recording(tone(), kind="OGG")[:58]
    comment = b"\x03vorbis" + bytes(8) + b"\x01"
    lacing = bytes([len(comment), *[255] * (len(setup) // 255), len(setup) % 255])
    page = b"OggS\0\4" + bytes(8) + first[14:18] + struct.pack("<II", 1, 0) + bytes([len(lacing)]) + lacing
    page += comment + setup
    return first + page[:22] + struct.pack("<I", checksum(page)) + page[26:]


def checksum(page: bytes) -> int:
    """Return the CRC of an Ogg page."""
    crc = 0
    for byte in page:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc >> 31 else 0)) & 0xFFFFFFFF
    return crc


@pytest.mark.parametrize("kind", ["wav", "flac", "mp3"])
def test_a_million_parts_are_refused_at_once(kind: str) -> None:
    if kind == "wav":
        data = recording(tone())
        data = data[:36] + b"junk\0\0\0\0" * 2_000_000 + data[36:]
    elif kind == "flac":
        data = recording(tone(), kind="FLAC")
        data = data[:4] + b"\0" + data[5:42] + b"\x01\0\0\0" * 4_000_000 + b"\x81\0\0\0" + data[42:]
    else:
        data = b"ID3\4\0\0\0\0\0\0" * 1_500_000 + recording(tone(), kind="MP3")
    for call in (lambda: remarks(data, "a"), lambda: samples(data, rate=16_000, seconds=1)):
        with pytest.raises(BadExample, match="broken"):
            call()


def test_codebooks_that_ask_for_gigabytes_cost_this_process_nothing() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for call in (lambda: remarks(bomb(), "a.ogg"), lambda: length(bomb())):
        with pytest.raises(BadExample):
            call()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


def test_an_ogg_is_decoded_here_once_its_headers_are_proven(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_proven", {b"Opus"})
    first, second = (recording(np.random.default_rng(seed).normal(0, 0.1, 8_000), kind="OGG") for seed in (0, 1))
    assert not limits.is_direct(second, "ogg", whole=False)
    there = samples(first, rate=16_000, seconds=1)
    assert limits.is_direct(second, "ogg", whole=False)
    np.testing.assert_array_equal(samples(first, rate=16_000, seconds=1), there)
    assert limits.is_direct(recording(tone(), kind="OGG", coding="OPUS"), "ogg", whole=True)


@pytest.mark.slow
def test_more_samples_than_are_decoded_here_are_decoded_elsewhere_alike() -> None:
    data = recording(np.full((655_350 * 7, 8), 0.25), rate=655_350, kind="FLAC")
    assert len(data) < limits.DIRECT_BYTES["flac"]
    assert "8 channels, mixed down to one" in remarks(data, "a.flac")
    found = samples(data, rate=16_000, seconds=7)
    assert len(found) == 7 * 16_000
    np.testing.assert_allclose(found[1_000:-1_000], 0.25, atol=0.01)
