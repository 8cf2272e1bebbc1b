"""How long MP3 and FLAC recordings truly are, where their headers do not say it, or say it wrongly.

libsndfile estimates the length of an MP3 without a header of its encoder, and reads no more than that; of a FLAC it
believes the header, and fails where fewer samples are there. Both are given to it with the length that the frames
themselves state.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import NamedTuple

from headstart.data.audio.limits import flac_metadata
from headstart.data.dataset import BadExample

KBITS = {
    3: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0),  # MPEG-1, layer III
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0),  # MPEG-2 and 2.5, layer III
}
RATES = (44_100, 48_000, 32_000, 0)
HALVINGS = {3: 0, 2: 1, 0: 2}  # of these rates in MPEG-1, 2 and 2.5, by the two bits of the version
LEAST_FRAME = 24  # bytes of an MP3 frame
MOST_TAGS = 16
"""That stand before the sound of an MP3; each is looked at."""
JUNK = 1 << 16
"""Bytes of an MP3 that may be searched for its next frame."""
FLAC_MARKS = (b"\xff\xf8", b"\xff\xf9")
"""That frames begin with: all of a file with the first, where they are of one size, or all with the second."""
LAST_FRAMES = 1 << 21
"""Bytes at the end of a FLAC in which its last frame begins."""
MOST_PER_BYTE = 1 << 13
"""Samples of a FLAC for each byte: a frame of 65,535 that are all alike has more than 8 bytes."""
CANDIDATES = 64
"""Places there that are looked at, since two bytes of samples can look like the beginning of a frame."""


class _Walk(NamedTuple):
    frames: int  # that are whole
    ended: bool  # there is no further one
    cut: bool  # the last one is not whole, and not counted


class _Tag(NamedTuple):
    frames: int  # that an MP3 has beside the tag's own, as the tag says; 0 where it does not say
    size: int  # bytes from the tag's frame on, likewise


def mend_mp3(data: bytes, seconds: float, *, whole: bool) -> tuple[bytes, str]:
    """Return an MP3 whose header says how many frames it has, and a clause on frames that are missing, or "".

    Args:
        data: the file, or its beginning.
        seconds: how much of it is read; where frames are not counted beyond, the header says more than there can be.
        whole: count them all.

    Raises:
        BadExample: there are more tags before the sound than any program writes.
    """
    start = _next_frame(data, _after_tags(data), None)
    if start is None:
        return data, ""
    tag = _tag_at(data, start)
    first = start + _size(data[start + 1], data[start + 2]) if tag else start
    claimed, size = tag or (0, 0)
    if 0 < size < len(data) - start - JUNK:  # several recordings in one file, of which the tag names the first
        claimed = 0
    per_second = _rate(data, start) / _samples_per_frame(data, start)
    walk = _walk(data, first, len(data) if whole and not claimed else int(seconds * per_second) + 8)
    missing = walk.cut or size > len(data) - start or (walk.ended and claimed > walk.frames + 1)
    if not missing and walk.frames - 1 <= claimed:
        return data[start:] if start > JUNK else data, ""
    if whole and not walk.ended:
        walk = _walk(data, first, len(data))
    frames = walk.frames if walk.ended else walk.frames + len(data) // LEAST_FRAME
    return _info_frame(data, start, frames) + data[first:], "MP3 of which frames are missing" * missing


def mend_flac(data: bytes) -> tuple[bytes, str]:
    """Return a FLAC whose header says how many samples it has, and a clause where it said another number, or "".

    Where it says none, which a recorder does that does not know it yet, there is no clause.

    Raises:
        BadExample: it says more than frames of so many bytes can hold.
    """
    claimed = int.from_bytes(data[21:26], "big") & 0xF_FFFF_FFFF
    if claimed > len(data) * MOST_PER_BYTE:
        raise BadExample(f"broken (its header says {claimed:,} samples, more than so few bytes can hold)")
    counted = _flac_samples(data, claimed)
    if counted in (0, claimed):
        return data, ""
    mended = ((data[21] >> 4) << 36 | counted).to_bytes(5, "big")
    return data[:21] + mended + data[26:], "FLAC whose header says a false number of samples" * bool(claimed)


def _after_tags(data: bytes) -> int:
    start, tags = 0, 0
    while data[start : start + 3] == b"ID3" and len(data) >= start + 10:
        size = sum(byte << shift for byte, shift in zip(data[start + 6 : start + 10], (21, 14, 7, 0), strict=True))
        start += 10 + size + (10 if data[start + 5] & 0x10 else 0)
        tags += 1
        if tags > MOST_TAGS:
            raise BadExample(f"broken (more than {MOST_TAGS} tags before the sound)")
    return start


def _size(second: int, third: int) -> int:
    """Return the bytes of a frame of layer III by the second and third byte of its header; 0 where it is none."""
    version = second >> 3 & 3
    if second & 0xE6 != 0xE2 or version == 1:
        return 0
    rate = RATES[third >> 2 & 3] >> HALVINGS[version]
    bits = KBITS[3 if version == 3 else 2][third >> 4] * 1000
    return (144 if version == 3 else 72) * bits // rate + (third >> 1 & 1) if bits and rate else 0


@lru_cache(maxsize=1 << 7)
def _sizes(like: bytes) -> dict[bytes, int]:
    """Return the bytes of frames of the version and rate of `like`, by the three bytes that each begins with."""
    if len(like) < 3 or like[0] != 0xFF:
        return {}
    starts = ((second, third) for second in (like[1], like[1] ^ 1) for third in range(256))
    return {
        bytes([0xFF, *start]): _size(*start) for start in starts if not (start[1] ^ like[2]) & 0x0C and _size(*start)
    }


def _rate(data: bytes, start: int) -> int:
    return RATES[data[start + 2] >> 2 & 3] >> HALVINGS[data[start + 1] >> 3 & 3]


def _samples_per_frame(data: bytes, start: int) -> int:
    return 1152 if data[start + 1] & 0x18 == 0x18 else 576


def _is_frame(data: bytes, offset: int, like: int | None) -> int:
    """Return the bytes of the frame at `at`, of the version and rate of that at `like`; 0 where there is none."""
    start = data[offset : offset + 3]
    sizes = _sizes(start if like is None else data[like : like + 3])
    return sizes.get(start, 0) if offset + 4 <= len(data) else 0


def _next_frame(data: bytes, start: int, like: int | None) -> int | None:
    """Return where the next frame begins that another follows, or the end of the file."""
    offset = data.find(b"\xff", start, start + JUNK)
    while offset >= 0:
        size = _is_frame(data, offset, like)
        if size and (offset + size + 4 > len(data) or _is_frame(data, offset + size, offset)):
            return offset
        offset = data.find(b"\xff", offset + 1, start + JUNK)
    return None


def _walk(data: bytes, first: int, most: int) -> _Walk:
    """Count the frames from `first` on, at most about `most`."""
    offset, frames, end, searched = first, 0, len(data), 0
    sizes = _sizes(data[first : first + 3])
    while frames < most:
        size = sizes.get(data[offset : offset + 3])
        if size and offset + 4 <= end:
            if offset + size > end:
                return _Walk(frames, ended=True, cut=True)
            offset, frames = offset + size, frames + 1
            continue
        following = _next_frame(data, offset + 1, first) if searched < JUNK else None
        if following is None:
            return _Walk(frames, ended=True, cut=False)
        searched += following - offset
        offset = following
    return _Walk(frames, ended=False, cut=False)


def _side_bytes(data: bytes, start: int) -> int:
    mono = data[start + 3] >> 6 == 3
    return (17 if mono else 32) if data[start + 1] & 0x18 == 0x18 else (9 if mono else 17)


def _tag_at(data: bytes, start: int) -> _Tag | None:
    """Return what the first frame says of the others, where it is the tag of an encoder (Xing, LAME, Fraunhofer)."""
    try:
        offset = start + 4 + _side_bytes(data, start)
        if data[offset : offset + 4] in (b"Xing", b"Info"):
            flags, first, second = struct.unpack_from(">III", data, offset + 4)
            return _Tag(first if flags & 1 else 0, {3: second, 2: first}.get(flags & 3, 0))
        offset = start + 4 + 32
        if data[offset : offset + 4] == b"VBRI":
            size, frames = struct.unpack_from(">II", data, offset + 10)
            return _Tag(frames, size)
    except struct.error:
        pass
    return None


def _info_frame(data: bytes, start: int, frames: int) -> bytes:
    """Return a frame, like that at `start`, that holds nothing but how many follow."""
    header = bytes([0xFF, data[start + 1] | 1, data[start + 2] & 0x0C | 0x90, data[start + 3]])
    body = bytes(_side_bytes(data, start)) + b"Info" + struct.pack(">II", 1, frames)
    return (header + body).ljust(_size(header[1], header[2]), b"\0")


def _flac_samples(data: bytes, claimed: int) -> int:
    """Return the samples of a FLAC by the number in its last frame's header; 0 where no frame is found."""
    first = flac_metadata(data)[1]
    mark = data[first : first + 2]  # that every frame of it begins with
    end, last, counted = len(data), max(first, len(data) - LAST_FRAMES), 0
    for _ in range(CANDIDATES if mark in FLAC_MARKS else 0):
        end = data.rfind(mark, last, end)
        if end < 0:
            break
        samples = _flac_frame_end(data, end)
        if samples == claimed > 0:
            return claimed
        counted = counted or samples
    return counted


def _flac_frame_end(data: bytes, offset: int) -> int:
    """Return the number of the sample behind the FLAC frame at `at`; 0 where no sound header stands there."""
    head = data[offset : offset + 17].ljust(17, b"\0")
    coded, rate = head[2] >> 4, head[2] & 15
    more = 8 - (head[4] ^ 0xFF).bit_length()  # ones that the first byte of the number begins with
    if not coded or rate == 15 or head[3] >> 4 > 10 or head[3] & 1 or more in (1, 8):
        return 0
    number, end = head[4] & (0x7F >> more), 5
    for byte in head[5 : 4 + more]:
        number, end = number << 6 | byte & 0x3F, end + 1
    explicit = {6: 1, 7: 2}.get(coded, 0)
    if explicit:
        size = int.from_bytes(head[end : end + explicit], "big") + 1
    else:
        size = 192 if coded == 1 else 576 << coded - 2 if coded < 6 else 256 << coded - 8
    end += explicit + {12: 1, 13: 2, 14: 2}.get(rate, 0)
    if _crc8(head[:end]) != head[end]:
        return 0
    return (number if head[1] & 1 else number * int.from_bytes(data[10:12], "big")) + size


def _crc8(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc = _remainder(crc ^ byte)
    return crc


@lru_cache(maxsize=1 << 8)
def _remainder(crc: int) -> int:
    for _ in range(8):
        crc = (crc << 1 ^ (0x07 if crc & 0x80 else 0)) & 0xFF
    return crc
