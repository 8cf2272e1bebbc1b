"""Pictures of more than 8 bits: which values become black and white, one range for all pictures of a set.

A range travels with the bytes of each file, as a line behind them, where every decoder of such formats stops reading.
So whatever is made of an example (its hash, its features, its thumbnail) is made with the range of its set.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from headstart.data.dataset import BadExample

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

Depth = Literal["16-bit", "32-bit", "float"]  # how a file stores its values
ValueRanges = Mapping[str, tuple[float, float]]
"""By depth, the values that become black and white; those outside are clipped."""

USUAL: dict[Depth, tuple[float, ...]] = {"16-bit": (255, 65535), "32-bit": (255, 65535), "float": (1, 255, 65535)}
"""What is usually white where 0 is black, for each depth."""
FULL = (0.0, 65535.0)
"""Of 16 bits, where nothing else is known."""
CLIPPED = 0.001
"""The share of a picture's pixels at either end, such as hot ones, that says nothing about its range."""
ODD = 0.02
"""The share of the pictures at either end that says nothing about the range of their set."""

_MARK = b"\n#values "
_MOST_MARKED = 200  # bytes
_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262
_BAND_PIXELS = 1 << 20
_OTHER_ORDER = {"16B": "16L", "16L": "16B", "16N": "16B"}  # N: of this machine, little-endian wherever wheels are
_MEASURED_PIXELS = 1 << 16


def with_ranges(data: bytes, ranges: ValueRanges) -> bytes:
    """Return a file whose pictures are read by `ranges`."""
    return data + _MARK + json.dumps(ranges, sort_keys=True).encode() if ranges else data


def ranges_of(data: bytes) -> ValueRanges:
    """Return the ranges that `with_ranges` put behind a file; {} where none are there."""
    _, mark, text = data[-_MOST_MARKED:].rpartition(_MARK)
    try:
        ranges = {str(depth): (float(low), float(high)) for depth, (low, high) in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError):  # the file's own bytes
        return {}
    return ranges if mark and all(low < high and math.isfinite(high - low) for low, high in ranges.values()) else {}


def decide_range(depth: Depth, ends: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the values that become black and white in a set, from the least and greatest of some of its pictures.

    That is a usual range (0..1 for floats, 0..255, 0..65535) where the values lie within it and fill more than half of
    it, else the range of the values themselves, from 0 where they begin near it.
    """
    low = float(np.quantile([least for least, _ in ends], ODD, method="lower"))
    high = float(np.quantile([greatest for _, greatest in ends], 1 - ODD, method="higher"))
    usual = [top for top in USUAL[depth] if low >= 0 and high <= top and high - low > top / 2]
    if usual:
        return 0.0, float(usual[0])
    if high <= low:
        return low - 0.5, low + 0.5
    return (0.0 if 0 <= low < 0.1 * high else low), high


def depth_of(image: Image) -> Depth | None:
    """Return how a picture stores its values, by its header alone; None where they have 8 bits at most."""
    if image.mode == "F":
        return "float"
    if image.mode == "I" and image.format != "PPM":
        return "32-bit"
    colour = any(";16" in raw_mode for raw_mode in _raw_modes(image))
    return "16-bit" if colour or image.mode == "I" or image.mode.startswith("I;16") else None


def value_ends(values: Iterable[NDArray[Any]], pixels: int) -> tuple[float, float]:
    """Return the least and greatest value of a picture of so many pixels, but for `CLIPPED`; BadExample where none is.

    Args:
        values: the bands of its rows, as `grey_bands` or `colour_bands` gives them.
    """
    step = max(1, math.isqrt(pixels // _MEASURED_PIXELS))
    some = np.concatenate([band[::step, ::step].ravel() for band in values])
    some = some[np.isfinite(some)]
    if not some.size:
        raise BadExample("broken: no finite value")
    low, high = np.quantile(some, (CLIPPED, 1 - CLIPPED), method="nearest")
    return float(low), float(high)


def grey_bands(image: Image) -> Iterator[NDArray[Any]]:
    """Yield the values of each band of a grey picture; those of 16 bits as if all of them were used."""
    bits = _tags(image).get(_BITS_PER_SAMPLE, (16,))[0]
    widen = np.float64(65535 / (2**bits - 1)) if depth_of(image) == "16-bit" and bits < 16 else None
    for _, band in _bands(image):
        yield band if widen is None else band * widen


def colour_bands(high: Image, low: Image) -> Iterator[NDArray[np.uint16]]:
    """Yield the values of each band of a picture of 16 bits a channel, without its transparency.

    Args:
        high: the picture of the higher bytes.
        low: that of the lower ones, see `lower_bytes`; the higher ones again where nothing gives those.
    """
    for (_, upper), (_, lower) in zip(_bands(high), _bands(low), strict=True):
        yield upper[:, :, :3].astype(np.uint16) << 8 | lower[:, :, :3]


def to_grey(image: Image, ranges: ValueRanges) -> Image:
    """Return grey of 8 bits, a band of rows at a time: as floats, a picture takes 24 bytes a pixel.

    Without a range for its depth, 16 bits are taken as 0..65535, floats within 0..1 as these, and all else is
    stretched.
    """
    from PIL import Image

    depth = depth_of(image)
    low, high = ranges.get(str(depth)) or (FULL if depth == "16-bit" else _own_range(image))
    by = 255 / (high - low) if high > low else 0.0
    base = 0.0 if high > low else 127.5
    converted, top = Image.new("L", image.size), 0
    for band in grey_bands(image):
        finite = np.nan_to_num(band.astype(np.float64), nan=low, posinf=high, neginf=low)
        level = _bytes((finite - low) * by + base)
        if _tags(image).get(_PHOTOMETRIC) == 0:
            level = 255 - level  # TIFF's WhiteIsZero, which Pillow honours for 8 bits only
        converted.paste(Image.fromarray(level), (0, top))
        top += len(level)
    return converted


def to_colour(high: Image, low: Image, ends: tuple[float, float]) -> Image:
    """Return a picture of 16 bits a channel in 8, its transparency as it is; `high` and `low` as in `colour_bands`."""
    from PIL import Image

    table = _bytes((np.arange(2**16) - ends[0]) * (255 / (ends[1] - ends[0])))
    converted, top = high.copy(), 0
    for band in colour_bands(high, low):
        levels = Image.fromarray(table[band])
        alpha = [high.getchannel("A").crop((0, top, high.width, top + len(band)))] if high.mode == "RGBA" else []
        converted.paste(Image.merge(high.mode, [*levels.split(), *alpha]), (0, top))
        top += len(band)
    return converted


def lower_bytes(image: ImageFile) -> Image | None:
    """Return the lower bytes of a picture of 16 bits a channel that was not yet decoded; None where nothing gives them.

    Pillow keeps the higher byte of each value. Asked for the bytes in the other order, it keeps the lower one.
    """
    from PIL import Image

    (raw_mode,) = set(_raw_modes(image)) or {""}
    layout, _, order = raw_mode.partition(";")
    if raw_mode == "LA;16B":
        image._mode, raw_mode = "RGBA", "RGBA"  # four bytes a pixel: two of grey, two of alpha
    elif layout in ("RGB", "RGBX", "RGBA") and order in _OTHER_ORDER:
        raw_mode = f"{layout};{_OTHER_ORDER[order]}"
    else:
        return None
    image.tile = [
        tile._replace(args=(raw_mode, *tile.args[1:]) if isinstance(tile.args, tuple) else raw_mode)
        for tile in image.tile
    ]
    image.load()
    return Image.merge("RGB", [image.getchannel("G")] * 3) if layout == "LA" else image


def _raw_modes(image: Image) -> list[str]:
    return [_raw_mode(tile) for tile in getattr(image, "tile", ())]


def _raw_mode(tile: Any) -> str:
    return str(tile.args if isinstance(tile.args, str) else (tile.args or ("",))[0])


def _tags(image: Image) -> dict[int, Any]:
    return dict(getattr(image, "tag_v2", {}))


def _bands(image: Image) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield the first row and the values of each band of a picture."""
    rows = max(1, _BAND_PIXELS // image.width)
    for top in range(0, image.height, rows):
        yield top, np.asarray(image.crop((0, top, image.width, min(top + rows, image.height))))


def _own_range(image: Image) -> tuple[float, float]:
    """Return the least and greatest value of a picture; 0 and 1 for floats within these."""
    finite = [values[np.isfinite(values)] for _, values in _bands(image)]
    ends = [(float(values.min()), float(values.max())) for values in finite if values.size]
    if not ends:
        raise BadExample("broken: no finite value")
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    return (0.0, 1.0) if image.mode == "F" and low >= 0 and high <= 1 else (low, high)


def _bytes(grey: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    levels: NDArray[np.uint8] = np.clip(np.rint(grey), 0, 255).astype(np.uint8)
    return levels
