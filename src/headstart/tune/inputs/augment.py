"""Augmented views of pictures and of the spectrograms of recordings: a fresh one at every visit.

No random state is carried: a view follows from the seed, the example and the number of the view alone, so that any
process may draw it, in any order, before or after a crash. All numbers of a view are drawn before a pixel is touched.

Pillow renders them: `torchvision.transforms.v2.functional` with the same numbers has half the speed (a `light` view of
224 pixels took 4.6 ms on one core, here 2.3 ms), and its crop has no fractions of pixels.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from headstart.base.errors import UsageError, check_at_least, check_choice
from headstart.tune.settings import STRENGTHS

if TYPE_CHECKING:
    from PIL.Image import Image

RATIO = 4 / 3
"""A crop is at most this much wider or taller than the network's input would have it."""
ERASED = (0.02, 0.33)
"""Least and greatest share of a view that is erased."""
MASKING = {"light": (1 / 8, 1, 1 / 8), "strong": (1 / 4, 2, 1 / 5)}
"""How far a spectrogram is moved, as a share of its frames; how many masks of time, and as many of bands, it has; and
which share of frames, or of bands, each covers at most."""


@dataclass(frozen=True, slots=True)
class _Limits:
    """How far a strength goes."""

    area: float  # least share of the picture's area that a crop keeps
    jitter: float  # brightness, contrast and saturation are each multiplied by 1 - jitter to 1 + jitter
    degrees: float = 0.0  # most that a view is turned either way
    erasing: float = 0.0  # probability that a rectangle is erased


_LIMITS = {"light": _Limits(area=0.6, jitter=0.2), "strong": _Limits(area=0.25, jitter=0.4, degrees=15, erasing=0.25)}


@dataclass(frozen=True, slots=True)
class _Drawn:
    """The numbers behind one view."""

    box: tuple[float, float, float, float]  # left, top, right, bottom of the crop, in pixels and fractions
    flipped: bool
    light: tuple[float, float, float]  # factors of brightness, contrast and saturation
    degrees: float
    erased: tuple[int, int, int, int] | None  # left, top, right, bottom of what is erased, in pixels of the view


@dataclass(frozen=True)
class ImageAugmentation:
    """How pictures vary from visit to visit.

    `none` is the centre crop, as the source's own preprocessing has it. `light` crops at random (`RandomResizedCrop`;
    Szegedy et al. 2015) and changes brightness, contrast and saturation a little. `strong` does both further, turns by
    up to 15 degrees and erases a rectangle of one view in four (Zhong et al. 2020).

    Attributes:
        strength: one of `STRENGTHS`.
        horizontal_flip: whether a flipped picture keeps its label: then half of the views, unless `none`, are flipped.
            It holds for most photographs, and never for digits or text.
        size: height and width of a view, at least one pixel.

    Raises:
        UsageError: an unknown strength, or a size below one pixel.
    """

    strength: str
    horizontal_flip: bool
    size: tuple[int, int]
    seed: int

    def __post_init__(self) -> None:
        check_choice("augment", self.strength, STRENGTHS)
        check_at_least("the size of a view", min(self.size), 1)

    def apply(self, picture: NDArray[np.uint8], *, key: int | bytes, view: int) -> NDArray[np.uint8]:
        """Return a view of `picture`: uint8 of shape (height, width, c), a new array.

        Args:
            picture: uint8 of shape (height, width, c) in 0..255, c 1 or 3 in any order of channels; of any size, but
                of at least `size` where the strength is `none`.
            key: which example it is: its position or its content hash.
            view: which of its views, from 0.

        Raises:
            UsageError: the shape is none of these.
        """
        if picture.ndim != 3 or picture.shape[2] not in (1, 3):
            raise UsageError(
                "a picture must have the shape (height, width, 1 or 3)", picture.shape, "give such an array"
            )
        if self.strength == "none":
            return _centre(picture, self.size)
        limits = _LIMITS[self.strength]
        drawn = _draw(generator(self.seed, key, view), limits, self, picture.shape[:2])
        return _render(picture, drawn, self.size)


@dataclass(frozen=True)
class SpectrogramAugmentation:
    """How recordings vary from visit to visit.

    `none` is the spectrogram as it is. `light` and `strong` move it in time, silence moving in, and cover stretches of
    time and of bands with its mean (SpecAugment; Park et al. 2019). Nothing is flipped: no recording sounds the same
    backwards.
    """

    strength: str
    seed: int

    def __post_init__(self) -> None:
        check_choice("augment", self.strength, STRENGTHS)

    def apply(self, picture: NDArray[np.uint8], *, key: int | bytes, view: int) -> NDArray[np.uint8]:
        """Return a view of a spectrogram, uint8 of shape (mels, frames, c), a new array; see `ImageAugmentation`."""
        if self.strength == "none":
            return picture.copy()
        rng = generator(self.seed, key, view)
        shift, masks, share = MASKING[self.strength]
        mels, frames = picture.shape[:2]
        output = _moved(picture, round(shift * frames * (2 * rng.random() - 1)))
        mean = np.uint8(round(float(picture.mean())))
        for start, end in _stretches(rng, frames, masks, share):
            output[:, start:end] = mean
        for start, end in _stretches(rng, mels, masks, share):
            output[start:end] = mean
        return output


Augmentation = ImageAugmentation | SpectrogramAugmentation


def generator(seed: int, key: int | bytes, view: int) -> np.random.Generator:
    """Return what one view of one example is drawn from."""
    named = key if isinstance(key, bytes) else f"position {key}".encode()
    digest = hashlib.sha256(f"{seed} {view} ".encode() + named).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "little"))


def _draw(rng: np.random.Generator, limits: _Limits, augmentation: ImageAugmentation, shape: tuple[int, ...]) -> _Drawn:
    # Every view uses up the same numbers in the same order: a flip and a strength's parts change nothing else.
    crop, flipped, light, turned, erasing = (rng.random(count) for count in (4, 1, 3, 1, 5))
    factors = 1 + limits.jitter * (2 * light - 1)
    return _Drawn(
        box=_crop(crop, limits.area, augmentation.size, shape),
        flipped=augmentation.horizontal_flip and bool(flipped[0] < 0.5),
        light=(float(factors[0]), float(factors[1]), float(factors[2])),
        degrees=limits.degrees * float(2 * turned[0] - 1),
        erased=_rectangle(erasing[1:], augmentation.size) if erasing[0] < limits.erasing else None,
    )


def _crop(
    uniform: NDArray[np.float64], least: float, size: tuple[int, int], shape: tuple[int, ...]
) -> tuple[float, float, float, float]:
    """Return a box that holds `least` to all of the area, its shape near to that of `size`, anywhere inside `shape`."""
    height, width = shape
    area = height * width * (least + (1 - least) * uniform[0])
    ratio = size[1] / size[0] * RATIO ** (2 * uniform[1] - 1)
    # Where so large a box of that shape does not fit, the nearest shape that does; at worst the whole picture.
    ratio = np.clip(ratio, area / height**2, width**2 / area)
    wide, tall = min(width, float(np.sqrt(area * ratio))), min(height, float(np.sqrt(area / ratio)))
    left, top = float(uniform[2]) * (width - wide), float(uniform[3]) * (height - tall)
    return left, top, min(width, left + wide), min(height, top + tall)


def _rectangle(uniform: NDArray[np.float64], size: tuple[int, int]) -> tuple[int, int, int, int]:
    height, width = size
    area = height * width * (ERASED[0] + (ERASED[1] - ERASED[0]) * uniform[0])
    ratio = 3.3 ** (2 * uniform[1] - 1)
    wide, tall = min(width, round(np.sqrt(area * ratio))), min(height, round(np.sqrt(area / ratio)))
    left, top = round(uniform[2] * (width - wide)), round(uniform[3] * (height - tall))
    return left, top, left + wide, top + tall


def _centre(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    (height, width), (tall, wide) = picture.shape[:2], size
    if height < tall or width < wide:
        raise UsageError(
            f"a picture must be at least {wide} x {tall} pixels", f"{width} x {height}", "decode it at that size"
        )
    top, left = round((height - tall) / 2), round((width - wide) / 2)
    return picture[top : top + tall, left : left + wide].copy()


def _render(picture: NDArray[np.uint8], drawn: _Drawn, size: tuple[int, int]) -> NDArray[np.uint8]:
    from PIL import Image

    height, width = size
    image = Image.fromarray(picture[:, :, 0] if picture.shape[2] == 1 else picture)
    image = image.resize((width, height), Image.Resampling.BILINEAR, box=drawn.box)
    if drawn.flipped:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    fill = _mean_colour(image)
    if drawn.degrees:
        image = image.rotate(drawn.degrees, Image.Resampling.BILINEAR, fillcolor=fill)
    if drawn.erased:
        image.paste(fill, drawn.erased)
    return np.array(_lit(image, drawn.light, float(np.mean(fill)))).reshape(height, width, -1)


def _mean_colour(image: Image) -> int | tuple[int, ...]:
    colour = image.reduce((image.width, image.height)).getpixel((0, 0))
    assert isinstance(colour, int | tuple)
    return colour


def _lit(image: Image, light: tuple[float, float, float], mean: float) -> Image:
    """Return `image`, of mean grey level `mean`, with brightness, contrast and saturation multiplied by `light`.

    Each of the three is an affine map of a pixel's channels, and so are all in turn: one map, rounded and cut to 0..255
    once. Grey is the plain mean of the channels, so that their order does not matter.
    """
    brightness, contrast, saturation = light
    scale, shift = brightness * contrast, brightness * (1 - contrast) * mean
    if image.mode == "L":
        return image.point([round(min(255.0, max(0.0, scale * level + shift))) for level in range(256)])
    own, cross = scale * (1 + 2 * saturation) / 3, scale * (1 - saturation) / 3
    return image.convert("RGB", (own, cross, cross, shift, cross, own, cross, shift, cross, cross, own, shift))


def _moved(picture: NDArray[np.uint8], by: int) -> NDArray[np.uint8]:
    """Return a spectrogram `by` frames later, or earlier where that is below 0; silence moves in."""
    output = np.zeros_like(picture)
    frames = picture.shape[1]
    output[:, max(0, by) : frames + min(0, by)] = picture[:, max(0, -by) : frames - max(0, by)]
    return output


def _stretches(rng: np.random.Generator, length: int, masks: int, share: float) -> list[tuple[int, int]]:
    """Return where the masks along one axis begin and end."""
    drawn = rng.random((masks, 2))
    widths = np.floor(drawn[:, 0] * (share * length + 1)).astype(int)
    starts = np.floor(drawn[:, 1] * (length - widths + 1)).astype(int)
    return [(int(start), int(start + width)) for start, width in zip(starts, widths, strict=True)]
