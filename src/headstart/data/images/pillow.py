"""Pictures through Pillow: every accepted format, to RGB on one background, with its warnings kept in.

The plug-in of the format is called by itself, not through `Image.open`: no other can be entered, and Pillow's own limit
of pixels, which depends on settings of the whole process, plays no part.
"""

from __future__ import annotations

import importlib
import io
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, cast

from headstart.base.errors import one_line
from headstart.data.dataset import BadExample
from headstart.data.images.deep import (
    FULL,
    Depth,
    ValueRanges,
    colour_bands,
    depth_of,
    grey_bands,
    lower_bytes,
    ranges_of,
    to_colour,
    to_grey,
    value_ends,
)
from headstart.data.images.formats import (
    IMAGE_SUFFIXES,
    MAX_PIXELS,
    NOT_ACCEPTED,
    RAW_SUFFIXES,
    SUFFIXES,
    Format,
    check_pixels,
    claimed_size,
    sniff,
)
from headstart.data.images.jpeg import tiff_numbers

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

_PLUGINS: dict[Format, str] = {"webp": "WebP", "pnm": "Ppm"}  # the others are named like the format, capitalised
_ORIENTATION, _SUBFILE, _CHANNELS = 0x0112, 254, 277
_COLOUR = ("RGB", "RGBA")

# What Pillow's decoders have been seen to raise on fuzzed files; DecompressionBombError is none of these and is added.
_RAISED = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    NameError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)


class LargePicture(Exception):
    """A picture has more pixels than the caller wants to decode in its own process."""


def read_rgb(data: bytes, encoding: Format, background: int, most: int = MAX_PIXELS) -> tuple[Image, int]:
    """Return the first frame of a picture as stored, in RGB or grey, and its EXIF orientation (1..8).

    Values of more than 8 bits are scaled by the range of their set, see `deep`, or else: 16 bits as 0..65535 (a TIFF of
    fewer bits by theirs, PGM by its declared maximum); floats as 0..1 where they lie within; all others by their own
    least and greatest. Transparency is laid on `background`, a grey level 0..255. Colour profiles are not applied.

    Raises:
        BadExample: "too many pixels (W x H)" from the header alone, "truncated", or "broken: …" for whatever else the
            decoder raises.
        LargePicture: the header tells of more than `most` pixels.
    """
    with _opened(data, encoding, most) as image:
        ranges = ranges_of(data)
        ends = ranges.get("16-bit", FULL) if depth_of(image) == "16-bit" and image.mode in _COLOUR else FULL
        image.load()
        stored: Image = image
        if ends != FULL:
            stored = to_colour(image, _lower(data, encoding, most) or image, ends)
        return _to_rgb(stored, background, ranges), _orientation(image)


def read_ends(data: bytes, encoding: Format, most: int = MAX_PIXELS) -> tuple[Depth, float, float] | None:
    """Return the depth of a picture of more than 8 bits, and its least and greatest value; raises as `read_rgb`.

    None for a picture of 8 bits, which is not decoded, and where nothing tells.
    """
    with _opened(data, encoding, most) as image:
        depth = depth_of(image)
        if depth is None or image.mode == "CMYK":
            return None
        colour = image.mode in _COLOUR
        image.load()
        bands = colour_bands(image, _lower(data, encoding, most) or image) if colour else grey_bands(image)
        return depth, *value_ends(bands, image.width * image.height)


def is_deep(data: bytes) -> bool:
    """Return whether a picture has more than 8 bits, by its header alone; raises BadExample as `read_rgb`."""
    with _opened(data, sniff(data)) as image:
        return depth_of(image) is not None


def _lower(data: bytes, encoding: Format, most: int) -> Image | None:
    with _opened(data, encoding, most) as image:
        return lower_bytes(image)


def read_size(data: bytes, encoding: Format) -> tuple[int, int]:
    """Return width and height of a picture as stored, from its header alone; raises BadExample as `read_rgb`."""
    with _opened(data, encoding) as image:
        return image.size


def remarks(data: bytes, name: str) -> tuple[str, ...]:
    """Return what is odd and yet fine about a picture, as clauses to be counted; of `name` only the suffix counts."""
    encoding, clauses = sniff(data), []
    suffix = PurePosixPath(name).suffix.lower()
    if encoding == "tiff" and (suffix in RAW_SUFFIXES or tiff_numbers(data).get(_SUBFILE, 0) & 1):
        name = f"raw {suffix[1:].upper()}" if suffix in RAW_SUFFIXES else "a preview only, as in raw files"
        raise BadExample(NOT_ACCEPTED.format(f"{name} of a camera"))
    if suffix in IMAGE_SUFFIXES and suffix not in SUFFIXES[encoding]:
        clauses.append(f"{encoding.upper()} named {suffix}, read by content")
    if _has_more_frames(data, encoding):
        clauses.append("several frames or pages, the first is used")
    return tuple(clauses)


def _has_more_frames(data: bytes, encoding: Format) -> bool:
    """Return whether a picture has more than one frame or page; False where its header is damaged."""
    match encoding:
        case "png":
            several = b"acTL" in data[: max(0, data.find(b"IDAT"))]
        case "webp":
            several = data[12:16] == b"VP8X" and bool(data[20] & 2)
        case "avif":
            several = data[8:12] == b"avis"
        case "jpeg":
            several = b"\xff\xe2" in data[:65536] and b"MPF\x00" in data[:65536]
        case "gif" | "tiff":
            with suppress(BadExample), _opened(data, encoding) as image:
                return bool(image.is_animated)  # type: ignore[attr-defined]
            several = False
        case _:
            several = False
    return several


@contextmanager
def _opened(data: bytes, encoding: Format, most: int = MAX_PIXELS) -> Iterator[ImageFile]:
    """Give the picture with only its header read, of no more pixels than are accepted; its errors become BadExample.

    LargePicture is raised for one of more than `most` pixels.
    """
    from PIL import Image

    if size := claimed_size(data, encoding):  # Pillow's plug-in would allocate them
        _check_size(size, most)
    name = _PLUGINS.get(encoding, encoding.capitalize())
    try:
        with _QUIET.hold():
            plugin = getattr(importlib.import_module(f"PIL.{name}ImagePlugin"), f"{name}ImageFile")
            with plugin(io.BytesIO(data)) as image:
                _check_size(image.size, most)
                yield image
    except Image.DecompressionBombError:
        raise BadExample("too many pixels") from None
    except _RAISED as error:
        if isinstance(error, SyntaxError) and str(error) == "unknown pixel mode":
            channels = tiff_numbers(data).get(_CHANNELS, 1)
            raise BadExample(NOT_ACCEPTED.format(f"TIFF of {channels} channels of unusual depth")) from None
        raise BadExample(_reason(error, encoding)) from None


def _check_size(size: tuple[int, int], most: int) -> None:
    check_pixels(*size)
    if size[0] * size[1] > most:
        raise LargePicture


def _reason(error: BaseException, encoding: Format) -> str:
    """Return a short reason that is the same in every run (Pillow's own names addresses in memory)."""
    text = str(error)
    # What a plug-in raises that wants bytes behind the end of the file is the cause of a SyntaxError; of a TIFF whose
    # directory lies there Pillow says that its dimensions are missing.
    behind_end = isinstance(error.__cause__ or error, (EOFError, struct.error, IndexError))
    if behind_end or "truncat" in text.lower() or text == "Missing dimensions":
        return "truncated"
    if isinstance(error, MemoryError):
        return "needs too much memory"
    if isinstance(error, SyntaxError) or not text or " at 0x" in text:
        return f"broken: not readable as {encoding.upper()}"
    return f"broken: {one_line(text, 80)}"


def _orientation(image: Image) -> int:
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except _RAISED:
        return 1  # a damaged EXIF block says nothing about the pixels
    return value if value in range(1, 9) else 1


def _to_rgb(image: Image, background: int, ranges: ValueRanges) -> Image:
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return to_grey(image, ranges)
    if image.mode == "CMYK" and image.format in ("JPEG", "MPO") and "adobe" not in image.info:
        from PIL import ImageChops

        image = ImageChops.invert(image)  # Pillow takes every CMYK JPEG for inverted; only Adobe's are
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        return _on_background(image, background)
    return image if image.mode == "RGB" else image.convert("RGB")  # a conversion to itself would copy


def _on_background(image: Image, background: int) -> Image:
    from PIL import Image

    if image.mode == "La":
        image = image.convert("LA")
    layer = image if image.mode == "RGBA" else image.convert("RGBA")
    ground = Image.new("RGB", layer.size, (background,) * 3)
    ground.paste(layer, mask=layer.getchannel("A"))
    return ground


class _Quiet:
    """Ignores Pillow's warnings, and nobody else's, while any thread is decoding.

    `warnings.catch_warnings` puts back the whole list of filters and so corrupts it when threads overlap;
    this one adds a single filter and takes that one out again.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders = 0
        self._filter: object = None

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Keep the filter in place while the block runs."""
        with self._lock:
            self._holders += 1
            if self._holders == 1:
                warnings.filterwarnings("ignore", module=r"PIL(\.|$)")
                self._filter = warnings.filters[0]
        try:
            yield
        finally:
            with self._lock:
                self._holders -= 1
                filters = cast("list[object]", warnings.filters)
                if self._holders == 0 and self._filter in filters:
                    filters.remove(self._filter)


_QUIET = _Quiet()
