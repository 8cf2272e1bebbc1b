"""The speaker encoder of Resemblyzer for OpenVINO: an LSTM over mel power, straight from its released arrays.

Wan et al., "Generalized End-to-End Loss for Speaker Verification", ICASSP 2018. Imports OpenVINO.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.audio.spectrogram import AudioPreprocessing, mel_filters
from headstart.engines.environment import without_telemetry
from headstart.sources.graphs.from_arrays import normalised

with without_telemetry():
    import openvino as ov
    from openvino import opset13 as ops

VOLUME = 1e-3
"""Mean square of the samples that every window is brought to, full scale being 1: 30 decibels below it."""
FAINT = 1e-12
QUIET = 1e-10
"""Power above the quietest that a spectrogram tells from silence, the loudest being 1, that is taken for rounding."""
GATES = (1, 0, 2, 3)
"""Where OpenVINO's gates (forget, input, cell, output) stand among torch's."""


def voice_graph(arrays: Mapping[str, NDArray[Any]], preprocessing: AudioPreprocessing) -> ov.Model:
    """Return the network from spectrograms, uint8 (n, bands, frames, 1), to one block (n, width), of unit length.

    `arrays` are the weights of its LSTM and of the linear layer behind, named as in torch.
    """
    pictures = ops.parameter([-1, *preprocessing.shape], np.uint8)
    bands = ops.squeeze(normalised(pictures, preprocessing), np.array([1]))  # natural logarithms of power
    power = ops.subtract(ops.exp(bands), np.exp(np.float32(-preprocessing.mean[0] / preprocessing.std[0])))
    power = ops.select(ops.greater(power, np.float32(QUIET)), power, np.float32(0))  # rounding depends on the runtime
    values = ops.transpose(_at_one_volume(power, preprocessing), np.array([0, 2, 1]))
    layer = 0
    while f"lstm.weight_ih_l{layer}" in arrays:
        values, last = _lstm(arrays, layer, values)
        layer += 1
    product = ops.matmul(last, np.asarray(arrays["linear.weight"]), transpose_a=False, transpose_b=True)
    raw = ops.relu(ops.add(product, np.asarray(arrays["linear.bias"])))
    length = ops.sqrt(ops.reduce_sum(ops.multiply(raw, raw), np.array([1]), keep_dims=True))
    return ov.Model([ops.divide(raw, ops.maximum(length, np.float32(FAINT)))], [pictures], "voice")


def _at_one_volume(power: Any, preprocessing: AudioPreprocessing) -> Any:
    """Return the power of bands, (n, bands, frames), as it is where the samples have the mean square `VOLUME`."""
    bands = preprocessing.spectrogram
    filters = mel_filters(bands.rate, bands.fft, bands.mels, bands.low, bands.high, bands.scale)
    shares = np.linalg.lstsq(filters, np.ones(len(filters)), rcond=None)[0]  # so that all bands are the spectrum once
    squares = ops.multiply(power, shares.astype(np.float32).reshape(1, -1, 1))
    # By Parseval's theorem a stretch has this power where its samples have a mean square of 1 under the Hann window.
    whole = np.float32(bands.fft / 2 * bands.window * 3 / 8)
    per_frame = ops.divide(ops.reduce_sum(squares, np.array([1]), keep_dims=True), whole)
    sounding = ops.convert(ops.greater(ops.reduce_max(power, np.array([1]), keep_dims=True), np.float32(QUIET)), "f32")
    frames = ops.maximum(ops.reduce_sum(sounding, np.array([2]), keep_dims=True), np.float32(1))
    mean = ops.divide(ops.reduce_sum(per_frame, np.array([2]), keep_dims=True), frames)
    return ops.multiply(power, ops.divide(np.float32(VOLUME), ops.maximum(mean, np.float32(FAINT))))


def _lstm(arrays: Mapping[str, NDArray[Any]], layer: int, values: Any) -> tuple[Any, Any]:
    """Return the outputs of a layer, (n, frames, width), and the last of them, (n, width)."""
    inputs, hidden = (_by_gate(arrays[f"lstm.weight_{part}_l{layer}"]) for part in ("ih", "hh"))
    bias = _by_gate(sum(arrays[f"lstm.bias_{part}_l{layer}"] for part in ("ih", "hh")))
    width = hidden.shape[-1]
    shape = ops.shape_of(values)
    count, frames = (ops.gather(shape, np.array([axis]), np.int64(0)) for axis in (0, 1))
    nothing = ops.broadcast(np.float32(0), ops.concat([count, np.array([1, width])], axis=0))
    lengths = ops.broadcast(frames, count)
    run = ops.lstm_sequence(values, nothing, nothing, lengths, inputs, hidden, bias, width, "forward")
    return ops.squeeze(run.output(0), np.array([1])), ops.squeeze(run.output(1), np.array([1]))


def _by_gate(weights: Any) -> NDArray[np.float32]:
    """Return weights of torch's LSTM as OpenVINO wants them, with an axis before them for the one direction."""
    gates = np.split(np.asarray(weights, dtype=np.float32), 4)
    return np.concatenate([gates[gate] for gate in GATES])[None]
