"""Pictures of more than 8 bits are read by one range for the whole set: planted pixels that must come back."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from headstart.data.dataset import Dataset
from headstart.data.file_tree import Folder
from headstart.data.images.deep import decide_range, ranges_of, with_ranges
from headstart.data.images.formats import sniff
from headstart.data.images.pillow import read_rgb
from headstart.data.images.value_range import in_one_range
from headstart.data.readers.folders.class_folders import from_folders

EIGHT = np.random.default_rng(0).integers(0, 256, (40, 30, 4)).astype(np.uint8)
GREY = EIGHT[:, :, 0]


def png16(values: NDArray[np.uint16], colour: int) -> bytes:
    """Return a PNG of 16 bits, which Pillow writes in grey alone; `colour` as PNG counts its kinds of pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff16(values: NDArray[np.uint16], order: str) -> bytes:
    """Return an uncompressed TIFF of 16 bits a channel in colour, which Pillow does not write."""
    height, width, channels = values.shape
    pixels = values.astype(f"{order}u2").tobytes()
    entries = [
        (256, 4, width), (257, 4, height), (258, 3, 0), (259, 3, 1), (262, 3, 2), (273, 4, 0),
        (277, 3, channels), (278, 4, height), (279, 4, len(pixels)), (284, 3, 1),
    ]  # fmt: skip
    after = 8 + 2 + 12 * len(entries) + 4
    places = {258: after, 273: after + 2 * channels}
    directory = struct.pack(f"{order}H", len(entries))
    for tag, kind, value in entries:
        number = places.get(tag, value)
        wide = kind == 4 or tag == 258
        count = channels if tag == 258 else 1
        directory += struct.pack(f"{order}HHI", tag, kind, count)
        directory += struct.pack(f"{order}I", number) if wide else struct.pack(f"{order}HH", number, 0)
    bits = struct.pack(f"{order}{channels}H", *[16] * channels)
    return (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8) + directory + bytes(4) + bits + pixels


def saved(array: NDArray[np.generic], encoding: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, encoding, **options)
    return file.getvalue()


def pixels(data: bytes) -> NDArray[np.uint8]:
    image, _ = read_rgb(data, sniff(data), 255)
    return np.asarray(image.convert("RGB"))


def folder(path: Path, pictures: dict[str, bytes]) -> Dataset:
    for name, data in pictures.items():
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_bytes(data)
    return from_folders(Folder(path), Folder(path).files, name="photos")


def in_two_classes(path: Path, *files: bytes) -> Dataset:
    return folder(path, {f"{label}/{n}.any.png": data for label in "ab" for n, data in enumerate(files)})


DEEP = {  # twins of one picture of 8 bits, its values times a factor, in files that hold more
    "png": lambda by: saved((GREY * np.uint16(by)).astype(np.uint16), "PNG"),
    "tiff": lambda by: saved((GREY * np.uint16(by)).astype(np.uint16), "TIFF"),
    "tiff-lzw": lambda by: saved((GREY * np.uint16(by)).astype(np.uint16), "TIFF", compression="tiff_lzw"),
    "tiff-32": lambda by: saved((GREY * np.int32(by)).astype(np.int32), "TIFF"),
    "float": lambda by: saved((GREY * np.float32(by) / 3).astype(np.float32), "TIFF"),
    "png-rgb": lambda by: png16(EIGHT[:, :, :3] * np.uint16(by), 2),
    "png-grey-alpha": lambda by: png16(
        np.dstack([GREY * np.uint16(by), np.full(GREY.shape, 65535)]).astype(np.uint16), 4
    ),
    "tiff-rgb": lambda by: tiff16(EIGHT[:, :, :3] * np.uint16(by), "<"),
    "tiff-rgb-big": lambda by: tiff16(EIGHT[:, :, :3] * np.uint16(by), ">"),
}


@pytest.mark.parametrize("by", [1, 12, 40, 257])
@pytest.mark.parametrize("encoding", DEEP)
def test_a_deep_picture_is_its_twin_of_8_bits__f36(encoding: str, by: int, tmp_path: Path) -> None:
    dataset = in_one_range(in_two_classes(tmp_path, DEEP[encoding](by)))
    twin = EIGHT[:, :, :3] if "rgb" in encoding else np.repeat(GREY[:, :, None], 3, 2)
    assert np.abs(pixels(dataset.read(0)).astype(int) - twin).max() <= 1
    (ends,) = dataset.value_ranges.values()
    assert ends == pytest.approx((0, 255 * by / (3 if encoding == "float" else 1)), rel=0.01)
    assert any("one range" in note for note in dataset.notes)


def test_a_dark_picture_stays_dark_beside_a_bright_one(tmp_path: Path) -> None:
    bright, dark = (saved((GREY * np.uint16(by)).astype(np.uint16), "PNG") for by in (12, 3))
    dataset = in_one_range(in_two_classes(tmp_path, bright, dark))
    assert pixels(dataset.read(0)).max() == 255
    assert 60 <= pixels(dataset.read(1)).max() <= 66


def test_what_is_known_is_applied_and_not_measured_again(tmp_path: Path) -> None:
    dataset = in_one_range(in_two_classes(tmp_path, DEEP["png"](3)), {"16-bit": [0.0, 3060.0]})
    assert dataset.value_ranges == {"16-bit": (0, 3060)}
    assert 60 <= pixels(dataset.read(0)).max() <= 66
    assert not dataset.notes


def test_the_range_is_part_of_what_is_hashed(tmp_path: Path) -> None:
    dataset = in_two_classes(tmp_path, DEEP["png"](3))
    first, second = (in_one_range(dataset, {"16-bit": [0, top]}).read(0) for top in (3060, 4095))
    assert len({dataset.read(0), first, second}) == 3


def test_pictures_of_8_bits_are_left_as_they_are(tmp_path: Path) -> None:
    dataset = in_two_classes(tmp_path, saved(GREY, "PNG"), saved(GREY, "JPEG"), b"\x89PNG\r\n\x1a\n broken")
    assert in_one_range(dataset) is dataset


def test_hot_pixels_and_one_odd_picture_do_not_tell_the_range(tmp_path: Path) -> None:
    hot = (GREY * np.uint16(12)).astype(np.uint16)
    hot[0, 0] = 65535
    odd = np.full(GREY.shape, 60000, np.uint16)
    files = {f"{label}/{n}.png": saved(hot, "PNG") for label in "ab" for n in range(30)}
    dataset = in_one_range(folder(tmp_path, files | {"b/odd.png": saved(odd, "PNG")}))
    assert dataset.value_ranges["16-bit"] == (0, 3060)


def test_values_far_from_zero_are_stretched_from_where_they_begin() -> None:
    assert decide_range("16-bit", [(20000, 24000)] * 9) == (20000, 24000)
    assert decide_range("16-bit", [(200, 60000)] * 9) == (0, 65535)
    assert decide_range("16-bit", [(3, 200)] * 9) == (0, 255)
    assert decide_range("float", [(0.0, 0.9)] * 9) == (0, 1)
    assert decide_range("float", [(-1.0, 1.0)] * 9) == (-1, 1)
    low, high = decide_range("32-bit", [(7, 7)] * 9)
    assert low < 7 < high


@pytest.mark.parametrize(
    "tail", [b"", b"\n#values ", b"\n#values [1]", b'\n#values {"16-bit": [5, 1]}', b'\n#values {"a": "b"}']
)
def test_a_tail_that_is_no_range_is_part_of_the_file(tail: bytes) -> None:
    assert ranges_of(DEEP["png"](1) + tail) == {}
    assert ranges_of(with_ranges(DEEP["png"](1) + tail, {"16-bit": (0.0, 9.5)})) == {"16-bit": (0, 9.5)}
