"""A bundle as a model of MLflow, of the flavour `python_function`: `mlflow models serve` answers as `predict` does."""

from __future__ import annotations

import base64
import binascii
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headstart.base.errors import UsageError
from headstart.data.modality import modality_of_task
from headstart.data.readers.arrays.in_memory import from_items
from headstart.model import Model, load
from headstart.ship.bundle import load as load_bundle
from headstart.ship.hub_bundle import bundle_folder
from headstart.ship.space import WHEEL, write_around

COLUMNS = {"image": "data", "sound": "data", "text": "text"}
"""The column that each kind of example stands in: files as base64, texts as they are."""
MLMODEL = """\
artifact_path: model
flavors:
  python_function:
    data: bundle
    env:
      virtualenv: python_env.yaml
    loader_module: headstart.serving.mlflow_model
    python_version: {python}
signature:
  inputs: '[{{"type": "string", "name": "{column}", "required": true}}]'
  outputs: null
  params: null
"""
ENVIRONMENT = "python: {python}\ndependencies:\n- -r requirements.txt\n"
README = """# A bundle as a model of MLflow

It needs headstart: install it and say `--env-manager local`, or put its wheel beside this file (in a checkout of
headstart: `pip wheel --no-deps . -w FOLDER`).

```sh
mlflow models serve -m . --env-manager local --port 5000
curl -H 'Content-Type: application/json' -d '{{"dataframe_records": [{{"{column}": "{item}"}}]}}' http://127.0.0.1:5000/invocations
```
"""


def write_mlflow(bundle: str | os.PathLike[str], out: Path) -> list[str]:
    """Write a folder that MLflow reads as a model, whose input is one column of strings; return the names in it.

    Raises:
        BundleError: the bundle is damaged.
        UsageError: `out` holds something, or cannot be written.
    """
    folder = bundle_folder(Path(bundle))
    column = COLUMNS[modality_of_task(load_bundle(folder).manifest.task).kind]
    item = "A text" if column == "text" else "BASE64"
    files = {
        "MLmodel": MLMODEL.format(python=platform.python_version(), column=column),
        "python_env.yaml": ENVIRONMENT.format(python=platform.python_version()),
        "requirements.txt": f"mlflow-skinny>=3,<4\npandas\n./{WHEEL}[serve]\n",
        "README.md": README.format(column=column, item=item),
    }
    return write_around(folder, out, files, what="a model of MLflow")


class Classifier:
    """A model behind the interface of MLflow."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def predict(self, data: Mapping[str, Any], params: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Return for each row of a data frame, or of columns by name, what `predict` says with every class, or `error`.

        UsageError: the column is missing.
        """
        kind = self._model.source.info.kind
        column = COLUMNS[kind]
        if column not in data:
            raise UsageError(f"the input must have a column {column!r}", ", ".join(map(str, data)), "send it")
        items = [(str if kind == "text" else _bytes)(value) for value in data[column]]
        predictions = self._model.predict_dataset(from_items(items, kind=kind))
        rows: dict[str, dict[str, Any]] = {skip.id: {"error": skip.reason} for skip in predictions.skipped}
        rows |= zip(predictions.ids, predictions.plain(self._model.classes, every_class=True), strict=True)
        return [rows[f"item {place}"] for place in range(len(items))]


def _bytes(value: object) -> bytes:
    """Return the bytes of a file from its base64; what is none is a file that cannot be read."""
    try:
        return base64.b64decode(str(value), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _load_pyfunc(path: str) -> Classifier:
    """Return the model in a folder: what MLflow calls, by this name."""
    return Classifier(load(path))
