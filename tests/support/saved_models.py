"""SavedModels for the tests, and what TensorFlow itself says of them; run in a process of its own.

torch and TensorFlow abort in one process, so that no test imports this file.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "TF_ENABLE_ONEDNN_OPTS": "0"}

import keras
import numpy as np
import tensorflow as tf

SIDE = 32


class Plain(tf.Module):
    """A network of plain TensorFlow: two convolutions, a mean, and a linear map where `classes` is not 0."""

    def __init__(self, classes: int = 0, side: int | None = None) -> None:
        super().__init__()
        seeds = iter(range(9))

        def drawn(*shape: int) -> tf.Variable:
            return tf.Variable(0.3 * tf.random.stateless_normal(shape, [1, next(seeds)]), name="weights")

        self.first, self.second = drawn(3, 3, 3, 8), drawn(3, 3, 8, 12)
        self.head = drawn(12, classes) if classes else None
        shape = [None, side, side, 3]
        self.__call__ = tf.function(self.run, input_signature=[tf.TensorSpec(shape, tf.float32, name="images")])

    def features(self, images: tf.Tensor) -> tf.Tensor:
        maps = tf.nn.relu(tf.nn.conv2d(images, self.first, 2, "SAME"))
        return tf.reduce_mean(tf.nn.relu(tf.nn.conv2d(maps, self.second, 2, "SAME")), [1, 2])

    def run(self, images: tf.Tensor) -> tf.Tensor:
        pooled = self.features(images)
        return pooled if self.head is None else pooled @ self.head


class Program(tf.Module):
    """A network that runs Python."""

    @tf.function(input_signature=[tf.TensorSpec([None, SIDE, SIDE, 3], tf.float32, name="images")])
    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        return tf.py_function(lambda values: values * 2, [tf.reduce_mean(images, [1, 2])], tf.float32)


class Reader(tf.Module):
    """A network that reads a file."""

    @tf.function(input_signature=[tf.TensorSpec([None, SIDE, SIDE, 3], tf.float32, name="images")])
    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        secret = tf.strings.length(tf.io.read_file("/etc/passwd"))
        return tf.reduce_mean(images, [1, 2]) * tf.cast(secret, tf.float32)


class Texts(tf.Module):
    """A network for texts."""

    @tf.function(input_signature=[tf.TensorSpec([None, 16], tf.int32, name="tokens")])
    def __call__(self, tokens: tf.Tensor) -> tf.Tensor:
        return tf.one_hot(tokens, 8)


def keras_net() -> tuple[keras.Model, keras.Model]:
    """Return a small Keras classifier with trained-looking BatchNorm, and the part up to its features."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    images = keras.Input((SIDE, SIDE, 3), name="images")
    maps = layers.Conv2D(8, 3, strides=2, padding="same")(images)
    maps = layers.ReLU()(layers.BatchNormalization()(maps))
    maps = layers.DepthwiseConv2D(3, padding="same")(maps)
    maps = layers.Conv2D(12, 1, strides=2, activation="relu6")(maps)
    pooled = layers.GlobalAveragePooling2D()(maps)
    scores = layers.Dense(5, activation="softmax")(layers.Dropout(0.2)(pooled))
    whole = keras.Model(images, scores)
    rng = np.random.default_rng(0)
    for layer in whole.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, 8) for _ in range(4)])
    return whole, keras.Model(images, pooled)


def main(folder: Path) -> None:
    """Write the SavedModels into `folder`, and `said.npz` with what they say of `folder/given.npy`."""
    given = np.load(folder / "given.npy")
    whole, pooled = keras_net()
    whole.export(folder / "keras", verbose=False)
    pooled.export(folder / "keras-features", verbose=False)
    modules = {"plain": Plain(7, SIDE), "features": Plain(), "program": Program(), "reader": Reader(), "texts": Texts()}
    for name, module in modules.items():
        signatures = {} if name == "features" else {"signatures": {"serving_default": module.__call__}}
        tf.saved_model.save(module, str(folder / name), **signatures)
    broken = Plain(7, SIDE)
    broken.second.assign(broken.second * np.nan)
    tf.saved_model.save(broken, str(folder / "broken"))
    np.savez(
        folder / "said.npz",
        keras=pooled(given).numpy(),
        keras_likely=whole(given).numpy(),
        plain=modules["plain"].features(given).numpy(),
        plain_scores=modules["plain"].run(given).numpy(),
        features=modules["features"].features(given).numpy(),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
