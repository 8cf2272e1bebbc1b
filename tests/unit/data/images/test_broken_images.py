"""Pictures that cannot be used: refused with a short reason, the same in every run, without harm to the process."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable

import numpy as np
import pytest
import simplejpeg
from PIL import Image, ImageFile

from headstart.data.dataset import BadExample
from headstart.data.images.preprocessing import Preprocessing, decode, thumbnail

HOW = Preprocessing((32, 32), 36)


def photo(width: int = 96, height: int = 72) -> Image.Image:
    coarse = Image.fromarray(np.random.default_rng(5).integers(0, 256, (9, 12, 3), dtype=np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


def encoded(encoding: str, image: Image.Image | None = None, **options: object) -> bytes:
    file = io.BytesIO()
    (image or photo()).save(file, encoding, **options)
    return file.getvalue()


def reason(data: bytes) -> str:
    with pytest.raises(BadExample) as refused:
        decode(data, HOW)
    with pytest.raises(BadExample, match=r".") as again:
        thumbnail(data)
    assert again.value.reason == refused.value.reason
    assert len(refused.value.reason) < 120
    return refused.value.reason


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def tiff(tags: dict[int, int]) -> bytes:
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4)


JPEGS = {
    "baseline": encoded("JPEG", quality=90),
    "progressive": encoded("JPEG", progressive=True),
    "grey": encoded("JPEG", photo().convert("L")),
    "cmyk": encoded("JPEG", photo().convert("CMYK")),
    "scaled": encoded("JPEG", photo(800, 600)),
}


@pytest.mark.parametrize("name", JPEGS)
def test_truncated_jpegs_are_skipped__IMG_01(name: str) -> None:
    data = JPEGS[name]
    assert reason(data[: len(data) // 2]) == "truncated"
    assert reason(data[:-16]) == "truncated"
    assert reason(data[:300]) == "truncated"
    assert reason(data[:5]) == "truncated"


def test_a_cut_jpeg_with_an_end_marker_is_not_padded_with_grey__IMG_01() -> None:
    data = JPEGS["baseline"]
    assert reason(data[: len(data) // 2] + b"\xff\xd9") == "truncated"
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


@pytest.mark.parametrize("name", JPEGS)
def test_bytes_after_the_end_of_a_jpeg_do_no_harm__IMG_01(name: str) -> None:
    data = JPEGS[name]
    np.testing.assert_array_equal(decode(data + b"\0" * 4000 + b"junk", HOW), decode(data, HOW))
    np.testing.assert_array_equal(decode(data + JPEGS["grey"], HOW), decode(data, HOW))


def test_stray_bytes_before_the_end_marker_do_no_harm__IMG_01() -> None:
    data = JPEGS["baseline"]
    stray = data[:-2] + b"\0" * 13 + data[-2:]
    with pytest.raises(ValueError, match="extraneous bytes"):
        simplejpeg.decode_jpeg(stray)
    np.testing.assert_array_equal(decode(stray, HOW), decode(data, HOW))


@pytest.mark.parametrize("encoding", ["PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "AVIF"])
def test_every_format_cut_in_half_is_truncated__IMG_01(encoding: str) -> None:
    data = encoded(encoding)
    assert reason(data[: len(data) // 2]) == "truncated"


def test_nothing_at_all_is_empty__IMG_02() -> None:
    assert reason(b"") == "empty"


def test_a_jpeg_of_12_bits_is_refused_by_name() -> None:
    data = JPEGS["baseline"]
    at = data.index(b"\xff\xc0") + 4
    assert reason(data[:at] + b"\x0c" + data[at + 1 :]) == "format not accepted (12-bit JPEG)"


def test_other_formats_never_reach_a_decoder__IMG_14(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a decoder was entered")

    monkeypatch.setattr(Image, "open", refuse)
    monkeypatch.setattr(ImageFile.ImageFile, "__init__", refuse)
    for encoding in ("EPS", "ICO", "ICNS", "SGI", "PCX", "DDS", "JPEG2000", "PDF", "TGA", "QOI"):
        file = io.BytesIO()
        photo(64, 64).save(file, encoding)
        assert reason(file.getvalue()).startswith(("format not accepted", "not an accepted image"))


BOMBS: dict[str, Callable[[], bytes]] = {
    "bmp": lambda: b"BM" + struct.pack("<IIIIiiHH", 54, 0, 54, 40, 2_450_000, 2_450_000, 1, 24) + b"\0" * 24,
    "gif": lambda: b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + b",\0\0\0\0\xff\xff\xff\xff\0\x02\0;",
    "gif-extents": lambda: b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0, 0, 0) + b",\0\0\0\0\xff\xff\xff\xff\0\x02\0;",
    "png": lambda: (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 30000, 30000, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", b"x")
    ),
    "webp": lambda: b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\xff\xff\x0f\xff\xff\x0f",
    "ppm": lambda: b"P6\n# a comment\n100000 100000\n255\n",
    "tiff": lambda: tiff({256: 90000, 257: 90000, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 90000, 279: 1}),
    "jpeg": lambda: b"\xff\xd8\xff\xc0\x00\x11\x08\xff\xff\xff\xff\x03\x01\x22\0\x02\x11\x01\x03\x11\x01\xff\xda\0\x0c",
    "ico": lambda: b"\0\0\x01\0\x01\0" + b"\0" * 16 + b"\x89PNG\r\n\x1a\n",
    "icns": lambda: b"icns\xff\xff\xff\xffic10\xff\xff\xff\xff",
}
MEASURE = """
import json, resource, sys, time
from headstart.data.dataset import BadExample
from headstart.data.images.preprocessing import Preprocessing, decode
from headstart.data.images import preprocessing as images
from headstart.data.images import jpeg
from headstart.data.images import pillow
import PIL.Image, simplejpeg, numpy
results = {}
for name, text in json.load(sys.stdin).items():
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    try:
        decode(bytes.fromhex(text), Preprocessing((32, 32), 36))
        reason = None
    except BadExample as unusable:
        reason = unusable.reason
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    results[name] = reason, time.process_time() - start, grown / 1024
print(json.dumps(results))
"""


def measured(files: dict[str, bytes]) -> dict[str, tuple[str, float, float]]:
    """Reason, seconds of the processor and MiB of growth of each file, in a process of its own."""
    texts = json.dumps({name: data.hex() for name, data in files.items()})
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", MEASURE], input=texts, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    results: dict[str, tuple[str, float, float]] = json.loads(done.stdout)
    return results


def text_bomb() -> bytes:
    """A PNG whose compressed comments unpack to 1.2 GB."""
    body = chunk(b"zTXt", b"note\0\0" + zlib.compress(b"a" * 12_000_000, 9)) * 100
    sound = encoded("PNG")
    return sound[:33] + body + sound[33:]


def many_pixels() -> bytes:
    file = io.BytesIO()
    Image.new("1", (13400, 13400)).save(file, "PNG")
    return file.getvalue()


def test_bombs_are_refused_from_the_header_at_no_cost__IMG_09_IMG_10_IMG_11() -> None:
    files = {name: make() for name, make in BOMBS.items()} | {"text": text_bomb(), "179Mpx": many_pixels()}
    results = measured(files)
    for name, (why, seconds, grown) in results.items():
        assert seconds < 1, name
        assert grown < 100, name
        if name in ("ico", "icns"):
            assert why == f"format not accepted ({name.upper()}): convert it to JPEG or PNG"
        elif name != "text":
            assert why.startswith("too many pixels"), name
    assert results["bmp"][0] == "too many pixels (2450000 x 2450000)"
    assert results["179Mpx"][0] == "too many pixels (13400 x 13400)"
    assert results["text"][0].startswith("broken: ")


HOSTILE_TIFFS = {
    "a-loop": b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHIII", 256, 4, 1, 5, 8),
    "no-entries": b"II*\0\x08\0\0\0\0\0\0\0\0\0",
    "text-for-width": b"II*\0\x08\0\0\0\x02\0" + struct.pack("<HHI4sHHIII", 256, 2, 4, b"abc\0", 257, 4, 1, 5, 0),
    "zero-bits": b"II*\0\x08\0\0\0\x03\0" + struct.pack("<HHIIHHIIHHIII", 256, 4, 1, 5, 257, 4, 1, 5, 258, 3, 1, 0, 0),
    "huge-count": b"II*\0\x08\0\0\0\x02\0" + struct.pack("<HHIIHHIII", 256, 4, 1, 5, 273, 4, 2**31, 8, 0),
    "rational-by-zero": b"II*\0\x08\0\0\0\x02\0" + struct.pack("<HHIIHHIII", 256, 5, 1, 0, 257, 5, 1, 0, 0),
}


@pytest.mark.parametrize("name", HOSTILE_TIFFS)
def test_hostile_tiffs_are_skipped__IMG_13(name: str) -> None:
    assert reason(HOSTILE_TIFFS[name])


BROAD = (MemoryError, EOFError, OSError, LookupError, ArithmeticError, RuntimeError, NameError, AssertionError)
OTHERS = (TypeError, ValueError, AttributeError, SyntaxError, struct.error, zlib.error, Image.DecompressionBombError)


@pytest.mark.parametrize("error", BROAD + OTHERS)
def test_whatever_a_decoder_raises_becomes_a_reason__IMG_13(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error("<_io.BytesIO object at 0x7f00>")

    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    assert "0x7f" not in reason(encoded("TIFF"))


@pytest.mark.parametrize("where", ["IHDR", "IDAT", "IEND", "data"])
def test_a_bad_checksum_has_the_same_outcome_each_run__IMG_15(where: str) -> None:
    data = bytearray(encoded("PNG"))
    at = data.index(where.encode()) if where != "data" else data.index(b"IEND") - 10
    length = int.from_bytes(data[at - 4 : at]) if where != "data" else 0
    data[at + 4 + length if where != "data" else at] ^= 0x5A
    outcomes = {outcome(bytes(data)) for _ in range(3)}
    assert len(outcomes) == 1


def outcome(data: bytes) -> bytes | str:
    try:
        return decode(data, HOW).tobytes()
    except BadExample as unusable:
        return unusable.reason
