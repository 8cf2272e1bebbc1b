"""Released checkpoints: the named tensors of a file, whatever wraps them, with what was taken off said.

The archive of a PyTorch checkpoint is checked before torch reads it, and torch reads it without running anything.
Imports torch.
"""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from headstart.base.errors import SourceError, list_some
from headstart.sources.checkpoints.keras_file import SUFFIXES
from headstart.sources.checkpoints.safetensors import UnsoundFile, read_safetensors

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

ZIP = b"PK\x03\x04"
LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""How torch's older form starts: the pickle of its magic number."""
LOCAL_HEADER = 30
REMEDY = "get the file again from where it came from"
CONVERT = "load it where you trust its author, and save its state_dict as safetensors"


@dataclass(frozen=True)
class CheckpointTensors:
    """The tensors of a file by name, in its order."""

    tensors: dict[str, Tensor]
    notes: tuple[str, ...] = ()  # what was taken off around them, one line each
    ordered: bool = True  # whether that order is the one they were written in; safetensors sorts by name


def read_checkpoint(path: Path) -> CheckpointTensors:
    """Return the named tensors of a safetensors or PyTorch file; nothing in it is run.

    SourceError: another format, a damaged file, code in it, or no network in it; the message says what to do.
    """
    with path.open("rb") as file:
        start = file.read(16)
    _refuse_others(path, start)
    if path.suffix == ".safetensors" or start[8:9] == b"{":
        return CheckpointTensors(read_safetensors(path), ordered=False)
    return unwrap(read_pth(path), where=str(path))


def read_repository(paths: Sequence[Path]) -> dict[str, Tensor]:
    """Return the tensors of a repository's safetensors files, or of its one PyTorch file.

    SourceError: a file is damaged, or holds anything but named tensors of finite numbers; nothing in it is run.
    """
    first = paths[0]
    if first.suffix == ".safetensors":
        state = {name: tensor for path in paths for name, tensor in read_safetensors(path).items()}
    else:
        state = unwrap(read_pth(first), where=str(first)).tensors
    check_finite(state, where=str(first))
    return state


def unwrap(content: Any, *, where: str) -> CheckpointTensors:
    """Return the named tensors in what a training program saved around them; SourceError where there are none."""
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
    if kind is None and start.startswith(ZIP) and _holds_arrays(path):
        kind = "NumPy"
    if kind is not None:
        raise SourceError(
            f"{path} must be safetensors, PyTorch or Keras weights", f"a {kind} file, which is not read", SAVE
        )
    if path.suffix in SUFFIXES or start.startswith(HDF5):
        raise SourceError(
            f"{path} holds Keras weights, which fit a keras: architecture", "another one", "name it: --arch keras:NAME"
        )


def _holds_arrays(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(".npy") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError):
        return False  # whatever it is, the reader of its format refuses it by name


def check_finite(state: Mapping[str, Tensor], *, where: str) -> None:
    """Raise SourceError, naming the first three, where a tensor holds NaN or an infinity."""
    broken = [name for name, tensor in state.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if broken:
        raise SourceError(
            f"{where} must hold finite numbers only",
            f"NaN or infinity in {list_some(broken)}",
            "get the weights again from where they came from",
        )


def read_pth(path: Path) -> Any:
    """Return what a PyTorch checkpoint holds: tensors, plain values, lists and mappings of these.

    Nothing in the file is run: torch reads it with `weights_only`, and what that refuses is refused here. SourceError:
    the file is damaged, its archive is not what it says, or it holds code or objects.
    """
    try:
        with path.open("rb") as file:
            start = file.read(len(LEGACY))
            if start.startswith(ZIP):
                check_archive(file)
            elif start != LEGACY:
                raise UnsoundFile(f"{_kind(start)}, neither a PyTorch archive nor its older form")
    except (OSError, UnsoundFile) as error:
        raise SourceError(f"{path} must be a sound PyTorch checkpoint", error, REMEDY) from error
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Detected pickle protocol", category=UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError, ValueError, LookupError, TypeError) as error:
        raise _refusal(path, error) from error


def _kind(start: bytes) -> str:
    return "a pickle of something else" if start.startswith(b"\x80") else f"a file that starts with {start[:4]!r}"


def check_archive(file: BinaryIO) -> None:
    """Raise UnsoundFile unless the zip archive of a checkpoint is whole, plain, and reads the same from both its ends.

    Members are stored uncompressed and in one folder, the directory and the members' own headers name the same
    things, and every checksum holds: otherwise two programs can read two different checkpoints from one file.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            names = [member.filename for member in members]
            if len(set(names)) != len(names):
                raise UnsoundFile("a zip archive that lists a name twice")
            if "data.pkl" not in {name.rpartition("/")[2] for name in names}:
                raise UnsoundFile("a zip archive without data.pkl")
            for member in members:
                _check_member(member, file)
            damaged = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OverflowError) as error:
        raise UnsoundFile(f"a damaged zip archive ({error})") from error
    if damaged is not None:
        raise UnsoundFile(f"a zip archive whose member {damaged!r} fails its checksum")


def _check_member(member: zipfile.ZipInfo, file: BinaryIO) -> None:
    name = member.filename
    parts = name.split("/")
    if ".." in parts or not parts[0] or "\\" in name or ":" in parts[0] or member.is_dir():
        raise UnsoundFile(f"a zip archive with the odd member {name!r}")
    if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
        raise UnsoundFile(f"a zip archive whose member {name!r} is compressed, which torch never writes")
    if member.flag_bits & 0x1:
        raise UnsoundFile(f"a zip archive whose member {name!r} is encrypted")
    if member.external_attr >> 28 == 0xA:
        raise UnsoundFile(f"a zip archive whose member {name!r} is a link")
    file.seek(member.header_offset)
    header = file.read(LOCAL_HEADER)
    own_name = file.read(int.from_bytes(header[26:28], "little"))
    if header[:4] != ZIP or own_name != member.orig_filename.encode("utf-8" if member.flag_bits & 0x800 else "cp437"):
        raise UnsoundFile(f"a zip archive whose directory and member disagree about {name!r}")


def _refusal(path: Path, error: Exception) -> SourceError:
    message = str(error)
    code = re.search(r"GLOBAL ([\w.]+)", message)
    if code is not None:
        return SourceError(
            f"{path} must hold tensors and nothing that runs",
            f"{code[1]}, which could run code; nothing was run",
            f"get it as safetensors, or {CONVERT}",
        )
    if "TorchScript" in message:
        return SourceError(f"{path} must hold tensors and nothing that runs", "a TorchScript program", CONVERT)
    first = message.rpartition("WeightsUnpickler error:")[2].strip().partition("\n")[0]
    return SourceError(f"{path} must be a sound PyTorch checkpoint", first or type(error).__name__, REMEDY)
