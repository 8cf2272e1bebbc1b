"""Released checkpoints: the named tensors of a file, whatever wraps them, with what was taken off said.

Imports torch: only the files that build a network import this one, and only when they do.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from headstart.base.errors import SourceError, list_some
from headstart.sources.checkpoints import pth
from headstart.sources.checkpoints.keras_file import SUFFIXES
from headstart.sources.checkpoints.safetensors import read_safetensors

WRAPPERS = (
    "state_dict_ema", "model_ema", "ema_state_dict", "params_ema",
    "state_dict", "model_state_dict", "model_state", "model", "module", "network", "net", "params", "weights",
    "backbone", "encoder",
)  # fmt: skip
"""Under what a training program keeps the network, best first: averaged weights are those that get published."""
MAX_WRAPPERS = 3
REFUSED = {".npy": "NumPy", ".npz": "NumPy", ".pkl": "pickle", ".pickle": "pickle", ".joblib": "joblib"}
HDF5, NUMPY = b"\x89HDF\r\n\x1a\n", b"\x93NUMPY"
SAVE = "save the network's state_dict as safetensors, and name that file"


@dataclass(frozen=True)
class CheckpointTensors:
    """The tensors of a file.

    Attributes:
        tensors: by name, in the file's order.
        notes: what was taken off around them, one line each.
        ordered: whether that order is the one they were written in; safetensors sorts by name.
    """

    tensors: dict[str, Tensor]
    notes: tuple[str, ...] = ()
    ordered: bool = True


def read_checkpoint(path: Path) -> CheckpointTensors:
    """Return the named tensors of a safetensors or PyTorch file; nothing in it is run.

    Raises:
        SourceError: another format, a damaged file, code in it, or no network in it; the message says what to do.
    """
    with path.open("rb") as file:
        start = file.read(16)
    _refuse_others(path, start)
    if path.suffix == ".safetensors" or start[8:9] == b"{":
        return CheckpointTensors(read_safetensors(path), ordered=False)
    return unwrap(pth.read(path), where=str(path))


def is_keras(path: Path) -> bool:
    """Return whether a file is one of Keras, whose arrays need the layout that `keras:NAME` knows."""
    return path.suffix in SUFFIXES


def unwrap(content: Any, *, where: str) -> CheckpointTensors:
    """Return the named tensors inside what a training program saved around them.

    Raises:
        SourceError: there is no network where programs keep it.
    """
    trail: list[str] = []
    while len(trail) < MAX_WRAPPERS and isinstance(content, Mapping) and not _is_network(content):
        name = next((name for name in WRAPPERS if isinstance(content.get(name), Mapping)), None)
        if name is None:
            break
        content = content[name]
        trail.append(name)
    if not isinstance(content, Mapping) or not _is_network(content):
        raise SourceError(f"{where} must hold named tensors", _describe(content), SAVE)
    notes = (f"weights taken from {'.'.join(trail)} of the checkpoint",) if trail else ()
    return CheckpointTensors(dict(content), notes)


def _is_network(content: Mapping[Any, Any]) -> bool:
    return bool(content) and all(isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items())


def _describe(content: Any) -> str:
    if not isinstance(content, Mapping):
        return f"a {type(content).__name__}"
    odd = [f"{name} ({type(value).__name__})" for name, value in content.items() if not isinstance(value, Tensor)]
    return list_some(odd) or "nothing"


def _refuse_others(path: Path, start: bytes) -> None:
    """Raise SourceError where a file is of a format that is not read, by its name or by how it starts."""
    kind = REFUSED.get(path.suffix) or ("NumPy" if start.startswith(NUMPY) else None)
    if kind is None and start.startswith(pth.ZIP) and _holds_arrays(path):
        kind = "NumPy"
    if kind is not None:
        raise SourceError(
            f"{path} must be safetensors, PyTorch or Keras weights", f"a {kind} file, which is not read", SAVE
        )
    if is_keras(path) or start.startswith(HDF5):
        raise SourceError(
            f"{path} holds Keras weights, which fit a keras: architecture", "another one", "name it: --arch keras:NAME"
        )


def _holds_arrays(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(".npy") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError):
        return False  # whatever it is, the reader of its format refuses it by name
