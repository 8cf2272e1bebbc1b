"""From the bytes of a file to the pixels that a source wants: agreement, odd files, and small things beside."""

from __future__ import annotations

import io
import itertools
import struct
import tarfile
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from headstart.base.errors import UsageError
from headstart.data.dataset import BadExample
from headstart.data.images import jpeg
from headstart.data.images.preprocessing import Preprocessing, decode, small_pixels, thumbnail, to_bytes

USUAL = Preprocessing((224, 224), 256)
WHOLE = Preprocessing((60, 80), None)
CORNERS = ((230, 20, 20), (20, 200, 20), (20, 20, 230), (210, 210, 20))  # red, green / blue, yellow


def corners(width: int = 80, height: int = 60) -> Image.Image:
    """Four flat quarters, so that every turn and mirror image of it differs."""
    pixels = np.empty((height, width, 3), np.uint8)
    for index, colour in enumerate(CORNERS):
        rows = slice(0, height // 2) if index < 2 else slice(height // 2, None)
        pixels[rows, slice(0, width // 2) if index % 2 == 0 else slice(width // 2, None)] = colour
    return Image.fromarray(pixels)


def photo(width: int, height: int) -> Image.Image:
    """Smooth shapes with some noise: compresses and resizes like a photograph."""
    rng = np.random.default_rng(width * height)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    return Image.fromarray(np.clip(smooth + rng.integers(-6, 7, smooth.shape), 0, 255).astype(np.uint8))


def encoded(image: Image.Image, encoding: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, encoding, **options)
    return file.getvalue()


def quarters(pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The middle pixels of the four quarters: (4, channels)."""
    height, width = pixels.shape[:2]
    rows, columns = [height // 4, height * 3 // 4], [width // 4, width * 3 // 4]
    return np.array([pixels[y, x] for y, x in itertools.product(rows, columns)], np.int64)


def reference(data: bytes, how: Preprocessing = USUAL) -> NDArray[np.int64]:
    """Pillow's full decode, turned, resized whole, and then cropped, as torchvision and timm do it."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    (width, height), (crop_height, crop_width) = image.size, how.size
    assert how.resize is not None
    short, long = how.resize, int(how.resize * max(width, height) / min(width, height))
    new = (short, long) if width <= height else (long, short)
    resized = image.resize(new, Image.Resampling[how.interpolation.upper()])
    left, top = round((new[0] - crop_width) / 2), round((new[1] - crop_height) / 2)
    return np.asarray(resized.crop((left, top, left + crop_width, top + crop_height))).astype(np.int64)


# Agreement with a full decode


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize(
    ("size", "mean", "most"),
    [
        ((500, 375), 0.01, 1),  # decoded whole: as exact as Pillow itself
        ((260, 400), 0.3, 4),
        ((100, 100), 0.01, 1),
        ((1203, 901), 0.7, 8),  # 1/2 scale, with sizes that leave a rest
        ((1601, 2399), 0.7, 8),  # 1/4 scale
    ],
)
def test_generated_jpegs_agree_with_a_full_decode(
    size: tuple[int, int], mean: float, most: int, subsampling: int
) -> None:
    data = encoded(photo(*size), "JPEG", quality=88, subsampling=subsampling)
    difference = np.abs(decode(data, USUAL) - reference(data))
    assert difference.mean() <= mean
    assert difference.max() <= most


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos"])
def test_every_filter_is_the_one_asked_for(interpolation: str) -> None:
    how = Preprocessing((96, 96), 110, interpolation)  # type: ignore[arg-type]
    data = encoded(photo(331, 207), "PNG")
    difference = np.abs(decode(data, how) - reference(data, how))
    assert difference.mean() <= 0.3
    assert difference.max() <= (0 if interpolation == "nearest" else 4)


@pytest.mark.shared
def test_photos_agree_with_timms_own_transform(shared: Path) -> None:
    """Mean 0.01 and worst 12 levels of 255 on ants_bees photos; mean 0.26 and worst 16 on camera originals."""
    timm_data = pytest.importorskip("timm.data")
    transform = timm_data.create_transform(
        (3, 224, 224), interpolation="bicubic", crop_pct=0.875, mean=(0, 0, 0), std=(1, 1, 1)
    )
    for name, count, mean, most in (("ants_bees", 24, 0.02, 16), ("bigphotos", 4, 0.35, 20)):
        with tarfile.open(shared / f"{name}.tar") as archive:
            photos = [archive.extractfile(member).read() for member in archive if member.isfile()]  # type: ignore[union-attr]
        differences = []
        for data in photos[:: max(1, len(photos) // count)][:count]:
            tensor = transform(Image.open(io.BytesIO(data)).convert("RGB"))
            wanted = (tensor * 255).round().permute(1, 2, 0).numpy().astype(int)
            differences.append(np.abs(decode(data, USUAL) - wanted))
        assert np.mean([difference.mean() for difference in differences]) <= mean
        assert max(difference.max() for difference in differences) <= most


def test_a_jpeg_is_decoded_at_no_more_than_the_scale_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    scales: list[int] = []
    whole = jpeg.decode_scaled
    monkeypatch.setattr(
        jpeg, "decode_scaled", lambda data, header, eighths: scales.append(eighths) or whole(data, header, eighths)
    )
    for width in (300, 767, 769, 1537, 3100):
        decode(encoded(Image.new("RGB", (width, width)), "JPEG"), USUAL)
    assert scales == [8, 8, 4, 2, 1]


# Shapes and channels


def test_the_shape_and_the_order_of_channels_are_as_asked() -> None:
    data = encoded(corners(), "PNG")
    rgb = decode(data, Preprocessing((40, 30), None))
    assert rgb.shape == (40, 30, 3)
    assert rgb.dtype == np.uint8
    assert rgb.flags.writeable
    assert rgb.flags.c_contiguous
    bgr = decode(data, Preprocessing((40, 30), None, channels="bgr"))
    assert bgr.flags.c_contiguous
    np.testing.assert_array_equal(bgr, rgb[:, :, ::-1])
    grey = decode(data, Preprocessing((40, 30), None, channels="grey"))
    assert grey.shape == (40, 30, 1)
    np.testing.assert_array_equal(grey[:, :, 0], np.asarray(Image.fromarray(rgb).convert("L")))


def test_a_crop_larger_than_the_picture_is_filled_with_the_background() -> None:
    pixels = decode(encoded(Image.new("RGB", (50, 50), (10, 20, 30)), "PNG"), Preprocessing((40, 60), 20, background=7))
    assert pixels.shape == (40, 60, 3)
    assert (pixels[10:30, 20:40] == (10, 20, 30)).all()
    assert (pixels == 7).all(axis=2).sum() == 40 * 60 - 20 * 20


@pytest.mark.parametrize("size", [(1, 1), (1, 62728), (62728, 1), (3, 2)])
@pytest.mark.parametrize("encoding", ["PNG", "JPEG", "BMP"])
def test_the_smallest_and_the_longest_pictures_are_used__IMG_22(size: tuple[int, int], encoding: str) -> None:
    """There is no least size: one pixel is a picture of one colour."""
    data = encoded(Image.new("RGB", size, (120, 120, 120)), encoding)
    for how in (USUAL, WHOLE):
        pixels = decode(data, how)
        assert pixels.shape[:2] == how.size
        assert np.abs(pixels.astype(int) - 120).max() <= 1
    assert Image.open(io.BytesIO(thumbnail(data))).size == tuple(
        max(1, round(96 * n / max(size))) if max(size) > 96 else n for n in size
    )


# Files that are sound, however odd


@pytest.mark.parametrize("encoding", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_upright__IMG_08(encoding: str, orientation: int) -> None:
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the transposition that stores an upright picture turned
    upright = corners()
    stored = upright.transpose(Image.Transpose(undo[orientation])) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(stored, encoding, exif=exif)
    assert np.abs(quarters(decode(data, WHOLE)) - CORNERS).max() <= 12
    assert np.abs(quarters(decode(data, Preprocessing((40, 40), 48))) - CORNERS).max() <= 12
    small = np.asarray(Image.open(io.BytesIO(thumbnail(data, 40))))
    assert small.shape == (30, 40, 3)
    assert np.abs(quarters(small) - CORNERS).max() <= 25


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_jpegs_are_cropped_where_a_full_decode_is__IMG_08(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(photo(1203, 905), "JPEG", exif=exif, quality=90)
    difference = np.abs(decode(data, USUAL) - reference(data))
    assert difference.mean() <= 0.7
    assert difference.max() <= 8


def test_an_orientation_that_only_xmp_states_counts__IMG_08() -> None:
    xmp = b'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta><rdf:Description tiff:Orientation="3"/></x:xmpmeta>'
    data = encoded(corners().rotate(180), "JPEG")
    data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(xmp) + 2) + xmp + data[2:]
    assert np.abs(quarters(decode(data, WHOLE)) - CORNERS).max() <= 12


@pytest.mark.parametrize("encoding", ["JPEG", "PNG", "WEBP"])
def test_a_damaged_exif_block_leaves_the_picture_as_it_is__IMG_08(encoding: str) -> None:
    data = encoded(corners(), encoding, exif=b"Exif\0\0II*\0\xff\xff\xff\xff\x12\x01")
    assert np.abs(quarters(decode(data, WHOLE)) - CORNERS).max() <= 12


@pytest.mark.parametrize(("name", "encoding"), [("photo.jpg", "PNG"), ("photo.png", "JPEG")])
def test_content_decides_not_the_name__IMG_03(tmp_path: Path, name: str, encoding: str) -> None:
    path = tmp_path / name
    path.write_bytes(encoded(corners(), encoding))
    assert np.abs(quarters(decode(to_bytes(path), WHOLE)) - CORNERS).max() <= 12


def without_adobe(data: bytes) -> bytes:
    start = data.index(b"\xff\xee\x00\x0eAdobe")
    return data[:start] + data[start + 16 :]


@pytest.mark.parametrize("profile", [None, b"\0" * 200], ids=["no-profile", "profile"])
@pytest.mark.parametrize("encoding", ["JPEG", "TIFF"])
def test_cmyk_is_not_inverted__IMG_05(encoding: str, profile: bytes | None) -> None:
    data = encoded(corners().convert("CMYK"), encoding, icc_profile=profile)
    assert np.abs(quarters(decode(data, WHOLE)) - CORNERS).max() <= 12


def test_cmyk_without_adobes_marker_is_taken_as_stored__IMG_05() -> None:
    """Adobe stores CMYK inverted, and says so by its marker; Pillow takes every CMYK JPEG for Adobe's."""
    inverted = Image.fromarray(255 - np.asarray(corners().convert("CMYK")), "CMYK")
    data = without_adobe(encoded(inverted, "JPEG"))
    assert np.abs(quarters(decode(data, WHOLE)) - CORNERS).max() <= 12


RAMP = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)


@pytest.mark.parametrize("encoding", ["PNG", "TIFF", "PPM"])
def test_grey_of_16_bits_is_scaled_by_its_range__IMG_06(encoding: str) -> None:
    pixels = decode(encoded(Image.fromarray(RAMP), encoding), Preprocessing((64, 64), None))
    np.testing.assert_array_equal(pixels, np.rint(RAMP / 257).astype(np.uint8)[:, :, None].repeat(3, axis=2))


def test_pgm_is_scaled_by_its_declared_maximum__IMG_06() -> None:
    twelve = (RAMP >> 4).astype(">u2")
    pixels = decode(b"P5\n# of 12 bits\n64 64\n4095\n" + twelve.tobytes(), Preprocessing((64, 64), None))
    assert np.abs(pixels[:, :, 0] - twelve / 4095 * 255).max() <= 0.51
    plain = decode(b"P2\n2 1\n1000\n0 500\n", Preprocessing((1, 2), None))
    assert plain[0, :, 0].tolist() == [0, 128]


def test_big_endian_and_white_is_zero_tiffs_of_16_bits__IMG_06() -> None:
    big = encoded(Image.fromarray(RAMP.astype(">u2")), "TIFF")
    how = Preprocessing((64, 64), None)
    pixels = decode(big, how)
    np.testing.assert_array_equal(pixels[:, :, 0], np.rint(RAMP / 257))
    little = encoded(Image.fromarray(RAMP), "TIFF", tiffinfo={262: 0})
    np.testing.assert_array_equal(decode(little, how)[:, :, 0], np.rint(255 - RAMP / 257))


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (np.array([[0.0, 0.25, 1.0]], np.float32), [0, 64, 255]),
        (np.array([[-100.0, 0.0, 300.0]], np.float32), [0, 64, 255]),
        (np.array([[np.nan, 0.5, np.inf]], np.float32), [0, 128, 255]),
        (np.array([[7.0, 7.0, 7.0]], np.float32), [128, 128, 128]),
        (np.array([[-(2**31), 0, 2**31 - 1]], np.int32), [0, 128, 255]),
    ],
    ids=["0..1", "wider", "not-finite", "flat", "32-bit"],
)
def test_tiffs_of_floats_and_of_32_bits__IMG_06(values: NDArray[np.float32], wanted: list[int]) -> None:
    pixels = decode(encoded(Image.fromarray(values), "TIFF"), Preprocessing((1, 3), None))
    assert pixels[0, :, 0].tolist() == wanted


def test_colour_of_16_bits_is_scaled__IMG_06() -> None:
    rows = b"".join(b"\0" + struct.pack(">6H", 0, 32896, 65535, 257 * 40, 257 * 80, 257 * 120) for _ in range(2))
    data = png(2, 2, zlib.compress(rows), depth=16)
    assert decode(data, Preprocessing((2, 2), None))[0].tolist() == [[0, 128, 255], [40, 80, 120]]


def transparent(mode: str) -> Image.Image:
    """Left half opaque at level 40, right half fully transparent."""
    pixels = np.zeros((20, 40, 2), np.uint8)
    pixels[:, :, 0] = 40
    pixels[:, :20, 1] = 255
    image = Image.fromarray(pixels, "LA")
    return image if mode == "LA" else image.convert("RGBA")


@pytest.mark.parametrize("background", [0, 128, 255])
@pytest.mark.parametrize("kind", ["LA-PNG", "RGBA-PNG", "RGBA-WEBP", "RGBA-TIFF", "P-PNG", "P-GIF", "RGB-PNG", "L-PNG"])
def test_transparency_is_laid_on_the_background__IMG_07(kind: str, background: int) -> None:
    mode, encoding = kind.split("-")
    if mode == "P":
        image = Image.fromarray(np.repeat([[0, 1]], 20, axis=0).repeat(20, axis=1).astype(np.uint8), "P")
        image.putpalette([40, 40, 40, 200, 10, 10])
        data = encoded(image, encoding, transparency=1)
    elif mode in ("RGB", "L"):
        level = np.repeat([[40, 200]], 20, axis=0).repeat(20, axis=1).astype(np.uint8)
        colour: object = 200 if mode == "L" else (200, 200, 200)
        data = encoded(Image.fromarray(level).convert(mode), encoding, transparency=colour)
    else:
        data = encoded(transparent(mode), encoding, **({"lossless": True} if encoding == "WEBP" else {}))
    pixels = decode(data, Preprocessing((20, 40), None, background=background))
    assert (pixels[:, :20] == 40).all()
    assert (pixels[:, 20:] == background).all()


def test_a_fully_transparent_picture_is_the_background__IMG_07() -> None:
    data = encoded(Image.new("RGBA", (9, 9), (200, 30, 30, 0)), "PNG")
    assert (decode(data, Preprocessing((9, 9), None)) == 255).all()


@pytest.mark.parametrize("encoding", ["GIF", "WEBP", "PNG", "TIFF", "MPO", "AVIF"])
def test_the_first_frame_is_the_picture__IMG_12(encoding: str) -> None:
    others = [Image.new("RGB", (80, 60), (0, 0, 0)), Image.new("RGB", (80, 60), (255, 255, 255))]
    data = encoded(corners(), encoding, save_all=True, append_images=others)
    assert np.abs(quarters(decode(data, WHOLE)) - CORNERS).max() <= 40


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "RGBA"])
def test_every_mode_of_tiff_is_read(mode: str) -> None:
    pixels = decode(encoded(corners().convert(mode), "TIFF"), WHOLE)
    assert pixels.shape == (60, 80, 3)


def png(width: int, height: int, idat: bytes, *, depth: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", idat) + chunk(b"IEND", b"")


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


# Beside decode


def test_a_thumbnail_is_a_small_jpeg() -> None:
    for data in (encoded(photo(800, 600), "JPEG"), encoded(corners().convert("RGBA"), "PNG")):
        small = Image.open(io.BytesIO(thumbnail(data, 64)))
        assert (small.format, small.size) == ("JPEG", (64, 48))
    assert len(thumbnail(encoded(photo(800, 600), "JPEG"))) < 6000


@pytest.mark.parametrize("shape", [(224, 224, 3), (224, 320, 3), (224, 224, 1), (90, 70, 3), (90, 70, 1), (5, 9, 3)])
def test_small_pixels_are_box_averages(shape: tuple[int, int, int]) -> None:
    prepared = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    small = small_pixels(prepared)
    assert small.shape == (768,)
    assert small.dtype == np.uint8
    colour = Image.fromarray(prepared if shape[2] == 3 else prepared.repeat(3, axis=2))
    wanted = np.asarray(colour.resize((16, 16), Image.Resampling.BOX)).ravel()
    assert np.abs(small.astype(int) - wanted).max() <= 1


def test_items_of_python_become_lossless_files(tmp_path: Path) -> None:
    image = photo(50, 40)
    pixels = np.asarray(image)
    data = encoded(image, "PNG")
    path = tmp_path / "a.png"
    path.write_bytes(data)
    assert to_bytes(data) is data
    assert to_bytes(bytearray(data)) == data
    assert to_bytes(path) == to_bytes(str(path)) == data
    how = Preprocessing((40, 50), None)
    np.testing.assert_array_equal(decode(to_bytes(image), how), pixels)
    np.testing.assert_array_equal(decode(to_bytes(pixels), how), pixels)
    np.testing.assert_array_equal(decode(to_bytes(pixels[::-1]), how), pixels[::-1])
    for grey in (pixels[:, :, 0], pixels[:, :, :1]):
        np.testing.assert_array_equal(decode(to_bytes(grey), how)[:, :, 1], pixels[:, :, 0])
    clear = np.dstack([pixels, np.zeros((40, 50), np.uint8)])
    assert (decode(to_bytes(clear), how) == 255).all()


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "CMYK", "YCbCr", "HSV", "LAB"]
)
def test_pil_images_of_every_mode_are_kept(mode: str) -> None:
    source = corners()
    image = source.convert("RGBA").convert("PA") if mode == "PA" else None
    if mode == "LAB":
        image = Image.merge("LAB", source.convert("YCbCr").split())
    if mode == "La":
        image = source.convert("LA").convert("La")
    if mode == "RGBa":
        image = source.convert("RGBA").convert("RGBa")
    image = image or source.convert(mode)
    pixels = decode(to_bytes(image), WHOLE)
    if mode not in ("1", "L", "LA", "La", "LAB"):
        assert np.abs(quarters(pixels) - CORNERS).max() <= 40  # the web palette is coarse


def test_a_deep_pil_image_keeps_its_range() -> None:
    pixels = decode(to_bytes(Image.fromarray(RAMP)), Preprocessing((64, 64), None))
    np.testing.assert_array_equal(pixels[:, :, 0], np.rint(RAMP / 257))


def test_a_pil_image_with_an_orientation_is_turned_upright__IMG_08() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    opened = Image.open(io.BytesIO(encoded(corners().transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif)))
    assert np.abs(quarters(decode(to_bytes(opened), WHOLE)) - CORNERS).max() <= 12


@pytest.mark.parametrize(
    "item",
    [None, 3, np.zeros((4, 4)), np.zeros((4, 4, 2), np.uint8), np.zeros((0, 4), np.uint8), np.zeros(4, np.uint8)],
    ids=["none", "number", "floats", "two-channels", "nothing", "a-row"],
)
def test_what_is_no_picture_is_refused_in_one_line(item: object) -> None:
    with pytest.raises(UsageError, match="a picture must be bytes, a path"):
        to_bytes(item)


def test_a_path_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    for path, why in ((tmp_path / "absent.jpg", "no such file"), (tmp_path, "not a plain file")):
        with pytest.raises(BadExample, match=why):
            to_bytes(path)


def test_threads_decode_alike_and_leave_the_filters_of_warnings_alone() -> None:
    files = [encoded(photo(300, 200), "JPEG"), encoded(photo(80, 60), "TIFF"), encoded(photo(60, 60), "PNG")]
    wanted = [decode(data, USUAL) for data in files]
    before, wrong = list(warnings.filters), []

    def work() -> None:
        for data, pixels in list(zip(files, wanted, strict=True)) * 5:
            if not np.array_equal(decode(data, USUAL), pixels):
                wrong.append(data)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert list(warnings.filters) == before
