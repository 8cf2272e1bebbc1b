"""What the header of a JPEG says, and the EXIF numbers in it."""

from __future__ import annotations

import io
import struct

import pytest
from PIL import Image

from headstart.data.dataset import BadExample
from headstart.data.images.jpeg import Header, decode_scaled, read_header, tiff_numbers

SOUND = io.BytesIO()
Image.effect_mandelbrot((40, 30), (-2, -1, 1, 1), 20).convert("RGB").save(SOUND, "JPEG")


def test_the_header_says_what_pillow_says() -> None:
    assert read_header(SOUND.getvalue()) == Header(40, 30, 8, 3, adobe=False, orientation=1, several_scans=False)
    with pytest.raises(BadExample, match="truncated"):
        read_header(SOUND.getvalue()[:9])


def test_pixels_come_at_the_scale_asked_for() -> None:
    data = SOUND.getvalue()
    pixels = decode_scaled(data, read_header(data), 4)
    assert pixels is not None and pixels.shape == (15, 20, 3)


@pytest.mark.parametrize("order", ["<", ">"])
def test_numbers_of_a_tiff_directory_are_read_in_both_byte_orders(order: str) -> None:
    mark = b"II" if order == "<" else b"MM"
    entry = struct.pack(f"{order}HHIHH", 0x0112, 3, 1, 6, 0)
    block = mark + struct.pack(f"{order}HIH", 42, 8, 1) + entry
    assert tiff_numbers(block) == {0x0112: 6}
    assert tiff_numbers(block[:-4]) == {}
    assert tiff_numbers(b"not a directory") == {}
