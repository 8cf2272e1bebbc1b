"""Which files are pictures: the accepted formats, told by their first bytes, and sizes read from headers alone."""

from __future__ import annotations

import re
import struct
import zlib
from typing import Literal

from headstart.data.dataset import BadExample

Format = Literal["jpeg", "png", "webp", "gif", "bmp", "tiff", "pnm", "avif"]

SUFFIXES: dict[Format, tuple[str, ...]] = {
    "jpeg": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "png": (".png", ".apng"),
    "webp": (".webp",),
    "gif": (".gif",),
    "bmp": (".bmp", ".dib"),
    "tiff": (".tif", ".tiff"),
    "pnm": (".pgm", ".ppm", ".pbm", ".pnm"),
    "avif": (".avif",),
}
_RAW = "3fr arw cr2 cr3 crw dcr dng erf iiq kdc mef mos mrw nef nrw orf pef raf raw rw2 sr2 srw"
RAW_SUFFIXES = frozenset(f".{name}" for name in _RAW.split())
"""Of the files of cameras, which look like a TIFF of a small preview."""
UNREAD_SUFFIXES = RAW_SUFFIXES.union((".heic", ".heif", ".hif", ".jp2", ".j2k", ".jxl", ".dcm"))
"""Of photos that are not read: each is skipped and counted, never passed over."""
IMAGE_SUFFIXES: frozenset[str] = frozenset(suffix for suffixes in SUFFIXES.values() for suffix in suffixes).union(
    UNREAD_SUFFIXES
)
"""Lower-case suffixes, with their dot, of the accepted formats; the bytes decide, a suffix only proposes."""

NOT_ACCEPTED = "format not accepted ({}): convert it to JPEG or PNG"

MAX_PIXELS = 64 * 2**20  # 192 MiB as RGB; above every common camera, below what a bomb needs

_Beginning = bytes | tuple[bytes, ...]  # of a file, or several of which it has one
_MAGIC: tuple[tuple[_Beginning, Format], ...] = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    ((b"GIF87a", b"GIF89a"), "gif"),
    (b"BM", "bmp"),
    ((b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"), "tiff"),
)
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs")
_BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), "avif"),
    **dict.fromkeys(_HEIC, "HEIC"),
    **dict.fromkeys((b"mif1", b"msf1", b"mif2"), "HEIF"),
    b"crx ": "raw CR3 of a camera",
}
_REFUSED: tuple[tuple[int, _Beginning, str], ...] = (
    (0, (b"%!PS", b"\xc5\xd0\xd3\xc6"), "EPS"),
    (0, b"8BPS", "PSD"),
    (0, (b"\xd7\xcd\xc6\x9a", b"\x01\x00\x09\x00\x00\x03"), "WMF"),
    (40, b" EMF", "EMF"),
    (0, b"SIMPLE  =", "FITS"),
    (0, b"\x89HDF", "HDF5"),
    (0, b"GRIB", "GRIB"),
    (0, b"BUFR", "BUFR"),
    (0, b"\x00\x00\x01\x00", "ICO"),
    (0, b"\x00\x00\x02\x00", "CUR"),
    (0, b"icns", "ICNS"),
    (0, b"\x01\xda", "SGI"),
    (4, (b"\x11\xaf", b"\x12\xaf"), "FLI"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (4, b"jP  \r\n\x87\n", "JPEG 2000"),
    (0, b"\xff\x0a", "JPEG XL"),
    (4, b"JXL \r\n\x87\n", "JPEG XL"),
    (0, b"DDS ", "DDS"),
    (0, b"qoif", "QOI"),
    (0, b"\x76\x2f\x31\x01", "OpenEXR"),
    (0, b"#?RADIANCE", "Radiance HDR"),
    (0, b"\x0a\x05\x01\x08", "PCX"),
    (8, b"CR\x02\x00", "CR2"),
    (0, (b"IIRO", b"IIRS", b"MMOR"), "raw ORF of a camera"),
    (0, b"IIU\x00", "raw RW2 of a camera"),
    (0, b"FUJIFILMCCD-RAW", "raw RAF of a camera"),
    (0, b"FOVb", "raw X3F of a camera"),
    (0, b"\x00MRM", "raw MRW of a camera"),
    (6, b"HEAPCCDR", "raw CRW of a camera"),
    (128, b"DICM", "DICOM"),
    # DICOM without its preamble: the first tag is in group 2 or 8, its type is spelled
    (4, (b"UL\x04\x00", b"UI\x16\x00", b"UI\x1a\x00", b"CS\x0a\x00"), "DICOM"),
    (344, (b"n+1\x00", b"ni1\x00", b"n+2\x00"), "NIfTI"),
    (4, (b"n+2\x00", b"ni2\x00"), "NIfTI"),
    (0, b"NRRD000", "NRRD"),
    (0, (b"ObjectType", b"NDims = "), "MetaImage"),
    (208, b"MAP ", "MRC"),
    (0, (b"CDF\x01", b"CDF\x02", b"CDF\x05"), "NetCDF"),
    (0, b"ZISRAWFILE", "CZI"),
    (0, b"\xda\xce\xbe\x0a", "ND2"),
    (0, b"NITF0", "NITF"),
    (0, b"gimp xcf", "XCF"),
    (0, b"AT&TFORM", "DjVu"),
    (0, (b"II\xbc\x01", b"II\xbc\x00"), "JPEG XR"),
    (0, b"BPG\xfb", "BPG"),
    (0, b"FLIF", "FLIF"),
    (0, (b"PF\n", b"Pf\n"), "PFM"),
    (0, b"P7\n", "PAM"),
    (0, b"\x8aMNG\r\n\x1a\n", "MNG"),
)
_OTHERS: tuple[tuple[_Beginning, str], ...] = (
    (b"%PDF", "PDF"),
    ((b"PK\x03\x04", b"PK\x05\x06"), "ZIP"),
    (b"\x1f\x8b", "gzip"),
    (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
    (b"Rar!", "RAR"),
    ((b"\x7fELF", b"MZ"), "a program"),
    ((b"RIFF", b"OggS"), "sound or video"),
    ((b"ID3", b"fLaC"), "sound"),
    (b"\x1aE\xdf\xa3", "video"),
    (b"SQLite format 3", "SQLite"),
    (b"version https://git-lfs", "a Git LFS pointer"),
)


def sniff(data: bytes) -> Format:
    """Return the accepted format of `data`, told by its first bytes.

    Raises:
        BadExample: "empty", "format not accepted (EPS)" for a picture that this package does not read, or "not an
            accepted image (looks like PDF)" for anything else.
    """
    if not data:
        raise BadExample("empty")
    if data.startswith(b"\x1f\x8b"):
        data = _beginning(data)
    refused = next((name for at, magic, name in _REFUSED if data.startswith(magic, at)), None)
    if refused:
        raise BadExample(NOT_ACCEPTED.format(refused))
    encoding = next((encoding for magic, encoding in _MAGIC if data.startswith(magic)), None)
    if encoding:
        return encoding
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if re.match(rb"P[1-6][\s#]", data):
        return "pnm"
    if data[4:8] == b"ftyp":
        brand = _brand(data)
        if brand == "avif":
            return "avif"
        raise BadExample(NOT_ACCEPTED.format(brand) if brand else "not an accepted image (looks like video)")
    kind = looks_like(data)
    raise BadExample(f"not an accepted image (looks like {kind})" if kind else "not an accepted image")


def _brand(data: bytes) -> str | None:
    """Return the picture format that the brands of an ISO media file name; AVIF where several are named."""
    (length,) = struct.unpack_from(">I", data)
    brands = [data[at : at + 4] for at in (8, *range(16, min(length, 64, len(data)), 4))]
    picture_formats = [_BRANDS[brand] for brand in brands if brand in _BRANDS]
    return "avif" if "avif" in picture_formats else next(iter(picture_formats), None)


def is_picture(data: bytes) -> bool:
    """Return whether the beginning of a file is that of a picture, in an accepted format or another."""
    try:
        sniff(data)
    except BadExample as error:
        return error.reason.startswith(NOT_ACCEPTED.partition("(")[0]) or looks_like(data) == "SVG"
    return True


def _beginning(data: bytes) -> bytes:
    """Return the beginning of what a gzip holds, where that is a picture in a format of its own; else `data`."""
    try:
        inner = zlib.decompressobj(31).decompress(data[:4096], 512)
    except zlib.error:
        return data
    return inner if any(inner.startswith(magic, at) for at, magic, _ in _REFUSED) else data


def looks_like(data: bytes) -> str | None:
    """Return what data that is no picture seems to be ("PDF", "text"), or None where nothing tells."""
    kind = next((name for magic, name in _OTHERS if data.startswith(magic)), None)
    if kind is None:
        text = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
        if b"<svg" in text:
            kind = "SVG"
        elif text.startswith((b"<!doctype html", b"<html")):
            kind = "HTML"
        elif text.startswith(b"<?xml"):
            kind = "XML"
        elif text and all(32 <= byte < 127 or byte in b"\t\r\n\f" for byte in text):
            kind = "text"
    return kind


def check_pixels(width: int, height: int) -> None:
    """Raise BadExample when a picture of `width` x `height` pixels has none, or more than `MAX_PIXELS`."""
    if width < 1 or height < 1:
        raise BadExample(f"broken: no pixels ({width} x {height})")
    if width * height > MAX_PIXELS:
        raise BadExample(f"too many pixels ({width} x {height})")


def claimed_size(data: bytes, encoding: Format) -> tuple[int, int] | None:
    """Return the width and height that the header of a WebP or AVIF claims; None for others, or where it claims none.

    Pillow's plug-ins of these two allocate the pixels when they open a file; those of the other formats read the header
    alone, and tell the size themselves.

    Raises:
        BadExample: the file is truncated.
    """
    try:
        return {"webp": _webp_size, "avif": _avif_size}[encoding](data) if encoding in ("webp", "avif") else None
    except struct.error:
        raise BadExample("truncated") from None


def _webp_size(data: bytes) -> tuple[int, int] | None:
    (length,) = struct.unpack_from("<I", data, 4)
    if len(data) < length + 8:
        raise BadExample("truncated")
    chunk = data[12:16]
    if chunk == b"VP8X":
        bits = int.from_bytes(data[24:30], "little")
        return (bits & 0xFFFFFF) + 1, (bits >> 24) + 1
    if chunk == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if chunk == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None


def _avif_size(data: bytes) -> tuple[int, int] | None:
    offset, sizes = 0, []
    while offset + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, offset)
        if kind == b"meta":
            boxes = re.finditer(rb"ispe....(.{8})", data[offset : offset + length], re.DOTALL)
            sizes = [struct.unpack(">II", match[1]) for match in boxes]
        if length < 8:  # 0: up to the end of the file; 1: a 64-bit length, which no picture within our limit needs
            return None
        offset += length
    if offset > len(data):
        raise BadExample("truncated")
    return max(sizes, key=lambda size: size[0] * size[1], default=None)
