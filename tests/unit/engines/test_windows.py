"""Features of long recordings are the mean over their windows, whatever stands beside them and at once."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from headstart.data.audio.spectrogram import Windows
from headstart.engines.base import over_windows, sample_of, stacked


def toy(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return two features of each picture."""
    assert len(pictures) <= 5
    flat = pictures.reshape(len(pictures), -1).astype(np.float32)
    return np.stack([flat.mean(axis=1), flat.max(axis=1)], axis=1)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_means_over_windows_are_those_of_each_alone(size: int) -> None:
    rng = np.random.default_rng(0)
    grey = [rng.integers(0, 256, (count, 4, 6), dtype=np.uint8) for count in (1, 7, 2, 1, 3)]
    batch = stacked([Windows(one, 1) if len(one) > 1 else one[0][:, :, None] for one in grey])
    expected = np.stack([np.concatenate([toy(window[None]) for window in one]).mean(axis=0) for one in grey])
    np.testing.assert_allclose(over_windows(toy, batch, size), expected, rtol=1e-6)


def test_short_recordings_are_one_array_and_samples_have_one_window_each() -> None:
    picture, long = np.zeros((4, 6, 1), np.uint8), Windows(np.ones((3, 4, 6), np.uint8), 1)
    assert isinstance(stacked([picture, picture]), np.ndarray)
    sample = sample_of(stacked([picture, long, long]), 2)
    assert isinstance(sample, np.ndarray) and sample.shape == (2, 4, 6, 1) and sample[1].all()
    assert sample_of(np.zeros((5, 4, 6, 1), np.uint8), 3).shape == (3, 4, 6, 1)
