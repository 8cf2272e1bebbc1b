"""Pictures that cost much are decoded in a process whose time and memory end; the pixels are the same."""

from __future__ import annotations

import io
import resource
from collections.abc import Callable
from dataclasses import asdict

import numpy as np
import pytest
from PIL import Image

from headstart.data.dataset import BadExample, run_bounded
from headstart.data.images import preprocessing
from headstart.data.images.preprocessing import Preprocessing, decode, thumbnail

PREPROCESSING = Preprocessing((32, 48), 40)


def encoded(encoding: str, size: tuple[int, int] = (640, 480), mode: str = "RGB", **options: object) -> bytes:
    """Return a smooth picture in an encoding."""
    small = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(small).resize(size, Image.Resampling.BICUBIC).convert(mode).save(file, encoding, **options)
    return file.getvalue()


def with_scans(count: int, size: tuple[int, int] = (640, 480)) -> bytes:
    """Return a progressive JPEG whose last scan is there so many times."""
    data = encoded("JPEG", size, progressive=True)
    last = data[data.rfind(b"\xff\xc4", 0, data.rfind(b"\xff\xda")) : -2]
    return data[:-2] + last * count + data[-2:]


@pytest.mark.parametrize(
    "data",
    [
        encoded("PNG", mode="RGBA"),
        encoded("TIFF", mode="F"),
        encoded("TIFF", mode="I;16"),
        encoded("WEBP"),
        encoded("JPEG", progressive=True),
        encoded("JPEG", mode="CMYK"),
        with_scans(2),
    ],
    ids=["png", "float", "16 bits", "webp", "progressive", "cmyk", "scans"],
)
def test_the_pixels_are_the_same_in_either_process(data: bytes) -> None:
    here, small = decode(data, PREPROCESSING), thumbnail(data)
    values, pixels = run_bounded(f"{preprocessing.__name__}:decode_task", data, **asdict(PREPROCESSING))
    assert (tuple(values["shape"]), pixels) == (here.shape, here.tobytes())
    assert run_bounded(f"{preprocessing.__name__}:thumbnail_task", data, side=96)[1] == small


def test_a_broken_picture_has_the_same_reason_in_either_process() -> None:
    cut = encoded("PNG")[:-400]
    with pytest.raises(BadExample) as here:
        decode(cut, PREPROCESSING)
    with pytest.raises(BadExample) as there:
        run_bounded(f"{preprocessing.__name__}:decode_task", cut, **asdict(PREPROCESSING))
    assert here.value.reason == there.value.reason


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        pytest.param(lambda: with_scans(6_000, (3000, 3000)), "takes more than 5 s", marks=pytest.mark.slow),
        pytest.param(
            lambda: encoded("TIFF", (8000, 8000), "F", compression="tiff_deflate"), "memory", marks=pytest.mark.thorough
        ),
        pytest.param(
            lambda: encoded("TIFF", (8000, 8000), "I", compression="tiff_deflate"), "memory", marks=pytest.mark.slow
        ),
    ],
    ids=["scans", "float", "integers"],
)
def test_a_picture_that_takes_too_much_is_skipped__IMG_10_IMG_11(make: Callable[[], bytes], reason: str) -> None:
    data = make()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(BadExample, match=reason):
        decode(data, PREPROCESSING)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 << 10, "KiB, in this process"


@pytest.mark.thorough
def test_a_large_picture_of_floats_is_decoded_by_bands() -> None:
    data = encoded("TIFF", (4000, 4000), "F", compression="tiff_deflate")
    whole, small = (decode(data, PREPROCESSING), decode(encoded("TIFF", (600, 600), "F"), PREPROCESSING))
    assert np.abs(whole.astype(int) - small).mean() < 2
