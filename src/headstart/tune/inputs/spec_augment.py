"""Augmented views of recordings: their spectrograms moved in time and masked, each a function of a few integers.

As with pictures, no random state is carried: a view follows from the seed, the example and the number of the view.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.base.errors import check_choice
from headstart.tune.inputs.augment import generator
from headstart.tune.settings import STRENGTHS


@dataclass(frozen=True, slots=True)
class _Limits:
    """How far a strength goes.

    Attributes:
        shift: a view is moved by at most this share of its frames, either way.
        masks: of time, and as many of bands.
        share: of frames, or of bands, that one mask covers at most.
    """

    shift: float
    masks: int
    share: float


_LIMITS = {"light": _Limits(shift=1 / 8, masks=1, share=1 / 8), "strong": _Limits(shift=1 / 4, masks=2, share=1 / 5)}


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
        """Return an augmented view of a spectrogram, uint8 of shape (mels, frames, c); see `ImageAugmentation`."""
        if self.strength == "none":
            return picture.copy()
        limits, rng = _LIMITS[self.strength], generator(self.seed, key, view)
        mels, frames = picture.shape[:2]
        output = _moved(picture, round(limits.shift * frames * (2 * rng.random() - 1)))
        mean = np.uint8(round(float(picture.mean())))
        for start, end in _stretches(rng, frames, limits):
            output[:, start:end] = mean
        for start, end in _stretches(rng, mels, limits):
            output[start:end] = mean
        return output


def _moved(picture: NDArray[np.uint8], by: int) -> NDArray[np.uint8]:
    """Return a spectrogram `by` frames later, or earlier where that is below 0; silence moves in."""
    output = np.zeros_like(picture)
    frames = picture.shape[1]
    output[:, max(0, by) : frames + min(0, by)] = picture[:, max(0, -by) : frames - max(0, by)]
    return output


def _stretches(rng: np.random.Generator, length: int, limits: _Limits) -> list[tuple[int, int]]:
    """Return where the masks along one axis begin and end."""
    drawn = rng.random((limits.masks, 2))
    widths = np.floor(drawn[:, 0] * (limits.share * length + 1)).astype(int)
    starts = np.floor(drawn[:, 1] * (length - widths + 1)).astype(int)
    return [(int(start), int(start + width)) for start, width in zip(starts, widths, strict=True)]
