"""The networks of keras.applications: what is known of each without Keras. All were trained on ImageNet-1k.

`applications.csv` has a row for each: the side of its input as it was trained and the smallest that it takes, in
pixels; the mode of its `preprocess_input`; and of its released weights the file, what the name of the file without the
classifier ends in, and the hash of either file, md5 or sha256 by length (empty where Keras has none).
"""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal

from headstart.data.images.preprocessing import Preprocessing

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
