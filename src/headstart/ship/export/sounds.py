"""Samples of recordings in a graph, brought to the spectrograms that `predict` makes of them. Imports OpenVINO.

The Fourier transform is a convolution with cosines and sines under the window, in float32 as `predict` has it: a level
of a picture in some thousands is another.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.fft import dct

from headstart.data.audio.spectrogram import (
    BANDS,
    COEFFICIENTS,
    QUIET,
    SILENCE,
    SUMMARY_FRAMES,
    AudioPreprocessing,
    Spectrogram,
    mel_filters,
)
from headstart.engines.environment import without_telemetry
from headstart.ship.export.numbers import Node, axis, number, product, total, whole

with without_telemetry():
    from openvino import opset13 as ops

HALF = 8193.0  # 2 ** 13 + 1: leaves the 11 bits of float16
DECIBELS = 10 / math.log(10)


class Heard(NamedTuple):
    """Recordings as pictures of their windows."""

    pictures: Node  # uint8 (n * k, mels, frames, channels)
    windows: Node  # k, float32 (1,)


def heard(samples: Node, preprocessing: AudioPreprocessing) -> Heard:
    """Return the pictures of recordings: samples are float32 (n, t) at the rate of the spectrogram, of any t."""
    settings = preprocessing.spectrogram
    count, places = _windows(samples, settings, preprocessing.hop)
    padded = ops.concat(
        [samples, ops.multiply(ops.slice(samples, whole(0), whole(1), whole(1), whole(1)), number(0))], 1
    )
    shape = ops.concat([whole(-1, 1), ops.convert(_one(_total(settings)), "i64")], 0)
    sounds = ops.reshape(ops.gather(padded, places, axis(1)), shape, special_zero=False)
    peak = ops.reduce_max(ops.absolute(sounds), whole(2), keep_dims=True)
    sounding = ops.greater(peak, number(0))
    levels = _levels(ops.divide(sounds, ops.select(sounding, peak, number(1))), settings)
    several = ops.greater(count, number(1))
    louder = ops.multiply(ops.log(ops.select(sounding, peak, number(1))), number(2 * DECIBELS))
    levels = ops.select(several, _rounded(ops.add(levels, louder)), levels)
    levels = ops.select(sounding, levels, number(SILENCE))
    return Heard(_pictures(levels, count, preprocessing), count)


def mean_of_windows(block: Node, width: int, windows: Node) -> Node:
    """Return the mean of a block over the windows of each recording, from (n * k, width) to (n, width)."""
    shape = ops.concat([whole(-1), ops.convert(windows, "i64"), whole(width)], 0)
    return ops.reduce_mean(ops.reshape(block, shape, special_zero=False), whole(1), keep_dims=False)


def _total(settings: Spectrogram) -> int:
    return (settings.frames - 1) * settings.hop + settings.window


def _one(value: float) -> Node:
    return ops.constant(np.array([value], np.float32))


def _windows(samples: Node, settings: Spectrogram, hop: float) -> tuple[Node, Node]:
    """Return how many windows there are, float32 (1,), and the place of each of their samples, int64 (k, total).

    Places behind the last sample are those of silence.
    """
    span, half = round(settings.rate * settings.seconds), settings.window // 2
    length = ops.convert(ops.gather(ops.shape_of(samples), whole(1), axis(0)), "f32")
    kept = ops.minimum(length, number(min(span, _total(settings) - half)))
    begin: Node = number(half)
    if settings.centred:
        spare = ops.maximum(ops.subtract(number(_total(settings) - 2 * half), kept), number(0))
        begin = ops.add(begin, ops.floor(ops.multiply(spare, number(0.5))))
    count, starts = _one(1), ops.constant(np.zeros((1, 1), np.float32))
    if hop:
        beyond = ops.subtract(length, number(span))
        step = hop * settings.rate
        full = ops.add(ops.floor(ops.multiply(ops.maximum(beyond, number(0)), number(1 / step))), number(1))
        over = ops.greater(beyond, ops.round(ops.multiply(ops.subtract(full, number(1)), number(step)), "half_to_even"))
        count = ops.add(full, ops.convert(ops.logical_and(over, ops.greater(beyond, number(0))), "f32"))
        numbers = ops.unsqueeze(_counted(count), axis(1))
        regular = ops.round(ops.multiply(numbers, number(step)), "half_to_even")
        starts = ops.select(ops.less(numbers, full), regular, ops.maximum(beyond, number(0)))
    inside = ops.subtract(ops.constant(np.arange(_total(settings), dtype=np.float32)[None]), begin)
    present = ops.logical_and(ops.greater_equal(inside, number(0)), ops.less(inside, kept))
    return count, ops.convert(ops.select(present, ops.add(starts, inside), length), "i64")


def _counted(count: Node) -> Node:
    stop = ops.squeeze(ops.convert(count, "i64"), whole(0))
    return ops.convert(ops.range(axis(0), stop, axis(1), "i64"), "f32")


def _levels(sounds: Node, settings: Spectrogram) -> Node:
    """Return decibels of each band and frame, (m, mels, frames), of sounds (m, 1, total) whose peak is 1."""
    points = settings.fft // 2 + 1
    hann = np.hanning(settings.window + 1)[:-1].astype(np.float32)
    angles = 2 * np.pi * np.outer(np.arange(points), np.arange(settings.window)) / settings.fft
    waves = (np.concatenate([np.cos(angles), -np.sin(angles)]) * hann).astype(np.float32)[:, None]
    none, each = [0], [1]
    spectrum = ops.convolution(sounds, ops.constant(waves), [settings.hop], none, none, each)
    squares = ops.multiply(spectrum, spectrum)
    power = ops.reduce_sum(
        ops.reshape(squares, whole(0, 2, points, settings.frames), special_zero=True), whole(1), keep_dims=False
    )
    filters = mel_filters(settings.rate, settings.fft, settings.mels, settings.low, settings.high, settings.scale)
    bands = ops.maximum(product(ops.constant(np.ascontiguousarray(filters.T)), power), number(QUIET))
    return ops.multiply(ops.log(bands), number(DECIBELS))


def _rounded(levels: Node) -> Node:
    """Return numbers as float16 rounds them."""
    scaled = ops.multiply(levels, number(HALF))
    return ops.subtract(scaled, ops.subtract(scaled, levels))


def _pictures(levels: Node, count: Node, preprocessing: AudioPreprocessing) -> Node:
    """Return levels (n * k, mels, frames) as pictures, 255 being the loudest of each recording."""
    settings = preprocessing.spectrogram
    mels, frames = settings.mels, settings.frames
    shape = ops.concat([whole(-1), ops.convert(count, "i64"), whole(mels, frames)], 0)
    recordings = ops.reshape(levels, shape, special_zero=False)
    loudest = ops.reduce_max(recordings, whole(1, 2, 3), keep_dims=True)
    relative = ops.maximum(ops.subtract(recordings, loudest), number(-settings.floor))
    shades = ops.multiply(ops.add(ops.divide(relative, number(settings.floor)), number(1)), number(255))
    shades = ops.select(ops.greater(loudest, number(SILENCE)), ops.round(shades, "half_to_even"), number(0))
    pictures = ops.convert(ops.reshape(shades, whole(-1, mels, frames, 1), special_zero=False), "u8")
    return pictures if preprocessing.channels == "grey" else ops.concat([pictures] * 3, 3)


def cepstra_of(sounds: Heard, preprocessing: AudioPreprocessing) -> Node:
    """Return mean and spread of the MFCC of recordings, float32 (n, 40), as the simple baseline has them."""
    mels, frames = preprocessing.size
    shape = ops.concat([whole(-1), ops.convert(sounds.windows, "i64"), whole(mels, frames)], 0)
    first = ops.slice(sounds.pictures, whole(0), whole(1), whole(1), whole(3))
    every = ops.reshape(ops.convert(first, "f32"), shape, special_zero=False)
    few = ops.minimum(sounds.windows, number(-(-SUMMARY_FRAMES // frames)))
    last = ops.subtract(sounds.windows, number(1))
    share = ops.divide(last, ops.maximum(ops.subtract(few, number(1)), number(1)))
    chosen = ops.convert(ops.round(ops.multiply(_counted(few), share), "half_to_even"), "i64")
    rows = ops.transpose(ops.gather(every, chosen, axis(1)), whole(0, 2, 1, 3))
    grey = ops.multiply(ops.reshape(rows, whole(0, 0, -1), special_zero=True), number(1 / 255))
    sounding = ops.convert(ops.greater(ops.reduce_max(grey, whole(1), keep_dims=True), number(0)), "f32")
    starts = np.arange(BANDS) * mels // BANDS
    ends = np.maximum(starts + 1, (np.arange(BANDS) + 1) * mels // BANDS)
    groups = np.stack([(np.arange(mels) >= a) & (np.arange(mels) < b) for a, b in zip(starts, ends, strict=True)])
    means = groups / groups.sum(axis=1, keepdims=True)
    transform = dct(means, axis=0, norm="ortho")[:COEFFICIENTS].astype(np.float32)
    coefficients = product(ops.constant(np.ascontiguousarray(transform)), grey)
    n = ops.maximum(total(sounding, 2), number(1))
    mean = ops.divide(total(ops.multiply(coefficients, sounding), 2), n)
    rest = ops.multiply(ops.subtract(coefficients, mean), sounding)
    spread = ops.sqrt(ops.divide(total(ops.multiply(rest, rest), 2), n))
    return ops.concat([ops.squeeze(mean, whole(2)), ops.squeeze(spread, whole(2))], 1)
