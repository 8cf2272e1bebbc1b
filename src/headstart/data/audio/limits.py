"""Which recordings are decoded at once: those whose cost is bounded by what their first bytes say.

The others, hostile or very large, go to a process that ends (`headstart.base.processes`).
"""

from __future__ import annotations

from typing import Literal

from headstart.data.dataset import BadExample

MOST_PARTS = 1_000
"""Chunks, or blocks of metadata, that a file may have; each costs a step, however short it is."""
MOST_HEADERS = 1 << 18
"""Bytes of an Ogg in which its three headers end."""
DIRECT_BYTES = {"ogg": 24 << 20, "flac": 4 << 20, "mp3": 16 << 20}
"""Larger files are decoded there: an Ogg always, the others where a place within the recording is sought."""
MOST_SAMPLES = 1 << 25
"""Of all channels together, that are decoded at once."""

_proven = {b"Opus"}


class LargeRecording(Exception):
    """More is to be decoded than is done at once."""


def is_direct(data: bytes, encoding: str, *, whole: bool) -> bool:
    """Return whether opening and reading `data` takes a bounded time; `whole` where a place within it is sought.

    Raises:
        BadExample: it has more parts than any program writes.
    """
    parts = 0
    if encoding in ("wav", "aiff"):
        parts = _chunks(data, "big" if data[:4] in (b"RIFX", b"FORM") else "little")
    elif encoding == "flac":
        parts = flac_metadata(data)[0]
    if parts >= MOST_PARTS:
        raise BadExample(f"broken (more than {MOST_PARTS:,} chunks)")
    if len(data) > DIRECT_BYTES.get(encoding, len(data)) and (whole or encoding == "ogg"):
        return False
    return encoding != "ogg" or _built_from(data) in _proven


def prove(data: bytes, encoding: str) -> None:
    """Remember that a recording was decoded within the limits: its decoder may be built here from now on."""
    built_from = _built_from(data) if encoding == "ogg" else None
    if built_from is not None and len(_proven) < MOST_PARTS:
        _proven.add(built_from)


def _chunks(data: bytes, order: Literal["big", "little"]) -> int:
    offset, count = 12, 0
    while (
        offset + 8 <= len(data) and count < MOST_PARTS and data[offset : offset + 4] != bytes(4)
    ):  # zeros fill up to the end
        size = int.from_bytes(data[offset + 4 : offset + 8], order)
        offset, count = offset + 8 + size + size % 2, count + 1
    return count


def flac_metadata(data: bytes) -> tuple[int, int]:
    """Return how many blocks of metadata a FLAC has, `MOST_PARTS` at most, and where its first frame begins."""
    offset, count = 4, 0
    while offset + 4 <= len(data) and count < MOST_PARTS:
        last, offset, count = (
            data[offset] & 0x80,
            offset + 4 + int.from_bytes(data[offset + 1 : offset + 4], "big"),
            count + 1,
        )
        if last:
            break
    return count, offset


def _built_from(data: bytes) -> bytes | None:
    """Return the headers of an Ogg that its decoder is built from, which can ask for gigabytes; None if unknown.

    Files of one encoder share them. Opus has none: its decoder is of one size.
    """
    packets: list[bytes] = []
    packet, offset = b"", 0
    while len(packets) < 3 and data[offset : offset + 4] == b"OggS" and data[offset + 14 : offset + 18] == data[14:18]:
        lacing = data[offset + 27 : offset + 27 + int.from_bytes(data[offset + 26 : offset + 27], "big")]
        offset += 27 + len(lacing)
        if offset > MOST_HEADERS:
            return None
        for size in lacing:
            packet, offset = packet + data[offset : offset + size], offset + size
            if size < 255:
                packets, packet = [*packets, packet], b""
    if packets and packets[0].startswith(b"OpusHead"):
        return b"Opus"
    return packets[0] + packets[2] if len(packets) > 2 and packets[0].startswith(b"\x01vorbis") else None
