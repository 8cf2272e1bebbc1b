"""`simple:pixels`, `simple:mfcc`, `simple:words`: no network at all, so that a baseline is a model like any other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from headstart.base.errors import SourceError, did_you_mean
from headstart.base.hashing import sha256_json
from headstart.data.audio.spectrogram import (
    COEFFICIENTS,
    SUMMARY_FRAMES,
    AudioPreprocessing,
    Windows,
    cepstra,
    side_by_side,
)
from headstart.data.images.preprocessing import Preprocessing, small_pixels
from headstart.data.modality import Kind
from headstart.data.text import Tokens
from headstart.engines.base import Network, PreparedExample
from headstart.sources.base import Identity, Source, TextPreprocessing
from headstart.sources.layers import POOL, Tap
from headstart.sources.uri import Spec, refuse_revision

if TYPE_CHECKING:
    import torch

SIDE = 224
WIDTHS = {"pixels": 768, "mfcc": 2 * COEFFICIENTS, "words": 1}
NAMES: dict[Kind, str] = {"image": "pixels", "sound": "mfcc", "text": "words"}
DEFAULTS: dict[str, Preprocessing | TextPreprocessing] = {
    "pixels": Preprocessing(size=(SIDE, SIDE), resize=SIDE + 32),
    "mfcc": AudioPreprocessing(size=(64, 96), resize=None, channels="grey"),
    "words": TextPreprocessing(tokenizer=""),
}


class SimpleSource(Source):
    """What the simple baseline of a kind of examples reads: plain numbers, at the block `pool`.

    Of photos pixels averaged over 16 x 16 boxes, 0..1; of recordings mean and spread of their MFCC; of texts one zero,
    for their words are read by a head of their own.

    Args:
        name: `pixels`, `mfcc` or `words`.
        preprocessing: how examples are decoded before; of another source, to read what its baseline read.
    """

    auto_layers = (POOL,)
    any_preprocessing = True

    def __init__(self, name: str, preprocessing: Preprocessing | TextPreprocessing | None = None) -> None:
        identity = Identity(
            uri=f"simple:{name}",
            architecture="none",
            licence="none needed (there are no weights)",
            revision="1",
            sha256=sha256_json({"simple": name, "revision": 1}),
            trained_on="nothing",
        )
        super().__init__(identity, preprocessing or DEFAULTS[name], [Tap(POOL, WIDTHS[name], "pool")])

    def prepare(self, data: bytes) -> PreparedExample:
        """Return one example decoded; of a text nothing."""
        if isinstance(self.preprocessing, TextPreprocessing):
            return Tokens((np.zeros(1, np.int32),), 1, 1)
        return super().prepare(data)

    def network(self) -> Network:
        """Return what makes the numbers; no engine has anything to speed up there."""
        preprocessing = self.preprocessing
        decoded_by = asdict(preprocessing) if isinstance(preprocessing, Preprocessing) else {}
        return Network(
            fingerprint=sha256_json({"simple": self.identity.uri, "preprocessing": decoded_by}),
            input_shape=preprocessing.shape if isinstance(preprocessing, Preprocessing) else (),
            blocks=tuple(tap.block for tap in self.taps),
            module=self._refuse,
            runs_on_torch=False,
            lookup=lambda: NUMBERS[self.identity.uri.partition(":")[2]],
        )

    def module(self) -> torch.nn.Module:
        """Raise SourceError: there is none."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise SourceError(f"{self.identity.uri} must be a network to be tuned", "none", "name another source")


def pixel_numbers(batch: Sequence[Any]) -> NDArray[np.float32]:
    """Return the pixels of n decoded photos averaged over boxes, float32 of shape (n, 768) in 0..1."""
    return np.stack([small_pixels(photo) for photo in batch]).astype(np.float32) / np.float32(255)


def mfcc_numbers(batch: Sequence[Any]) -> NDArray[np.float32]:
    """Return mean and spread of the MFCC of n recordings, float32 of shape (n, 40)."""
    windows = [side_by_side(one, SUMMARY_FRAMES) if isinstance(one, Windows) else one for one in batch]
    return np.stack([cepstra(np.asarray(one)) for one in windows])


def no_numbers(batch: Sequence[Any]) -> NDArray[np.float32]:
    """Return zeros, float32 of shape (n, 1)."""
    return np.zeros((len(batch), 1), np.float32)


NUMBERS = {"pixels": pixel_numbers, "mfcc": mfcc_numbers, "words": no_numbers}


def open_named(spec: Spec, *, weights: str, seed: int) -> SimpleSource:
    """Return the source; SourceError where there is none of that name."""
    refuse_revision(spec, "they have no weights")
    if spec.name not in WIDTHS:
        names = ", ".join(WIDTHS)
        raise SourceError(
            f"simple: must be followed by {names}", repr(spec.name), f"choose one{did_you_mean(spec.name, WIDTHS)}"
        )
    return SimpleSource(spec.name)
