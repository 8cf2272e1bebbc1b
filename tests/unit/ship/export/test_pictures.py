"""What a graph prepares is what `predict` prepares, to the last level: any filter, size, orientation and JPEG scale."""

from __future__ import annotations

import functools
import io
from typing import Any

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops
from PIL import Image, ImageOps

from headstart.data.images import jpeg
from headstart.data.images.preprocessing import Preprocessing, decode, small_pixels, to_bytes
from headstart.engines.openvino import compile_model
from headstart.ship.export.numbers import quotient, two_product, two_sum
from headstart.ship.export.pictures import pixel_numbers, prepared
from headstart.ship.export.resize import FILTERS

PLAIN = np.zeros(3, np.float32)
SHARP = np.random.default_rng(0)
SIZES = [(300, 417), (500, 333), (333, 500), (50, 70), (1, 1), (3, 700), (700, 3), (64, 64)]
"""Heights and widths: of (500, 333) Pillow resizes the columns first."""


@functools.cache
def compiled(preprocessing: Preprocessing) -> Any:
    pictures, stored = ops.parameter([-1, -1, -1, 3], np.uint8), ops.parameter([3], np.float32)
    ready = prepared(pictures, stored, preprocessing)
    return compile_model(ov.Model([ready], [pictures, stored], "x"))


def sharp(height: int, width: int) -> np.ndarray:
    return (SHARP.integers(0, 2, (height, width, 3)) * 255).astype(np.uint8)


@pytest.mark.parametrize(
    "interpolation",
    [
        "bicubic",
        *(pytest.param(name, marks=pytest.mark.thorough) for name in sorted({*FILTERS, "nearest"} - {"bicubic"})),
    ],
)
def test_a_picture_of_any_size_is_resized_as_pillow_does(interpolation: Any) -> None:
    preprocessing = Preprocessing(size=(32, 32), resize=40, interpolation=interpolation)
    model = compiled(preprocessing)
    for size in SIZES:
        pixels = sharp(*size)
        assert (model([pixels[None], PLAIN])[0][0] == decode(to_bytes(pixels), preprocessing)).all(), size


@pytest.mark.parametrize(
    "preprocessing",
    [
        pytest.param(Preprocessing(size=(28, 44), resize=None), id="squashed", marks=pytest.mark.thorough),
        pytest.param(Preprocessing(size=(48, 40), resize=33, background=128), id="padded"),
        pytest.param(
            Preprocessing(size=(32, 32), resize=37, channels="bgr", interpolation="bilinear"),
            id="bgr",
            marks=pytest.mark.thorough,
        ),
        pytest.param(Preprocessing(size=(32, 24), resize=37, channels="grey"), id="grey", marks=pytest.mark.thorough),
    ],
)
def test_crops_backgrounds_and_channels_are_those_of_predict(preprocessing: Preprocessing) -> None:
    model = compiled(preprocessing)
    for size in SIZES[:4]:
        pixels = sharp(*size)
        assert (model([pixels[None], PLAIN])[0][0] == decode(to_bytes(pixels), preprocessing)).all(), size


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_jpeg_of_reduced_scale_and_any_orientation_is_prepared_as_its_file(orientation: int) -> None:
    preprocessing = Preprocessing(size=(32, 32), resize=41)
    exif = Image.Exif()
    exif[0x112] = orientation
    file = io.BytesIO()
    Image.fromarray(sharp(201, 331)).save(file, "JPEG", exif=exif)
    header = jpeg.read_header(file.getvalue())
    half = jpeg.decode_scaled(file.getvalue(), header, 4)
    assert half is not None and half.shape == (101, 166, 3)
    turned = Image.fromarray(half)
    turned.info["exif"] = exif.tobytes()
    upright = np.asarray(ImageOps.exif_transpose(turned))
    sides = (100.5, 165.5) if orientation < 5 else (165.5, 100.5)
    got = compiled(preprocessing)([upright[None], np.array([*sides, orientation], np.float32)])[0][0]
    assert (got == decode(file.getvalue(), preprocessing)).all()


def test_what_cannot_be_the_sides_of_a_picture_is_ignored() -> None:
    preprocessing = Preprocessing(size=(32, 32), resize=40)
    model, pixels = compiled(preprocessing), sharp(60, 70)
    for stored in ([np.nan, 1e30, -3], [59.0, 71.0, 0]):
        ready = model([pixels[None], np.array(stored, np.float32)])[0][0]
        assert (ready == decode(to_bytes(pixels), preprocessing)).all()


@pytest.mark.parametrize("size", [(224, 224), (33, 47), (8, 8)])
def test_the_pixels_of_the_simple_baseline_are_averaged_likewise(size: tuple[int, int]) -> None:
    preprocessing = Preprocessing(size=size, resize=max(size))
    ready, pictures = sharp(*size), ops.parameter([-1, *size, 3], np.uint8)
    model = compile_model(ov.Model([pixel_numbers(pictures, preprocessing)], [pictures], "x"))
    numbers = np.round(model([ready[None]])[0][0] * 255)
    assert (numbers == small_pixels(ready)).all()


def test_pairs_of_floats_hold_twice_the_digits() -> None:
    a, b = (ops.parameter([-1], np.float32) for _ in range(2))
    outputs = [part for pair in (two_sum(a, b), two_product(a, b), quotient(a, b)) for part in pair]
    model = compile_model(ov.Model([ops.result(each) for each in outputs], [a, b], "x"))
    x, y = np.random.default_rng(0).uniform(0.1, 1000, (2, 500)).astype(np.float32)
    parts = [part.astype(np.float64) for part in model([x, y]).values()]
    sums, products, quotients = (parts[at] + parts[at + 1] for at in (0, 2, 4))
    x64, y64 = x.astype(np.float64), y.astype(np.float64)
    assert (sums == x64 + y64).all() and (products == x64 * y64).all()
    assert np.abs(quotients / (x64 / y64) - 1).max() < 2**-44
