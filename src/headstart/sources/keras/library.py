"""The Keras library itself, on its torch backend: it builds the networks and draws their random weights.

Keras is imported here and nowhere else, and only when one of these functions is called.
"""

from __future__ import annotations

import importlib
import os
import random
from types import ModuleType
from typing import Any

from headstart.base.errors import SourceError
from headstart.engines.environment import set_passive_omp_wait, without_tensorflow


def import_keras() -> ModuleType:
    """Return Keras, on torch.

    Raises:
        SourceError: it is set to another backend, or to channels first; or was imported so before.
    """
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

    Args:
        name: as keras.applications has it.
        size: side of the input, in pixels.
        top: with its classifier; without it, its features are averaged over positions.
        seed: what Keras's initialisers draw from.
        shape_only: without any weights.

    Raises:
        SourceError: Keras refuses; the message is its own.
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
