"""Encoders of recordings on the Hugging Face hub: wav2vec 2.0, HuBERT, WavLM, AST and Whisper's encoder.

What `preprocessor_config.json` says is done by transformers' own feature extractor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.errors import SourceError
from headstart.base.hashing import sha256_json
from headstart.data.audio.decoding import whole_in_windows
from headstart.data.audio.spectrogram import AudioPreprocessing, Spectrogram, Windows
from headstart.engines.base import Network
from headstart.sources.base import Identity, Source
from headstart.sources.layers import Tap
from headstart.sources.text.source import middle_layers

if TYPE_CHECKING:
    from torch import nn

FAMILIES = ("wav2vec2", "hubert", "wavlm", "audio-spectrogram-transformer", "whisper")
"""What `networks.sound_networks` knows how to build."""
RECIPE = 1
"""Counts up when the same files come to mean other numbers."""
WINDOW, WINDOWS = 2.0, (0.5, 30.0)
"""Seconds that a network of plain samples reads at once, and the least and most of them."""
PARTS = 8
"""Stretches of time of the block `sequence`."""
MELS = 64
"""Bands of the spectrogram that the report shows, and MFCC are made of."""
LEAST = 0.1
"""Seconds of sound, silence behind it included, that an extractor is given at least."""
INPUTS = ("input_values", "input_features")
"""What extractors call the numbers that they return."""
MOST_HEARD = 600.0
"""Seconds of a recording that are heard: of a longer one, windows that lie evenly in all of it."""


@dataclass(frozen=True)
class Waves(Windows):
    """A recording for a network that reads what a feature extractor makes of its samples, window by window."""

    sounds: NDArray[np.float32]  # of shape (k, samples)
    extract: Callable[[NDArray[np.float32]], NDArray[np.uint8]]  # makes a picture of the samples of a window

    def __len__(self) -> int:
        return len(self.sounds)

    @property
    def nbytes(self) -> int:
        """How much memory it takes."""
        return self.grey.nbytes + self.sounds.nbytes

    def pictures_of(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Return some windows, as `packed` has them: uint8 of shape (n, rows, columns, 4)."""
        return np.stack([self.extract(sound) for sound in self.sounds[start:stop]])


class SoundSource(Source):
    """A frozen encoder of recordings.

    Args:
        family: the `model_type` of its settings, and `processor` those of its feature extractor.
        shape: rows (time) and columns of what the extractor makes of a window.
        build: returns the torch module that takes these, packed, and returns its blocks.
    """

    preprocessing: AudioPreprocessing

    def __init__(
        self,
        identity: Identity,
        preprocessing: AudioPreprocessing,
        taps: tuple[Tap, ...],
        *,
        family: str,
        processor: Mapping[str, Any],
        shape: tuple[int, int],
        build: Callable[[], nn.Module],
    ) -> None:
        super().__init__(identity, preprocessing, taps)
        self._family, self._processor, self._shape, self._build = family, processor, shape, build

    def network(self) -> Network:
        """Return the network that yields every block in one pass."""
        identity, blocks = self.identity, tuple(tap.block for tap in self.taps)
        made_of = {"recipe": RECIPE, "weights": identity.sha256, "architecture": identity.architecture}
        made_of |= {"blocks": [asdict(block) for block in blocks], "reading": asdict(self.preprocessing)}
        return Network(sha256_json(made_of), (*self._shape, 4), blocks, self.module)

    def module(self) -> nn.Module:
        """Return the torch module in inference mode, the same one each time."""
        return self._build()

    def prepare(self, data: bytes) -> Waves:
        """Return the windows of a recording; BadExample where it cannot be read."""
        shown = self.preprocessing.hear(data)
        grey = shown.grey if isinstance(shown, Windows) else shown[None, :, :, 0]
        bands, hop = self.preprocessing.spectrogram, self.preprocessing.hop
        sounds = whole_in_windows(data, rate=bands.rate, seconds=bands.seconds, hop=hop, most=MOST_HEARD)
        return Waves(grey, 1, sounds, self._picture)

    @cached_property
    def _extractor(self) -> Callable[..., Any]:
        from headstart.sources.networks.sound_networks import library_extractor

        return library_extractor(self._processor, self._family)

    def _picture(self, sound: NDArray[np.float32]) -> NDArray[np.uint8]:
        (rows, columns), rate = self._shape, self.preprocessing.spectrogram.rate
        enough = np.pad(sound, (0, max(0, round(LEAST * rate) - len(sound))))
        values = self._extractor(enough, sampling_rate=rate, return_tensors="np")
        array = np.asarray(next(values[name] for name in INPUTS if name in values)[0], np.float32)
        table = np.zeros((rows, columns), np.float32)
        array = array[:, None] if array.ndim == 1 else array.T if array.shape[1] == rows else array
        table[: len(array)] = array[:rows]
        span = self.preprocessing.spectrogram.seconds * rate
        return packed(table, max(1, round(rows * min(1.0, len(sound) / span))))


def packed(values: NDArray[np.float32], present: int) -> NDArray[np.uint8]:
    """Return numbers within ±256 as bytes, uint8 of shape (rows, columns, 4): what is added to the sign, then 24 bits.

    Of the rows the first that are `present` hold sound: 2 is added in the others.
    """
    sizes = np.minimum(np.rint(np.abs(values.astype(np.float64)) * 2**16), 2**24 - 1).astype(">u4")
    bytes_of = np.ascontiguousarray(sizes).view(np.uint8).reshape(*values.shape, 4)
    bytes_of[:, :, 0] = (values < 0) + 2 * (np.arange(len(values)) >= present)[:, None]
    return bytes_of


def open_sounds(
    made_of: Mapping[str, Any],
    identity: Identity,
    build: Callable[[tuple[int, ...], int], Callable[[], nn.Module]],
    window: float | None,
) -> SoundSource:
    """Return an encoder of recordings; `build`, given further layers and stretches, returns what makes its module.

    `made_of` are its settings; see `read_model`. SourceError: the window is not one that it reads.
    """
    config, processor = made_of["config"], made_of["processor"]
    family, rate = config["model_type"], int(processor.get("sampling_rate") or 16_000)
    seconds, shape = _reads(config, processor, rate, WINDOW if window is None else window)
    least, most = WINDOWS if shape[1] == 1 else (seconds, seconds)
    if window is not None and not least <= window <= most:
        ends = f"{least:g} to {most:g} s" if most > least else f"{seconds:g} s"
        raise SourceError(f"{identity.uri} must be given windows of {ends}", f"{window:g} s", "name such a length")
    width = int(config.get("hidden_size") or config["d_model"])
    layers = int(config.get("num_hidden_layers") if "encoder_layers" not in config else config["encoder_layers"])
    further = middle_layers(layers)
    hop = rate // 100
    points, frames = 1 << (2 * hop - 1).bit_length(), round(seconds * rate / hop)
    bands = Spectrogram(rate, 2 * hop, hop, points, MELS, frames, high=rate / 2)
    preprocessing = AudioPreprocessing(
        size=(bands.mels, bands.frames), resize=None, channels="grey", background=0, spectrogram=bands
    )
    taps = (
        Tap("pool", width, "pool"),
        *(Tap(f"layer{at + 1}.avg", width, "avg") for at in further),
        Tap("sequence", PARTS * width, "flatten"),
    )
    make = build(further, PARTS)
    return SoundSource(identity, preprocessing, taps, family=family, processor=processor, shape=shape, build=make)


def _reads(
    config: Mapping[str, Any], processor: Mapping[str, Any], rate: int, window: float
) -> tuple[float, tuple[int, int]]:
    """Return the seconds that a network reads at once, and rows and columns of what its extractor makes of them."""
    if config["model_type"] == "whisper":
        seconds, rows = float(processor.get("chunk_length") or 30), 2 * int(config["max_source_positions"])
        return seconds, (rows, int(config["num_mel_bins"]))
    if config["model_type"] == "audio-spectrogram-transformer":
        rows = int(config.get("max_length") or 1024)
        return rows / 100, (rows, int(config.get("num_mel_bins") or 128))
    return window, (round(window * rate), 1)
