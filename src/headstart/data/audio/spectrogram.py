"""Log-mel spectrograms: what a network sees of a recording, as a grey picture of mel bands by frames."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import chain
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from headstart.base.errors import UsageError
from headstart.data.audio.decoding import bounded, samples, windows
from headstart.data.dataset import answer_bounded
from headstart.data.images.preprocessing import VALUES, Preprocessing

WINDOW = 0.025  # seconds; hop and window are those of most speech and audio networks
HOP = 0.010
FLOOR = 80.0
SILENCE = -10_000.0  # decibels of a silent window of a recording, and far below any other
HEARING_RATE = 1 / (
    1 << 20
)  # seconds of processor that each byte of a recording may take on top where all of it is heard
QUIET = 1e-10  # the least power that is told from none, of a recording whose loudest sample is 1
MEAN, STD = 0.5, 0.25
MOST = 1 << 20  # samples a second, samples of a stretch, points, bands or stretches
MelScale = Literal["htk", "slaney"]
SUMMARY_FRAMES = 1 << 14
"""Of a long recording that the simple baseline, and the search for near copies, look at."""
BANDS, COEFFICIENTS = 32, 20
"""What a spectrogram is summarised in for the simple baseline."""
AUDIBLE = 0.5  # share of the spectrogram's decibels, the loudest, in which a recording is compared with others


@dataclass(frozen=True)
class Spectrogram:
    """How a recording becomes a picture.

    The power of short overlapping stretches under a Hann window, summed over triangular bands that lie evenly on a mel
    scale, in decibels below the loudest band of the recording, so that recordings of any loudness look alike.
    """

    rate: int  # samples a second that recordings are resampled to
    window: int  # samples of a stretch
    hop: int  # samples from one stretch to the next
    fft: int  # points of its Fourier transform, of which those beyond `window` are zeros
    mels: int  # bands: rows of the picture, the lowest first
    # stretches: columns of the picture; what lies behind them is cut, what is shorter is followed by silence
    frames: int
    low: float = 20.0  # lower end of the lowest band in Hz
    high: float = 8_000.0  # upper end of the highest band in Hz
    floor: float = FLOOR  # decibels below the loudest at which all is taken for silence
    scale: MelScale = "htk"  # the mel scale, and what the triangles have of 1: their height, or with slaney their area
    centred: bool = False  # whether a shorter recording stands in the middle of the silence

    def __post_init__(self) -> None:
        least = min(self.hop, self.window, self.mels, self.frames, self.floor)
        if least <= 0 or self.window > self.fft or not 0 <= self.low < self.high <= self.rate / 2:
            raise UsageError("a spectrogram must have bands below half its rate and stretches of samples", self, "mend")

    @property
    def seconds(self) -> float:
        """How much of a recording is looked at."""
        return self.frames * self.hop / self.rate


@dataclass(frozen=True)
class AudioPreprocessing(Preprocessing):
    """How a source wants its recordings: as pictures of their spectrograms."""

    spectrogram: Spectrogram = Spectrogram(16_000, 400, 160, 512, 64, 96)  # how they are made; their size is `size`
    hop: float = 0.0  # seconds from one window of a longer recording to the next; 0 where its beginning alone is heard

    def __post_init__(self) -> None:
        if self.size != (self.spectrogram.mels, self.spectrogram.frames):
            raise UsageError(
                "the size of a spectrogram must be its bands by its frames", self.size, "give its bands and its frames"
            )

    def prepare(self, data: bytes, share: float = 0.0) -> NDArray[np.uint8]:
        """Return the spectrogram of the recording in `data`: uint8 (mels, frames, 1 or 3), `share` as for `samples`."""
        spectrogram = self.spectrogram
        picture = log_mel(samples(data, rate=spectrogram.rate, seconds=spectrogram.seconds, share=share), spectrogram)
        return picture[:, :, None] if self.channels == "grey" else np.repeat(picture[:, :, None], 3, axis=2)

    def hear(self, data: bytes) -> NDArray[np.uint8] | Windows:
        """Return the whole recording in `data`: as `prepare` where it fits into one window or hop is 0, else windows.

        The loudest band is that of the whole recording. BadExample as `samples`, wherever in the recording.
        """
        if not self.hop:
            return self.prepare(data)
        more = HEARING_RATE * len(data)
        settings, by = asdict(self.spectrogram), f"{__name__}:task"
        pictures = bounded(_heard, data, task=by, more_seconds=more, spectrogram=settings, hop=self.hop).reshape(
            -1, *self.size
        )
        channels = 1 if self.channels == "grey" else 3
        whole = Windows(pictures, channels)
        return whole if len(pictures) > 1 else whole.pictures_of(0, 1)[0]


@dataclass(frozen=True)
class Windows:
    """A long recording, ready for a network: its windows, whose features are averaged."""

    grey: NDArray[np.uint8]  # their spectrograms, uint8 of shape (k, mels, frames)
    channels: int  # 1, or 3 where the network reads colour

    def __len__(self) -> int:
        return len(self.grey)

    @property
    def nbytes(self) -> int:
        """How much memory it takes."""
        return self.grey.nbytes

    def pictures_of(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Return some windows as pictures: uint8 of shape (n, mels, frames, channels)."""
        some = self.grey[start:stop, :, :, None]
        return some if self.channels == 1 else np.repeat(some, self.channels, axis=3)


def task(data: bytes, work: str, spectrogram: dict[str, Any], hop: float) -> tuple[dict[str, Any], bytes]:
    """Return the windows of a recording in the process of `run_bounded`."""
    return answer_bounded(lambda: ({"type": "u1"}, _heard(data, spectrogram, hop).tobytes()))


def _heard(data: bytes, spectrogram: dict[str, Any], hop: float, most: float = 0) -> NDArray[np.uint8]:
    """Return the spectrograms of all windows of a recording, uint8 of shape (k, mels, frames)."""
    settings = Spectrogram(**spectrogram)
    sounds = windows(data, rate=settings.rate, seconds=settings.seconds, hop=hop)
    first = next(sounds)
    levels = [_levels(sound, settings) for sound in chain([first], sounds)]
    if len(levels) == 1:
        return log_mel(first, settings)[None]
    loudest = max(float(level.max()) for level in levels)
    if loudest <= SILENCE:
        return np.zeros((len(levels), settings.mels, settings.frames), np.uint8)
    return np.stack([_shades(level.astype(np.float32) - loudest, settings) for level in levels])


def _levels(sound: NDArray[np.float32], settings: Spectrogram) -> NDArray[np.float16]:
    """Return decibels of each band and frame below full scale, float16 to hold many: `SILENCE` where there is none."""
    peak = float(np.abs(sound).max(initial=0))
    levels = (
        band_power(sound, settings) + 20 * math.log10(peak)
        if peak
        else np.full((settings.mels, settings.frames), SILENCE)
    )
    return levels.astype(np.float16)


def audio_preprocessing(
    preprocessing: Preprocessing, *, size: tuple[int, int], seconds: float, rate: int
) -> AudioPreprocessing:
    """Return the preprocessing of recordings for a network that reads pictures: `size` mel bands and frames.

    Of the architecture's preprocessing for pictures the channels count. The frames span `seconds`.
    """
    mels, frames = size
    hop = max(1, round(seconds * rate / frames))
    window = max(round(WINDOW * rate), 2 * hop)  # every sample lies under two windows
    high = rate / 2
    fft = 1 << (window - 1).bit_length()
    while not mel_filters(rate, fft, mels, 20.0, high).any(axis=0).all():
        fft *= 2
    bands = Spectrogram(rate, window, hop, fft, mels, frames, high=high)
    count = 1 if preprocessing.channels == "grey" else 3
    return AudioPreprocessing(
        size=size,
        resize=None,
        interpolation=preprocessing.interpolation,
        mean=(MEAN,) * count,
        std=(STD,) * count,
        channels=preprocessing.channels,
        background=0,
        spectrogram=bands,
    )


def log_mel(sound: NDArray[np.float32], spectrogram: Spectrogram) -> NDArray[np.uint8]:
    """Return the log-mel spectrogram of samples of shape (n,): uint8 of shape (mels, frames).

    0 is `floor` decibels below the loudest band of the recording or quieter, 255 the loudest.
    """
    return _shades(band_levels(sound, spectrogram), spectrogram)


def _shades(levels: NDArray[np.float32], spectrogram: Spectrogram) -> NDArray[np.uint8]:
    decibels = np.maximum(levels, -spectrogram.floor)
    return np.rint((decibels / spectrogram.floor + 1) * 255).astype(np.uint8)


def band_levels(sound: NDArray[np.float32], spectrogram: Spectrogram) -> NDArray[np.float32]:
    """Return decibels of each band and frame below the loudest, float32 of shape (mels, frames), 0 at most.

    Stretch k is centred on sample k * hop. A silent recording is `floor` below everywhere.
    """
    if not np.any(sound):
        return np.full((spectrogram.mels, spectrogram.frames), -spectrogram.floor, np.float32)
    levels = band_power(sound, spectrogram)
    relative: NDArray[np.float32] = levels - levels.max()
    return relative


def band_power(sound: NDArray[np.float32], spectrogram: Spectrogram) -> NDArray[np.float32]:
    """Return decibels of each band and frame where the loudest sample, which is not zero, is 1: (mels, frames)."""
    from scipy.fft import rfft

    peak = float(np.abs(sound).max())
    half = spectrogram.window // 2
    span = (spectrogram.frames - 1) * spectrogram.hop + spectrogram.window
    padded = np.zeros(span, np.float32)
    beginning = sound[: span - half]
    start = half + (max(0, span - 2 * half - len(beginning)) // 2 if spectrogram.centred else 0)
    padded[start : start + len(beginning)] = beginning.astype(np.float64) / peak
    stretches = np.lib.stride_tricks.sliding_window_view(padded, spectrogram.window)[:: spectrogram.hop]
    spectrum = rfft(stretches * _hann(spectrogram.window), spectrogram.fft, axis=1)
    power = spectrum.real**2 + spectrum.imag**2
    levels: NDArray[np.float32] = 10 * np.log10(np.maximum(_triangles(spectrogram) @ power.T, QUIET))
    return levels.astype(np.float32, copy=False)


@lru_cache(maxsize=8)
def _triangles(settings: Spectrogram) -> Any:
    """Return the mel filters, bands first, without their zeros: threads of a dense product cost ten times as much."""
    from scipy.sparse import csr_array

    return csr_array(
        mel_filters(settings.rate, settings.fft, settings.mels, settings.low, settings.high, settings.scale).T
    )


@lru_cache(maxsize=8)
def mel_filters(  # noqa: PLR0917
    rate: int, fft: int, mels: int, low: float, high: float, scale: MelScale = "htk"
) -> NDArray[np.float32]:
    """Return the weight of each point of a spectrum in each band, float32 of shape (fft // 2 + 1, mels), 0..1.

    Triangles between points that lie evenly on a mel scale: of height 1 on m = 2595 log10(1 + f / 700) (O'Shaughnessy,
    "Speech Communication", 1987; as in HTK), or of area 1 on Slaney's, which is even below 1 kHz and logarithmic above
    ("Auditory Toolbox", 1998; as in librosa).
    """
    to_mel, to_hertz = _SCALES[scale]
    corners = to_hertz(np.linspace(to_mel(np.float64(low)), to_mel(np.float64(high)), mels + 2))
    points = np.linspace(0, rate / 2, fft // 2 + 1)[:, None]
    rising = (points - corners[:-2]) / np.diff(corners)[:-1]
    falling = (corners[2:] - points) / np.diff(corners)[1:]
    area = 2 / (corners[2:] - corners[:-2]) if scale == "slaney" else 1.0
    weights: NDArray[np.float32] = (np.maximum(0, np.minimum(rising, falling)) * area).astype(np.float32)
    return weights


_EVEN, _STEP = 1000.0, math.log(6.4) / 27
"""Slaney's scale: the hertz up to which it is even, in steps of 200 / 3, and the logarithm of a step above."""
_SCALES: dict[MelScale, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "htk": (lambda hertz: 2595 * np.log10(1 + hertz / 700), lambda mel: 700 * (10 ** (mel / 2595) - 1)),
    "slaney": (
        lambda hertz: np.minimum(hertz, _EVEN) * 0.015 + np.log(np.maximum(hertz, _EVEN) / _EVEN) / _STEP,
        lambda mel: np.where(mel < 15, mel / 0.015, _EVEN * np.exp(_STEP * (mel - 15))),
    ),
}
"""Of each mel scale what makes mels of hertz, and hertz of mels."""


def cepstra(prepared: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return mean and spread over time of 20 cepstral coefficients (MFCC): float32 of shape (40,).

    The cosine transform of the log-mel bands of each frame (Davis & Mermelstein, IEEE Transactions on Acoustics, Speech
    and Signal Processing 28 (1980)), over frames that are not silent throughout, where there is one. More bands than 32
    of the spectrogram (mels, frames, channels) are averaged, fewer repeated.
    """
    from scipy.fft import dct

    mels = prepared.shape[0]
    starts = np.arange(BANDS) * mels // BANDS
    ends = np.maximum(starts + 1, (np.arange(BANDS) + 1) * mels // BANDS)
    grey = prepared[:, :, 0].astype(np.float32) / 255
    grey = grey[:, grey.any(axis=0)] if grey.any() else grey
    bands = np.stack([grey[start:end].mean(axis=0) for start, end in zip(starts, ends, strict=True)])
    coefficients: NDArray[np.float32] = dct(bands, axis=0, norm="ortho")[:COEFFICIENTS]
    return np.concatenate([coefficients.mean(axis=1), coefficients.std(axis=1)])


def side_by_side(recording: Windows, frames: int) -> NDArray[np.uint8]:
    """Return windows of a recording as one picture, uint8 of shape (mels, n, 1), of as many frames, or few more.

    They are taken evenly from all of it.
    """
    count, mels, length = recording.grey.shape
    chosen = np.linspace(0, count - 1, min(count, -(-frames // length))).round().astype(int)
    picture: NDArray[np.uint8] = recording.grey[chosen].transpose(1, 0, 2).reshape(mels, -1, 1)
    return picture


def loudest_part(prepared: NDArray[np.uint8], frames: int) -> NDArray[np.uint8]:
    """Return the frames about the loudest, above what may be noise: uint8 of shape (mels, frames, 1).

    A recording that was cut again, or stands in silence, has its loudest part at another place, of the same form. It is
    the run of frames with the greatest sum, centred on the mean place of what is loud in it.
    """
    quiet = 255 * (1 - AUDIBLE)
    levels = np.maximum(prepared[:, :, 0].astype(np.float32) - quiet, 0) / AUDIBLE
    levels = np.pad(levels, ((0, 0), (frames, frames)))
    loudness = levels.sum(axis=0)
    start = int(np.convolve(loudness, np.ones(frames), "valid").argmax())
    part = loudness[start : start + frames]
    centre = start + round(float((part * np.arange(frames)).sum() / max(float(part.sum()), 1.0)))
    start = min(max(centre - frames // 2, 0), levels.shape[1] - frames)
    return np.asarray(np.rint(levels[:, start : start + frames, None]), np.uint8)


def preprocessing_from(plain: Mapping[str, Any]) -> Preprocessing:
    """Return the preprocessing that `asdict`, or JSON, made plain values of; TypeError or UsageError if it is none."""
    for key, (valid, expected) in VALUES.items():
        value = plain.get(key)
        if key in plain and not valid(list(value) if isinstance(value, tuple) else value):
            raise UsageError(f"{key} of a preprocessing must be {expected}", repr(value), f"give {expected}")
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in plain.items()}
    if "spectrogram" not in values:
        return Preprocessing(**values)
    spectrogram = Spectrogram(**values["spectrogram"])
    if not all(type(number) is int and number <= MOST for number in list(asdict(spectrogram).values())[:6]):
        raise UsageError(
            f"a spectrogram must be made of whole numbers up to {MOST:,}", spectrogram, "give smaller ones"
        )
    return AudioPreprocessing(**{**values, "spectrogram": spectrogram})


@lru_cache(maxsize=8)
def _hann(window: int) -> NDArray[np.float32]:
    return np.hanning(window + 1)[:-1].astype(np.float32)
