"""The networks of keras.applications: what is known of each without Keras, and Keras itself, on its torch backend.

It builds the networks and draws their random weights; it is imported here and nowhere else, and only when one of these
functions is called. All were trained on ImageNet-1k.

`applications.csv` has a row for each: the side of its input as it was trained and the smallest that it takes, in
pixels; the mode of its `preprocess_input`; and of its released weights the file, what the name of the file without the
classifier ends in, and the hash of either file, md5 or sha256 by length (empty where Keras has none).
"""

from __future__ import annotations

import csv
import importlib
import os
import random
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from headstart.base.errors import SourceError
from headstart.data.images.preprocessing import Preprocessing
from headstart.engines.environment import set_passive_omp_wait, without_tensorflow

ADDRESS = "https://storage.googleapis.com/tensorflow/keras-applications/"
OLDER_ADDRESS = "https://storage.googleapis.com/keras-applications/"
MODES: dict[str, tuple[Literal["rgb", "bgr"], tuple[float, ...], tuple[float, ...]]] = {
    "caffe": ("bgr", (103.939 / 255, 116.779 / 255, 123.68 / 255), (1 / 255, 1 / 255, 1 / 255)),
    "tf": ("rgb", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "torch": ("rgb", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "inside": ("rgb", (0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255)),
}
"""Order of the channels, mean and standard deviation, of values in 0..1, for each mode of `preprocess_input`.

Under `inside` values are in 0..255, and the network's first layers normalise them themselves.
"""


@dataclass(frozen=True)
class Application:
    """One row of the table: side of the input as trained, the smallest one, and the row as it stands."""

    size: int
    least: int
    row: dict[str, str]

    def preprocessing(self, size: int) -> Preprocessing:
        """Return how it wants its pictures, at a side of `size` pixels.

        Keras states values and channels, and no crop: its `load_img` squashes the whole picture. That is done here
        too, bilinearly (Keras's default, the nearest pixel, drops most of a photo).
        """
        channels, mean, std = MODES[self.row["mode"]]
        return Preprocessing((size, size), resize=None, interpolation="bilinear", mean=mean, std=std, channels=channels)

    def released(self, *, top: bool) -> tuple[str, Path, str]:
        """Return address, path in Keras's cache and hash of the weights, with or without the classifier."""
        name = self.row["file"] + ("" if top else self.row["headless"]) + ".h5"
        home = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser()
        url = (ADDRESS if "/" in name else OLDER_ADDRESS) + name
        return url, home / "models" / name.rpartition("/")[2], self.row["hash" if top else "headless_hash"]


_TABLE = (files("headstart.sources.keras") / "applications.csv").read_text(encoding="utf-8")
APPLICATIONS = {
    row["name"]: Application(int(row["size"]), int(row["least"]), row) for row in csv.DictReader(_TABLE.splitlines())
}


def import_keras() -> ModuleType:
    """Return Keras on torch, channels last; SourceError where it is set otherwise, or was when it was imported."""
    remedy = "set KERAS_BACKEND=torch, and channels_last in ~/.keras/keras.json, before Keras is imported"
    backend = os.environ.setdefault("KERAS_BACKEND", "torch")
    if backend != "torch":
        raise SourceError("Keras must run on torch", f"KERAS_BACKEND={backend}", remedy)
    set_passive_omp_wait()
    with without_tensorflow():
        keras = importlib.import_module("keras")
    settings = (keras.backend.backend(), keras.config.image_data_format())
    if settings != ("torch", "channels_last"):
        raise SourceError("Keras must run on torch, with channels last", " and ".join(settings), remedy)
    return keras


def build_application(name: str, *, size: int, top: bool, seed: int = 0, shape_only: bool = False) -> Any:
    """Return the application as a Keras model, with random weights; Python's own random state is untouched.

    `size` is the side of the input in pixels. Without `top`, its classifier, features are averaged over positions;
    `seed` is what Keras's initialisers draw from; with `shape_only` there are no weights. SourceError: Keras refuses,
    in its own words.
    """
    keras = import_keras()
    head: dict[str, Any] = {"include_top": True} if top else {"include_top": False, "pooling": "avg"}
    state = random.getstate()
    random.seed(seed)  # where Keras's initialisers take their seeds from
    try:
        with without_tensorflow(), keras.device("meta" if shape_only else "cpu"):
            return getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3), **head)
    except ValueError as error:
        first = str(error).partition("\n")[0]
        raise SourceError(f"Keras must be able to build {name!r}", first, "choose another name or size") from error
    finally:
        random.setstate(state)
