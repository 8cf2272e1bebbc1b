"""JPEG: what its header says, and its pixels at the scale that is needed, by libjpeg-turbo.

The header is read by hand: Pillow takes three times as long for it (129 against 40 microseconds, of about 2,700 for
reading a photo), and refuses files for parts of the header that do not touch the pixels.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.data.dataset import BadExample

EIGHTHS = (1, 2, 4, 8)
"""The scales, in eighths, that libjpeg-turbo has fast code for; 5/8 to 7/8 take longer than the whole picture."""

_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_ALONE = frozenset(range(0xD0, 0xD9)) | {0x01}
_DAMAGE = ("bad huffman code", "bad arithmetic code", "instead of rst")


@dataclass(frozen=True, slots=True)
class Header:
    """What the markers before the first scan say."""

    width: int  # in pixels, as stored (before the rotation that `orientation` asks for)
    height: int  # in pixels, as stored
    precision: int  # bits per sample
    components: int  # 1 is grey, 3 colour, 4 CMYK
    adobe: bool  # whether the Adobe marker is there, which means that CMYK is stored inverted
    orientation: int  # 1..8 as in EXIF
    several_scans: bool  # whether more than the first is decoded, and all are held in memory until the last has come


def read_header(data: bytes) -> Header:
    """Return what the header of a JPEG says; raises BadExample where it ends before the first scan, or is broken."""
    frame: tuple[int, int, int, int] | None = None
    adobe, progressive, first_scan, xmp = False, False, b"", b""
    exif: list[bytes] = []
    for marker, start, end in _segments(data):
        if marker in _FRAMES and end - start >= 6:
            frame, progressive = struct.unpack_from(">BHHB", data, start), marker in _PROGRESSIVE
        elif marker == 0xDA:
            first_scan = data[start:end]
        elif marker == 0xEE and data.startswith(b"Adobe", start):
            adobe = True
        elif marker == 0xE1 and data.startswith(b"Exif\0\0", start):
            exif.append(data[start + 6 : end])
        elif marker == 0xE1 and data.startswith(b"http://ns.adobe.com/xap/", start):
            xmp = data[start:end]
    if frame is None:
        raise BadExample("broken: no frame header before the first scan")
    precision, height, width, components = frame
    several_scans = progressive or first_scan[:1] != bytes([components])  # its first byte counts its components
    return Header(width, height, precision, components, adobe, _orientation(b"".join(exif), xmp), several_scans)


def _segments(data: bytes) -> list[tuple[int, int, int]]:
    """Return (marker, start, end) of the payload of each segment before the first scan; of that, its first byte."""
    segments: list[tuple[int, int, int]] = []
    offset = 2
    while True:
        offset = data.find(b"\xff", offset)
        if offset < 0 or offset + 4 > len(data):
            raise BadExample("truncated")
        marker = data[offset + 1]
        if marker in (0x00, 0xFF) or marker in _ALONE:
            offset += 1 if marker == 0xFF else 2
            continue
        if marker in (0xDA, 0xD9):
            return [*segments, (marker, offset + 4, offset + 5)]
        (length,) = struct.unpack_from(">H", data, offset + 2)
        segments.append((marker, offset + 4, offset + 2 + length))
        offset += 2 + max(length, 2)


def _orientation(exif: bytes, xmp: bytes) -> int:
    value = tiff_numbers(exif).get(0x0112, 0)
    if not value:
        named = re.search(rb'tiff:Orientation(?:="|>)([1-8])', xmp)
        value = int(named[1]) if named else 1
    return value if 1 <= value <= 8 else 1


def tiff_numbers(block: bytes) -> dict[int, int]:
    """Return the tags of the first directory of a TIFF or EXIF block that hold one integer; {} where it is broken."""
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None or len(block) < 10:
        return {}
    magic, start = struct.unpack_from(f"{order}HI", block, 2)
    if magic != 42 or start + 2 > len(block):
        return {}
    (entries,) = struct.unpack_from(f"{order}H", block, start)
    numbers: dict[int, int] = {}
    for offset in range(start + 2, min(start + 2 + 12 * entries, len(block) - 11), 12):
        tag, kind, count = struct.unpack_from(f"{order}HHI", block, offset)
        if count == 1 and kind in (3, 4):
            (numbers[tag],) = struct.unpack_from(f"{order}{'H' if kind == 3 else 'I'}", block, offset + 8)
    return numbers


def decode_scaled(data: bytes, header: Header, eighths: int) -> NDArray[np.uint8] | None:
    """Return the pixels at `eighths`/8 of the stored size, rounded up: uint8 of shape (height, width, 3), RGB.

    A file whose data ends early, or is damaged where that can be seen, is refused as "truncated" or "broken: …":
    libjpeg would paint the rest grey. Bytes after the end of the picture are ignored. Where libjpeg-turbo remarks on
    something that need not touch the pixels, that is None: Pillow has the last word there.
    """
    import simplejpeg

    height, width = -(-header.height * eighths // 8), -(-header.width * eighths // 8)
    least = {} if eighths == 8 else {"min_height": height, "min_width": width}
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, "RGB", **least)
    except ValueError as error:
        remark = str(error).lower()
        if "premature end" in remark:
            raise BadExample("truncated") from None
        if any(damage in remark for damage in _DAMAGE):
            raise BadExample("broken: damaged JPEG data") from None
        return None
    return pixels if pixels.shape[:2] == (height, width) else None
