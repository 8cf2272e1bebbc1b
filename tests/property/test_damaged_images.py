"""Whatever happens to the bytes of a picture, it is decoded or refused with a reason, and the same way each time."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from headstart.data.dataset import BadExample
from headstart.data.images.preprocessing import Preprocessing, decode, thumbnail

HOW = Preprocessing((16, 24), 20)


def encoded(encoding: str, mode: str = "RGB", **options: object) -> bytes:
    coarse = Image.fromarray(np.random.default_rng(5).integers(0, 256, (5, 6, 3), dtype=np.uint8))
    file = io.BytesIO()
    coarse.resize((48, 36), Image.Resampling.BICUBIC).convert(mode).save(file, encoding, **options)
    return file.getvalue()


SOUND = {
    "jpeg": encoded("JPEG"),
    "jpeg-progressive": encoded(
        "JPEG", progressive=True, exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0"
    ),
    "jpeg-cmyk": encoded("JPEG", "CMYK"),
    "png": encoded("PNG", "RGBA"),
    "png-palette": encoded("PNG", "P"),
    "gif": encoded("GIF", "P"),
    "webp": encoded("WEBP"),
    "webp-lossless": encoded("WEBP", "RGBA", lossless=True),
    "bmp": encoded("BMP"),
    "tiff": encoded("TIFF"),
    "tiff-lzw": encoded("TIFF", compression="tiff_lzw"),
    "tiff-float": encoded("TIFF", "F"),
    "pgm": encoded("PPM", "L"),
    "avif": encoded("AVIF"),
}


def outcome(data: bytes) -> bytes | str:
    """The pixels, or the reason; anything else raised is a failure."""
    try:
        pixels = decode(data, HOW)
    except BadExample as unusable:
        return unusable.reason
    assert pixels.shape == (16, 24, 3)
    assert pixels.dtype == np.uint8
    assert thumbnail(data).startswith(b"\xff\xd8\xff")
    return pixels.tobytes()


@pytest.mark.parametrize("name", SOUND)
@settings(max_examples=20)
@given(data=st.data())
def test_damaged_pictures_are_decoded_or_refused_alike_each_time__IMG_13_IMG_15(name: str, data: st.DataObject) -> None:
    sound = SOUND[name]
    anywhere = st.integers(0, len(sound) - 1) | st.integers(0, min(80, len(sound) - 1))
    damaged = bytearray(sound)
    for at, value in data.draw(st.lists(st.tuples(anywhere, st.integers(0, 255)), min_size=0, max_size=6)):
        damaged[at] = value
    kept = bytes(damaged[: data.draw(st.just(len(sound)) | anywhere)])
    once = outcome(kept)
    assert once
    assert once == outcome(kept)


@settings(max_examples=75)
@given(start=st.sampled_from([data[:size] for data in SOUND.values() for size in (2, 4, 12, 16)]), rest=st.binary())
def test_any_bytes_after_a_magic_number_are_refused_or_decoded__IMG_13(start: bytes, rest: bytes) -> None:
    assert outcome(start + rest) == outcome(start + rest)
