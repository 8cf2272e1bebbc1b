"""The environment of the libraries behind the engines: what must be set before each is first imported."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import cast


def set_passive_omp_wait() -> None:
    """Let torch's threads sleep while they wait; call it before torch is first imported.

    By default they spin, which costs ten times the time of a batch where decoding threads or other programs want the
    same cores. The variable is OpenMP's own; a value that the user has set stays.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@contextmanager
def without_telemetry() -> Iterator[None]:
    """Import OpenVINO inside the block, and it reports nothing to anybody and writes no files under the home folder.

    Its own stand-in for an absent `openvino_telemetry` is used; without this, each import sends an event.
    """
    name = "openvino_telemetry"
    if name in sys.modules:
        yield
        return
    sys.modules[name] = cast(ModuleType, None)  # what Python itself takes for "cannot be imported"
    try:
        yield
    finally:
        del sys.modules[name]


@contextmanager
def without_tensorflow() -> Iterator[None]:
    """Use Keras inside the block, and it does not import TensorFlow, which beside torch can end the process."""
    absent = _AbsentTensorFlow()
    sys.meta_path.insert(0, absent)
    try:
        yield
    finally:
        sys.meta_path.remove(absent)


class _AbsentTensorFlow(MetaPathFinder, Loader):
    """Finds TensorFlow, and says on import that it is not there.

    A None in `sys.modules` would not do: Keras takes the mere key for an imported TensorFlow.
    """

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        return ModuleSpec(name, self) if name == "tensorflow" else None

    def exec_module(self, module: ModuleType) -> None:
        raise ModuleNotFoundError(f"{module.__name__} is left out beside torch", name=module.__name__)


class _SignalStack(ctypes.Structure):
    """Linux's `stack_t`: where the handlers of a thread's signals run."""

    _fields_ = (("place", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextmanager
def own_signal_stack() -> Iterator[None]:
    """Compile a network inside the block, and signals are handled on the same stack afterwards as before.

    Each network that OpenVINO compiles brings the thread a signal stack of its own, and puts back the one that it found
    when it is freed. Where networks are not freed in reverse order, that is one that is gone, and Ctrl-C a crash.
    """
    if sys.platform != "linux":
        yield
        return
    library, stack = ctypes.CDLL(None), _SignalStack()
    library.sigaltstack(None, ctypes.byref(stack))
    try:
        yield
    finally:
        library.sigaltstack(ctypes.byref(stack), None)
