"""What is told from the first bytes and the header of a file, before any decoder sees it."""

from __future__ import annotations

import gzip
import io
from typing import Any

import pytest
from encoded_images import ENCODED, encoded
from PIL import Image, TiffImagePlugin

from headstart.data.dataset import BadExample
from headstart.data.images import formats
from headstart.data.images.pillow import remarks


@pytest.mark.parametrize("encoding", ENCODED)
def test_sniff_names_each_accepted_format(encoding: str) -> None:
    assert formats.sniff(ENCODED[encoding]) == encoding


def test_a_big_endian_and_a_big_tiff_are_accepted() -> None:
    assert formats.sniff(b"MM\x00*\x00\x00\x00\x08") == "tiff"
    assert formats.sniff(encoded("TIFF", big_tiff=True)) == "tiff"


@pytest.mark.parametrize("variant", [b"P1", b"P2", b"P3", b"P4", b"P5", b"P6"])
def test_every_pnm_variant_is_accepted_and_other_words_in_p_are_not(variant: bytes) -> None:
    assert formats.sniff(variant + b"\n1 1\n") == "pnm"
    with pytest.raises(BadExample, match="looks like text"):
        formats.sniff(variant + b"ineapple")


def test_nothing_at_all_is_empty__IMG_02() -> None:
    with pytest.raises(BadExample, match=r"^empty$"):
        formats.sniff(b"")


@pytest.mark.parametrize(
    ("data", "looks"),
    [
        (b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"\n<!DOCTYPE html><html></html>", "HTML"),
        (b"<?xml version='1.0'?><note/>", "XML"),
        (b"PK\x03\x04\x14\x00", "ZIP"),
        (b"%PDF-1.7\n", "PDF"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "sound or video"),
        (b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00", "video"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b"404: Not Found", "text"),
    ],
)
def test_other_files_named_as_images_are_refused_by_kind__IMG_04(data: bytes, looks: str) -> None:
    with pytest.raises(BadExample) as refused:
        formats.sniff(data)
    assert refused.value.reason == f"not an accepted image (looks like {looks})"


def test_unknown_bytes_are_refused_without_a_guess__IMG_04() -> None:
    with pytest.raises(BadExample, match=r"^not an accepted image$"):
        formats.sniff(bytes(range(200, 256)))


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "EPS"),
        (b"\xc5\xd0\xd3\xc6\x20\x00", "EPS"),
        (b"8BPS\x00\x01", "PSD"),
        (b"\xd7\xcd\xc6\x9a\x00\x00", "WMF"),
        (b"SIMPLE  =                    T", "FITS"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"\x00\x00\x01\x00\x01\x00", "ICO"),
        (b"icns\x00\x00\x00\x08", "ICNS"),
        (b"\x01\xda\x01\x01", "SGI"),
        (b"\x00\x00\x00\x00\x12\xaf", "FLI"),
        (b"\xff\x4f\xff\x51\x00", "JPEG 2000"),
        (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", "HEIC"),
        (b"II*\x00\x10\x00\x00\x00CR\x02\x00", "CR2"),
        (b"\x00\x00\x00\x18ftypcrx \x00\x00\x00\x01crx isom", "raw CR3 of a camera"),
        (b"\x00\x00\x00\x18ftypmif2\x00\x00\x00\x00mif2heis", "HEIF"),
        (b"IIU\x00\x18\x00\x00\x00", "raw RW2 of a camera"),
        (b"FUJIFILMCCD-RAW 0201", "raw RAF of a camera"),
        (bytes(128) + b"DICM\x02\x00", "DICOM"),
        (b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100", "DICOM"),
        (b"\x5c\x01\x00\x00" + bytes(340) + b"n+1\x00", "NIfTI"),
        (gzip.compress(b"\x5c\x01\x00\x00" + bytes(340) + b"n+1\x00" + bytes(9000), mtime=0), "NIfTI"),
        (b"NRRD0004\ntype: short", "NRRD"),
        (b"CDF\x01\x00\x00", "NetCDF"),
        (b"ZISRAWFILE\x00\x00", "CZI"),
        (b"gimp xcf v011", "XCF"),
    ],
)
def test_pictures_of_formats_we_do_not_read_are_refused_by_name__IMG_14(data: bytes, name: str) -> None:
    with pytest.raises(BadExample) as refused:
        formats.sniff(data)
    assert refused.value.reason == f"format not accepted ({name}): convert it to JPEG or PNG"


@pytest.mark.parametrize("data", [*ENCODED.values(), b"8BPS\x00\x01", b"<svg xmlns='http://www.w3.org/2000/svg'/>"])
def test_a_picture_is_told_by_its_beginning_whatever_it_is_called__f16(data: bytes) -> None:
    assert formats.is_picture(data[:512])


@pytest.mark.parametrize(
    "data", [b"", b"notes", b"%PDF-1.7", gzip.compress(b"notes", mtime=0), b"\x1f\x8b", bytes(600)]
)
def test_other_files_are_no_pictures(data: bytes) -> None:
    assert not formats.is_picture(data)


def test_suffixes_are_lower_case_with_a_dot_and_cover_every_format() -> None:
    assert set(formats.SUFFIXES) == set(ENCODED)
    assert {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".pgm"} <= formats.IMAGE_SUFFIXES
    assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in formats.IMAGE_SUFFIXES)
    assert not {".svg", ".pdf", ".eps", ".ico", ".psd"} & formats.IMAGE_SUFFIXES


@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0"}])
def test_the_size_of_every_webp_layout_is_read_from_its_header(options: dict[str, Any]) -> None:
    assert formats.claimed_size(encoded("WEBP", "RGBA" if "exif" in options else "RGB", **options), "webp") == (40, 30)


def test_the_size_of_an_avif_is_read_from_its_header_and_others_are_left_to_pillow() -> None:
    assert formats.claimed_size(ENCODED["avif"], "avif") == (40, 30)
    assert formats.claimed_size(ENCODED["png"], "png") is None


def test_a_header_cut_short_is_truncated() -> None:
    with pytest.raises(BadExample, match=r"^truncated$"):
        formats.claimed_size(ENCODED["webp"][:9], "webp")


def test_the_limit_is_stated_in_the_reason__IMG_10() -> None:
    formats.check_pixels(8192, 8192)
    with pytest.raises(BadExample, match=r"^too many pixels \(13400 x 13400\)$"):
        formats.check_pixels(13400, 13400)
    with pytest.raises(BadExample, match="no pixels"):
        formats.check_pixels(0, 5)


@pytest.mark.parametrize("suffix", [".NEF", ".dng", ".arw"])
def test_a_raw_file_of_a_camera_is_not_taken_for_its_preview(suffix: str) -> None:
    assert remarks(encoded("TIFF"), "a.tif") == ()
    with pytest.raises(BadExample, match=f"raw {suffix[1:].upper()} of a camera.*: convert it to JPEG or PNG"):
        remarks(encoded("TIFF"), f"a{suffix}")
    assert suffix.lower() in formats.IMAGE_SUFFIXES, "so that it is counted"


def test_a_raw_file_is_told_by_its_preview_whatever_it_is_called__f16() -> None:
    file, tags = io.BytesIO(), TiffImagePlugin.ImageFileDirectory_v2()
    tags[254] = 1  # as NEF, DNG and ARW begin: with a picture of reduced size
    Image.new("RGB", (16, 12)).save(file, "TIFF", tiffinfo=tags)
    with pytest.raises(BadExample, match=r"a preview only, as in raw files of a camera.*: convert it to JPEG or PNG"):
        remarks(file.getvalue(), "a.tif")
