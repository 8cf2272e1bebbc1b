"""The recipe of Keras' guide to transfer learning, on EfficientNet-Lite0; Keras runs on torch, see `lite0.py`.

https://keras.io/guides/transfer_learning: flips, turns, the frozen network in inference mode, dropout of 0.2 and
a new layer trained for 20 epochs at 1e-3, then everything for 10 epochs at 1e-5, BatchNorm still in inference mode.
"""

from __future__ import annotations

import os

os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np
import timm
import torch
from draws import PHOTOS, Examples, run
from lite0 import NAME, weights
from PIL import Image


class Base(torch.nn.Module):
    """The network without its last layer: (n, 224, 224, 3) in 0 to 255 become (n, 1280)."""

    def __init__(self) -> None:
        super().__init__()
        self.body = timm.create_model(NAME)
        self.body.load_state_dict(weights())
        self.body.reset_classifier(0)

    def forward(self, photos: torch.Tensor) -> torch.Tensor:
        return self.body(photos.permute(0, 3, 1, 2) / 127.5 - 1)


def fit(train: Examples, items: list[str]) -> list[dict[str, float]]:
    names = sorted(set(train[1]))
    labels = np.array([names.index(label) for label in train[1]])
    base = keras.layers.TorchModuleWrapper(Base(), output_shape=(None, 1280))
    base.trainable = False
    inputs = keras.Input((224, 224, 3))
    turned = keras.layers.RandomRotation(0.1)(keras.layers.RandomFlip("horizontal")(inputs))
    outputs = keras.layers.Dense(len(names))(keras.layers.Dropout(0.2)(base(turned, training=False)))
    model = keras.Model(inputs, outputs)
    for trainable, rate, epochs in ((False, 1e-3, 20), (True, 1e-5, 10)):
        base.trainable = trainable
        model.compile(keras.optimizers.Adam(rate), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        model.fit(photos(train[0]), labels, batch_size=min(64, len(labels)), epochs=epochs, verbose=0)
    scores = torch.from_numpy(model.predict(photos(items), verbose=0)).softmax(1)
    return [dict(zip(names, row, strict=True)) for row in scores.tolist()]


def photos(paths: list[str]) -> np.ndarray:
    """Return (n, 224, 224, 3) of float32 in 0 to 255, as `image_dataset_from_directory` makes them."""
    sized = (Image.open(path).convert("RGB").resize((224, 224), Image.Resampling.BILINEAR) for path in paths)
    return np.stack([np.asarray(photo, np.float32) for photo in sized])


if __name__ == "__main__":
    run("keras guide", fit, PHOTOS)
