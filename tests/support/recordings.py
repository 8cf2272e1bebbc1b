"""Recordings for tests: tones, and files of them in any format."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray


def tone(hertz: float = 440.0, *, seconds: float = 0.5, rate: int = 16_000, level: float = 0.5) -> NDArray[np.float64]:
    """Return a sine, float64 of shape (n,)."""
    return level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def recording(
    sound: NDArray[Any], *, rate: int = 16_000, kind: str = "WAV", coding: str | None = None, **more: Any
) -> bytes:
    """Return a file that holds `sound`, of shape (n,) or (n, channels)."""
    file = io.BytesIO()
    soundfile.write(file, sound, rate, format=kind, subtype=coding, **more)
    return file.getvalue()


def tones(folder: Path, *, count: int = 6, rate: int = 8_000, seconds: float = 0.3, seed: int = 0) -> Path:
    """Write class folders `low`, `middle` and `high` of noisy tones of any phase and loudness."""
    rng = np.random.default_rng(seed)
    for name, hertz in (("low", 300.0), ("middle", 800.0), ("high", 2_000.0)):
        (folder / name).mkdir(parents=True)
        for at in range(count):
            sound = tone(hertz * rng.uniform(0.9, 1.1), seconds=seconds * rng.uniform(0.7, 1.3), rate=rate)
            sound = rng.uniform(0.2, 0.9) * np.roll(sound, rng.integers(100)) + 0.02 * rng.normal(size=len(sound))
            (folder / name / f"{name}_{at}.wav").write_bytes(recording(sound, rate=rate))
    return folder
