"""Pictures: from the bytes of a file to the pixels that a source wants."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from headstart.base.errors import UsageError
from headstart.data.dataset import BadExample, answer_bounded, run_bounded
from headstart.data.images import jpeg
from headstart.data.images.formats import MAX_PIXELS, check_pixels, sniff
from headstart.data.images.pillow import LargePicture, read_rgb, read_size

if TYPE_CHECKING:
    from PIL.Image import Image

MARGIN = 1.5
"""A JPEG is decoded at the least scale that leaves this many times the pixels that the resize asks for, per axis."""

DIRECT_PIXELS = 8 << 20
"""Pictures of more pixels, whose decoder holds all of them, are decoded in a process whose time and memory end."""
DIRECT_BYTES = (8 << 20, 64 << 20)
"""So are files of more bytes: any, and JPEG, whose chunks before the pixels are read in no time."""
MAX_SCANS = 24
"""So are JPEGs of more scans, each of which is a pass over all pixels; encoders write 10 at most."""


@dataclass(frozen=True)
class Preprocessing:
    """How a source wants its pictures."""

    size: tuple[int, int]  # height and width of the network's input, in pixels
    # length in pixels of the shorter side before the centre crop; None squashes the whole picture to `size`
    resize: int | None
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bicubic"  # the resampling filter
    # per channel, of values in 0..1 (after division by 255); subtracted inside the network
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)  # per channel; divides inside the network
    channels: Literal["rgb", "bgr", "grey"] = "rgb"  # order of the channels that the network sees
    background: int = 255  # grey level 0..255 on which transparent pictures are laid

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the network's input."""
        return (*self.size, 1 if self.channels == "grey" else 3)

    def at_side(self, side: int) -> Preprocessing:
        """Return the preprocessing for another height of the network's input, in pixels, in the same proportions."""
        share = side / self.size[0]
        resize = None if self.resize is None else max(side, round(self.resize * share))
        return replace(self, size=(side, round(self.size[1] * share)), resize=resize)

    def prepare(self, data: bytes) -> NDArray[np.uint8]:
        """Return the picture in `data` as the network takes it; see `decode`."""
        return decode(data, self)


MAX_SIDE = 1 << 14  # pixels


def _whole(value: Any, least: int = 1, most: int = MAX_SIDE) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _numbers(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) in (1, 3)
        and all(isinstance(one, int | float) and not isinstance(one, bool) and abs(one) < 1e6 for one in value)
    )


VALUES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "size": (lambda value: isinstance(value, list) and len(value) == 2 and all(map(_whole, value)), "[height, width]"),
    "resize": (lambda value: value is None or _whole(value), "pixels of the shorter side, or null to squash"),
    "interpolation": (
        lambda value: value in ("nearest", "bilinear", "bicubic", "lanczos"),
        "nearest, bilinear, bicubic or lanczos",
    ),
    "mean": (_numbers, "a list of a number for each channel, of values in 0..1"),
    "std": (lambda value: _numbers(value) and min(value) > 0, "a list of a number above 0 for each channel"),
    "channels": (lambda value: value in ("rgb", "bgr", "grey"), "rgb, bgr or grey"),
    "background": (lambda value: _whole(value, 0, 255), "a whole number in 0..255"),
}
"""What each value of a preprocessing must be, as JSON has it, and that in words."""


@dataclass(frozen=True, slots=True)
class _Stored:
    """A picture as its file stores it, in RGB, perhaps already smaller."""

    image: Image  # the pixels; rounded up to whole ones where `scale` leaves a fraction
    width: int  # in pixels, before any scaling
    height: int  # in pixels, before any scaling
    scale: float  # pixels in `image` per pixel of the file, at most 1
    orientation: int  # 1..8 as in EXIF: what would turn it upright

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height once it is turned upright."""
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)


@dataclass(frozen=True, slots=True)
class _Window:
    """The part that is kept of a picture resized to `width` x `height` (upright, in pixels)."""

    width: int
    height: int
    left: int
    top: int
    right: int
    bottom: int


def decode(data: bytes, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Return the picture in `data`, upright, resized and cropped: uint8 of shape (height, width, channels).

    The result is that of a full decode, a resize of the shorter side to `resize` and a centre crop, as torchvision and
    timm do it. Only the part inside the crop is resized, and a JPEG is decoded at 1/8, 1/4 or 1/2 scale where that
    leaves `MARGIN` times the pixels asked for. Any size from 1 x 1 to `formats.MAX_PIXELS` is used. Where the crop is
    larger than the resized picture, the rest is `background`.

    Raises:
        BadExample: the bytes are no accepted picture, truncated, broken, or too many pixels.
    """
    return _bounded(data, partial(_decode, data, preprocessing), "decode_task", partial(asdict, preprocessing))


def shorter_side(data: bytes) -> int:
    """Return the pixels of the shorter side of the picture in `data`, by its header; raises BadExample as `decode`."""
    encoding = sniff(data)
    if encoding == "jpeg":
        header = jpeg.read_header(data)
        return min(header.width, header.height)
    return min(read_size(data, encoding))


def thumbnail(data: bytes, side: int = 96) -> bytes:
    """Return a small upright JPEG of the picture in `data`, `side` pixels at most; raises BadExample as `decode`."""
    return _bounded(data, partial(_thumbnail, data, side), "thumbnail_task", lambda: {"side": side}).tobytes()


def small_pixels(prepared: NDArray[np.uint8], side: int = 16) -> NDArray[np.uint8]:
    """Return a decoded picture averaged over `side` x `side` boxes, three channels each: uint8 (side * side * 3,)."""
    height, width, channels = prepared.shape
    if height % side or width % side:
        from PIL import Image

        image = Image.fromarray(prepared[:, :, 0] if channels == 1 else prepared)
        boxes = np.asarray(image.resize((side, side), Image.Resampling.BOX)).reshape(side, side, channels)
    else:  # boxes of whole pixels, the usual case, at a third of Pillow's time
        high, wide = height // side, width // side
        rows = np.add.reduce(prepared.reshape(side, high, width * channels), 1, dtype=np.uint32)
        starts = np.arange(0, width, wide)
        sums = np.add.reduceat(rows.reshape(side, width, channels), starts, 1)
        boxes = ((sums + high * wide // 2) // (high * wide)).astype(np.uint8)
    return np.repeat(boxes.ravel(), 3) if channels == 1 else boxes.ravel()


def grey_pixels(prepared: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Return a decoded picture in grey, averaged over `side` x `side` boxes: uint8 of shape (side, side)."""
    from PIL import Image

    image = Image.fromarray(prepared[:, :, 0] if prepared.shape[2] == 1 else prepared)
    return np.asarray(image.reduce(max(1, min(image.size) // (2 * side))).convert("L").resize((side, side), 4))


def to_bytes(item: object) -> bytes:
    """Return a picture given from Python as the bytes of a lossless file.

    Bytes pass through; a path is read; a PIL image, or an array, uint8 of shape (h, w), (h, w, 1), (h, w, 3) RGB or (h,
    w, 4) RGBA, is written. Anything else is a UsageError, and a file that cannot be read a BadExample.
    """
    if isinstance(item, bytes | bytearray | memoryview):
        return bytes(item)
    if isinstance(item, str | os.PathLike):
        return _file_bytes(Path(item))
    if isinstance(item, np.ndarray):
        return _array_bytes(item)
    from PIL import Image

    if isinstance(item, Image.Image):
        return _image_bytes(item)
    raise _not_a_picture(type(item).__name__)


def _not_a_picture(received: str) -> UsageError:
    return UsageError(
        "a picture must be bytes, a path, a PIL image, or a uint8 array of shape (h, w) or (h, w, 1, 3 or 4)",
        received,
        "convert it to one of these",
    )


def _file_bytes(path: Path) -> bytes:
    try:
        if not path.is_file():  # a FIFO or a device would block, or never end
            raise BadExample("not a plain file" if path.exists() else "no such file")
        return path.read_bytes()
    except PermissionError:
        raise BadExample("permission") from None
    except OSError as error:
        raise BadExample(f"cannot be read ({error.strerror})") from None


def _array_bytes(array: NDArray[np.generic]) -> bytes:
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or channels not in (1, 3, 4) or not array.size:
        raise _not_a_picture(f"an array of {array.dtype} and shape {array.shape}")
    if channels == 4:
        from PIL import Image

        return _image_bytes(Image.fromarray(np.ascontiguousarray(array)))
    return f"P{5 if channels == 1 else 6}\n{array.shape[1]} {array.shape[0]}\n255\n".encode() + array.tobytes()


def _image_bytes(image: Image) -> bytes:
    from PIL import ImageOps

    image = ImageOps.exif_transpose(image)
    if image.mode in ("P", "PA", "RGBa") or (image.mode in ("1", "L", "RGB") and "transparency" in image.info):
        image = image.convert("RGBA")
    elif image.mode in ("La", "YCbCr", "HSV", "LAB"):
        image = image.convert("LA" if image.mode == "La" else "RGB")
    file = io.BytesIO()
    image.save(file, "PPM" if image.mode in ("L", "RGB") else "TIFF")
    return file.getvalue()


def decode_task(data: bytes, **preprocessing: Any) -> tuple[dict[str, Any], bytes]:
    """Return what `decode` returns, in the process of `run_bounded`."""
    return _task(lambda: _decode(data, Preprocessing(**preprocessing)))


def thumbnail_task(data: bytes, side: int) -> tuple[dict[str, Any], bytes]:
    """Return what `thumbnail` returns, in the process of `run_bounded`."""
    return _task(lambda: _thumbnail(data, side))


def _task(work: Callable[[], NDArray[np.uint8]]) -> tuple[dict[str, Any], bytes]:
    def answer() -> tuple[dict[str, Any], bytes]:
        array = work()
        return {"shape": array.shape}, array.tobytes()

    return answer_bounded(answer)


def _bounded(
    data: bytes, work: Callable[[int], NDArray[np.uint8]], task: str, arguments: Callable[[], dict[str, Any]]
) -> NDArray[np.uint8]:
    """Return the result of `work`, done here where its cost is bounded, else as `task` in a process that is."""
    if len(data) <= DIRECT_BYTES[data.startswith(b"\xff\xd8")]:
        with suppress(LargePicture):
            return work(DIRECT_PIXELS)
    values, result = run_bounded(f"{__name__}:{task}", data, **arguments())
    return np.frombuffer(bytearray(result), np.uint8).reshape(values["shape"])


def _decode(data: bytes, preprocessing: Preprocessing, most: int = MAX_PIXELS) -> NDArray[np.uint8]:
    stored = _read(data, partial(_scale_needed, preprocessing), preprocessing.background, most)
    window = _window(preprocessing, *stored.upright)
    image = _resized(stored, window, preprocessing.interpolation)
    image = _padded(image, preprocessing)
    if preprocessing.channels == "grey":
        return np.array(image.convert("L"))[:, :, None]
    pixels: NDArray[np.uint8] = np.array(image)
    return np.ascontiguousarray(pixels[:, :, ::-1]) if preprocessing.channels == "bgr" else pixels


def _thumbnail(data: bytes, side: int, most: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Return the bytes of a small JPEG: uint8 of shape (n,)."""
    from PIL import Image

    stored = _read(data, lambda width, height: MARGIN * side / max(width, height), 255, most)
    width, height = stored.upright
    ratio = min(1.0, side / max(width, height))
    shown = max(1, round(width * ratio)), max(1, round(height * ratio))
    image = _resized(stored, _Window(*shown, 0, 0, *shown), "bicubic")
    file = io.BytesIO()
    Image.fromarray(np.asarray(image)).save(file, "JPEG", quality=82)
    return np.frombuffer(file.getvalue(), np.uint8)


def _read(data: bytes, needed: Callable[[int, int], float], background: int, most: int) -> _Stored:
    """Read a picture, a JPEG at the least scale of at least `needed(upright width, upright height)`.

    Raises:
        LargePicture: memory grows with its pixels, and it has more than `most`.
    """
    encoding = sniff(data)
    if encoding == "jpeg":
        header = jpeg.read_header(data)
        check_pixels(header.width, header.height)
        if header.precision != 8:
            raise BadExample(f"format not accepted ({header.precision}-bit JPEG)")
        large = header.width * header.height > most or data.count(b"\xff\xda") > MAX_SCANS
        if header.several_scans and most < MAX_PIXELS and large:
            raise LargePicture
        if header.components in (1, 3):
            sides = (header.width, header.height)
            least = needed(*(reversed(sides) if header.orientation >= 5 else sides))
            eighths = next((eighths for eighths in jpeg.EIGHTHS if eighths / 8 >= least), 8)
            pixels = jpeg.decode_scaled(data, header, eighths)
            if pixels is not None:
                from PIL import Image

                return _Stored(Image.fromarray(pixels), *sides, eighths / 8, header.orientation)
    image, orientation = read_rgb(data, encoding, background, most)
    return _Stored(image, *image.size, 1.0, orientation)


def _scale_needed(preprocessing: Preprocessing, width: int, height: int) -> float:
    if preprocessing.interpolation == "nearest":
        return 1.0  # picks single pixels: those of the whole picture
    window = _window(preprocessing, width, height)
    return MARGIN * max(window.width / width, window.height / height)


def _window(preprocessing: Preprocessing, width: int, height: int) -> _Window:
    """Return the resized size of an upright picture and its centre crop, rounded as torchvision rounds them."""
    crop_height, crop_width = preprocessing.size
    if preprocessing.resize is None:
        return _Window(crop_width, crop_height, 0, 0, crop_width, crop_height)
    if width <= height:
        new_width, new_height = preprocessing.resize, int(preprocessing.resize * height / width)
    else:
        new_width, new_height = int(preprocessing.resize * width / height), preprocessing.resize
    left, top = max(0, round((new_width - crop_width) / 2)), max(0, round((new_height - crop_height) / 2))
    right, bottom = min(left + crop_width, new_width), min(top + crop_height, new_height)
    return _Window(new_width, new_height, left, top, right, bottom)


# For each EXIF orientation, whether the stored rows and columns run backwards, seen from the upright picture.
_MIRRORED = {1: (0, 0), 2: (1, 0), 3: (1, 1), 4: (0, 1), 5: (0, 0), 6: (0, 1), 7: (1, 1), 8: (1, 0)}


def _resized(stored: _Stored, window: _Window, interpolation: str) -> Image:
    """Resize what lies in the window, in the stored direction, and then turn the small result upright."""
    from PIL import Image

    width, height = window.width, window.height
    x, y = (window.left, window.right), (window.top, window.bottom)
    if stored.orientation >= 5:
        width, height, x, y = height, width, y, x
    backward_x, backward_y = _MIRRORED[stored.orientation]
    if backward_x:
        x = (width - x[1], width - x[0])
    if backward_y:
        y = (height - y[1], height - y[0])
    per_x, per_y = stored.width * stored.scale / width, stored.height * stored.scale / height
    image = stored.image.resize(
        (x[1] - x[0], y[1] - y[0]),
        Image.Resampling[interpolation.upper()],
        box=(x[0] * per_x, y[0] * per_y, min(x[1] * per_x, stored.image.width), min(y[1] * per_y, stored.image.height)),
    )
    return _turned(image if image.mode == "RGB" else image.convert("RGB"), stored.orientation)


def _turned(image: Image, orientation: int) -> Image:
    from PIL import Image

    turn = Image.Transpose
    turns = {
        2: turn.FLIP_LEFT_RIGHT,
        3: turn.ROTATE_180,
        4: turn.FLIP_TOP_BOTTOM,
        5: turn.TRANSPOSE,
        6: turn.ROTATE_270,
        7: turn.TRANSVERSE,
        8: turn.ROTATE_90,
    }
    return image.transpose(turns[orientation]) if orientation in turns else image


def _padded(image: Image, preprocessing: Preprocessing) -> Image:
    height, width = preprocessing.size
    if image.size == (width, height):
        return image
    from PIL import Image

    canvas = Image.new("RGB", (width, height), (preprocessing.background,) * 3)
    canvas.paste(image, ((width - image.width) // 2, (height - image.height) // 2))
    return canvas
