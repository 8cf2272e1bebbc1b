"""Sizes from headers, and what is odd about a picture, as Pillow's plug-ins tell them."""

from __future__ import annotations

import io

import numpy as np
import pytest
from encoded_images import ENCODED
from PIL import Image

from headstart.data.dataset import BadExample
from headstart.data.images.formats import Format
from headstart.data.images.pillow import is_deep, read_size, remarks


@pytest.mark.parametrize("encoding", ENCODED)
def test_the_size_is_read_from_the_header(encoding: Format) -> None:
    assert read_size(ENCODED[encoding], encoding) == (40, 30)


@pytest.mark.parametrize("encoding", ["png", "gif", "bmp", "webp", "tiff"])
def test_a_header_cut_short_is_truncated__IMG_01(encoding: Format) -> None:
    with pytest.raises(BadExample, match=r"^truncated$"):
        read_size(ENCODED[encoding][:9], encoding)


def test_a_misnamed_picture_is_remarked_on__IMG_03() -> None:
    assert remarks(ENCODED["png"], "a/b.JPG") == ("PNG named .jpg, read by content",)
    assert remarks(ENCODED["jpeg"], "b.png") == ("JPEG named .png, read by content",)
    assert remarks(ENCODED["jpeg"], "b.jpeg") == ()
    assert remarks(ENCODED["jpeg"], "no suffix") == ()


@pytest.mark.parametrize("encoding", ["GIF", "WEBP", "PNG", "TIFF", "MPO", "AVIF"])
def test_several_frames_are_remarked_on__IMG_12(encoding: str) -> None:
    frames = [Image.fromarray(np.full((8, 8, 3), grey, np.uint8)) for grey in (20, 120, 220)]
    file = io.BytesIO()
    frames[0].save(file, encoding, save_all=True, append_images=frames[1:])
    assert remarks(file.getvalue(), "many") == ("several frames or pages, the first is used",)


@pytest.mark.parametrize("encoding", ENCODED)
def test_a_single_frame_is_not_remarked_on__IMG_12(encoding: str) -> None:
    assert remarks(ENCODED[encoding], "one") == ()


def test_more_than_8_bits_are_told_by_the_header() -> None:
    file = io.BytesIO()
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(file, "PNG")
    assert is_deep(file.getvalue())
    assert not any(is_deep(data) for data in ENCODED.values())
