"""The equations of an LSTM in NumPy, and an embedding of a voice by them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from headstart.data.audio.spectrogram import Spectrogram, mel_filters

Array = NDArray[np.floating]


def lstm(arrays: Mapping[str, Array], layer: int, values: Array) -> Array:
    """Return the outputs of a layer whose weights are named as in torch, (frames, width) in and out."""
    weights, recurrent, bias, more = (arrays[f"lstm.{name}_l{layer}"] for name in (
        "weight_ih", "weight_hh", "bias_ih", "bias_hh",
    ))  # fmt: skip
    hidden = cell = np.zeros(recurrent.shape[1])
    outputs = []
    for value in values:
        gates = weights @ value + recurrent @ hidden + bias + more
        keep_new, keep_old, new, shown = np.split(gates, 4)
        cell = _sigmoid(keep_old) * cell + _sigmoid(keep_new) * np.tanh(new)
        hidden = _sigmoid(shown) * np.tanh(cell)
        outputs.append(hidden)
    return np.array(outputs)


def _sigmoid(values: Array) -> Array:
    return 1 / (1 + np.exp(-values))


def embedding(arrays: Mapping[str, Array], power: Array, bands: Spectrogram, volume: float) -> Array:
    """Return the embedding of mel power (bands, frames), brought to a mean square of the samples, of unit length."""
    filters = mel_filters(bands.rate, bands.fft, bands.mels, bands.low, bands.high, bands.scale)
    shares = np.linalg.lstsq(filters, np.ones(len(filters)), rcond=None)[0]
    frames = shares @ power / (bands.fft / 2 * (np.hanning(bands.window + 1) ** 2).sum())
    values = power.T * volume / frames[power.max(axis=0) > 1e-10].mean()
    layer = 0
    while f"lstm.weight_ih_l{layer}" in arrays:
        values = lstm(arrays, layer, values)
        layer += 1
    raw = np.maximum(arrays["linear.weight"] @ values[-1] + arrays["linear.bias"], 0)
    return np.asarray(raw / np.linalg.norm(raw))
