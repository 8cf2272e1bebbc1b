"""The Keras library itself, on its torch backend: what an application is made of, and its random weights.

Keras is imported here and nowhere else, and only when one of these functions is called.
"""

from __future__ import annotations

import importlib
import os
import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.errors import SourceError, missing_extra
from headstart.engines.environment import set_passive_omp_wait
from headstart.sources.keras.walker import Walk, walk

BACKEND = "KERAS_BACKEND"
TENSORFLOW = "tensorflow"


def check_installed(uri: str) -> None:
    """Raise MissingExtra, with the pip command, unless Keras and h5py are installed."""
    for package in ("keras", "h5py"):
        if find_spec(package) is None:
            raise missing_extra(uri, package, extra="keras")


def import_keras() -> ModuleType:
    """Return Keras, on torch.

    Raises:
        SourceError: it is set to another backend, or to channels first.
    """
    remedy = "set KERAS_BACKEND=torch, in a new process if Keras is imported already"
    if os.environ.setdefault(BACKEND, "torch") != "torch":
        raise SourceError("Keras must run on torch", f"{BACKEND}={os.environ[BACKEND]}", remedy)
    set_passive_omp_wait()
    with without_tensorflow():
        keras = importlib.import_module("keras")
    if keras.backend.backend() != "torch":
        raise SourceError("Keras must run on torch", keras.backend.backend(), remedy)
    if keras.config.image_data_format() != "channels_last":
        raise SourceError(
            "Keras must keep channels last, as its applications do",
            keras.config.image_data_format(),
            "call keras.config.set_image_data_format('channels_last'), or mend ~/.keras/keras.json",
        )
    return keras


@contextmanager
def without_tensorflow() -> Iterator[None]:
    """Keep TensorFlow from being imported, as Keras does where it is installed: beside torch it can end the process."""
    absent = _Absent()
    sys.meta_path.insert(0, absent)
    try:
        yield
    finally:
        sys.meta_path.remove(absent)


class _Absent(MetaPathFinder, Loader):
    """Finds TensorFlow, and says on import that it is not there.

    A None in `sys.modules` would not do: Keras takes the mere key for an imported TensorFlow.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname == TENSORFLOW else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        raise ModuleNotFoundError(f"{spec.name} is left out beside torch", name=spec.name)

    def exec_module(self, module: ModuleType) -> None:
        raise AssertionError("unreachable: no module is ever created")


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
    how: dict[str, Any] = {"include_top": True} if top else {"include_top": False, "pooling": "avg"}
    state = random.getstate()
    random.seed(seed)  # where Keras's initialisers take their seeds from
    try:
        with without_tensorflow(), keras.device("meta" if shape_only else "cpu"):
            return getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3), **how)
    except ValueError as error:
        first = str(error).partition("\n")[0]
        raise SourceError(f"Keras must be able to build {name!r}", first, "choose another name or size") from error
    finally:
        random.setstate(state)


def walk_application(name: str, *, size: int, top: bool) -> Walk:
    """Return the layers of the application; no weights are made for it."""
    return walk_model(build_application(name, size=size, top=top, shape_only=True))


def walk_model(model: Any) -> Walk:
    """Return the layers of a functional Keras model."""
    with without_tensorflow():
        config = model.get_config()
    return walk(config, [tuple(weight.shape) for weight in _weights(model)])


def arrays_of(model: Any) -> list[NDArray[np.float32]]:
    """Return the arrays of a Keras model in the order of the slots of its walk."""
    return [weight.value.detach().cpu().numpy() for weight in _weights(model)]


def random_arrays(name: str, *, size: int, seed: int) -> list[NDArray[np.float32]]:
    """Return weights as Keras's own initialisers draw them from `seed`.

    They are those of the application without its classifier, in the order of the slots of its walk.
    """
    return arrays_of(build_application(name, size=size, top=False, seed=seed))


def _weights(model: Any) -> Iterator[Any]:
    for layer in model.layers:
        yield from _weights(layer) if hasattr(layer, "layers") else layer.weights
