"""Pictures: from the bytes of a file to the pixels that a source wants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Preprocessing:
    """How a source wants its pictures.

    Attributes:
        size: height and width of the network's input, in pixels.
        resize: length in pixels of the shorter side before the centre crop; None squashes the whole picture to `size`.
        interpolation: the resampling filter.
        mean: per channel, of values in 0..1 (after division by 255); subtracted inside the network.
        std: per channel; divides inside the network.
        channels: order of the channels that the network sees.
        background: grey level 0..255 on which transparent pictures are laid.
    """

    size: tuple[int, int]
    resize: int | None
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bicubic"
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    channels: Literal["rgb", "bgr", "grey"] = "rgb"
    background: int = 255


def decode(data: bytes, how: Preprocessing) -> NDArray[np.uint8]:
    """Return the picture in `data`, upright, resized and cropped: uint8 of shape (height, width, channels)."""
    raise NotImplementedError
