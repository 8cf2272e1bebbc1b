"""Released checkpoints: the named tensors of a file, whatever wraps them, with what was taken off said.

The archive of a PyTorch checkpoint is checked before it is read, and nothing in it is run.
Imports torch.
"""

from __future__ import annotations

import pickletools
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from headstart.base.errors import SourceError, list_some, refusing
from headstart.sources.checkpoints.keras_file import SUFFIXES
from headstart.sources.checkpoints.pickled import Record, Stored
from headstart.sources.checkpoints.safetensors import (
    MAX_NAME,
    MAX_TENSORS,
    UnsoundFile,
    check_safetensors,
    read_safetensors,
)  # fmt: skip
from headstart.sources.checkpoints.storages import LOCAL_HEADER, fetch, read_archive, read_older

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
MAX_DIRECTORY_BYTES = 100 * MAX_TENSORS
"""Of the list of members of an archive."""
MAX_PICKLE_BYTES = 1 << 19
"""Of the pickle that says which tensor lies where: some 5,000 tensors; in a large file it may be 1 % of the bytes."""
MAX_STEPS = 100_000
"""Of that pickle, each a step of Python for torch: some 2,700 tensors; in a large file one for each 256 bytes of it."""
MAX_READS = 1 << 18
"""How often the reader of torch's older form may turn to the file: once or twice for each step of its pickles."""
REMEDY = "get the file again from where it came from"
CONVERT = "load it where you trust its author, and save its state_dict as safetensors"


@dataclass(frozen=True)
class CheckpointTensors:
    """The tensors of a file by name, in its order."""

    tensors: dict[str, Tensor]
    notes: tuple[str, ...] = ()  # what was taken off around them, one line each
    ordered: bool = True  # whether that order is the one they were written in; safetensors sorts by name
    prefix: str = ""  # what stood before every name


@dataclass(frozen=True)
class Contents:
    """What a checkpoint holds, before its numbers are read: containers with a `Stored` for each tensor."""

    tree: Any
    fetch: Callable[[Mapping[str, Stored]], dict[str, Tensor]]  # reads the tensors that are asked for, by any names
    ordered: bool = True


def read_checkpoint(path: Path) -> CheckpointTensors:
    """Return the named tensors of a safetensors or PyTorch file, as `unwrap` finds them; nothing in it is run.

    SourceError: another format, a damaged file, code in it, or no network in it; the message says what to do.
    """
    contents = read_file(path)
    stored, notes = unwrap(contents.tree, where=str(path))
    return CheckpointTensors(contents.fetch(stored), notes, contents.ordered)


def read_file(path: Path) -> Contents:
    """Return what a safetensors or PyTorch file holds; nothing in it is run.

    SourceError: another format, a damaged file, or code in it.
    """
    with path.open("rb") as file:
        start = file.read(16)
    _refuse_others(path, start)
    if path.suffix == ".safetensors" or start[8:9] == b"{":
        return _read_safetensors(path)
    return read_pth(path)


def _read_safetensors(path: Path) -> Contents:
    names = check_safetensors(path)
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        parts = {name: file.get_slice(name) for name in names}
        tree = {
            name: Stored(tuple(part.get_shape()), "float" if "F" in part.get_dtype() else "whole", (path, name))
            for name, part in parts.items()
        }
    return Contents(tree, partial(_fetch_safetensors, path), ordered=False)


def _fetch_safetensors(path: Path, stored: Mapping[str, Stored]) -> dict[str, Tensor]:
    from safetensors import safe_open

    with (
        refusing(lambda reason: SourceError(f"{path} must be a sound safetensors file", reason, REMEDY)),
        safe_open(path, "pt") as file,
    ):
        return {name: file.get_tensor(entry.place[1]) for name, entry in stored.items()}


def read_repository(paths: Sequence[Path]) -> dict[str, Tensor]:
    """Return the tensors of a repository's safetensors files, or of its one PyTorch file.

    SourceError: a file is damaged, or holds anything but named tensors of finite numbers; nothing in it is run.
    """
    first = paths[0]
    if first.suffix == ".safetensors":
        state = {name: tensor for path in paths for name, tensor in read_safetensors(path).items()}
    else:
        state = read_checkpoint(first).tensors
    check_finite(state, where=str(first))
    return state


def unwrap(content: Any, *, where: str) -> tuple[dict[str, Stored], tuple[str, ...]]:
    """Return the named tensors in what a training program saved around them, and what was taken off, said.

    Records beside them are left out. SourceError: there are no named tensors, or something else among them.
    """
    trail: list[str] = []
    while len(trail) < MAX_WRAPPERS and isinstance(content, Mapping) and not _network(content):
        name = next((name for name in WRAPPERS if isinstance(content.get(name), Mapping)), None)
        if name is None:
            break
        content = content[name]
        trail.append(name)
    if not isinstance(content, Mapping) or not _network(content):
        whole = next((part for part in (content, *_values(content)) if isinstance(part, Record)), None)
        if whole is not None and not whole:
            raise SourceError(
                f"{where} must hold tensors and nothing that runs",
                f"{whole.kind}, which could run code; nothing was run",
                f"get it as safetensors, or {CONVERT}",
            )
        raise SourceError(f"{where} must hold named tensors", _describe(content), SAVE)
    notes = (f"weights taken from {'.'.join(trail)} of the checkpoint",) if trail else ()
    return _network(content), notes


def _values(content: Any) -> tuple[Any, ...]:
    return tuple(content.values()) if isinstance(content, Mapping) else ()


def _network(content: Mapping[Any, Any]) -> dict[str, Stored]:
    """Return the tensors of a mapping that holds nothing but tensors and records; none of any other."""
    plain = all(isinstance(value, Stored) or (isinstance(value, Record) and not value) for value in content.values())
    return {name: value for name, value in content.items() if isinstance(value, Stored)} if plain else {}


def _describe(content: Any) -> str:
    if not isinstance(content, Mapping):
        return "a Tensor" if isinstance(content, Stored) else f"a {type(content).__name__}"
    odd = [f"{name} ({type(value).__name__})" for name, value in content.items() if not isinstance(value, Stored)]
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
        with path.open("rb") as file, zipfile.ZipFile(_bounded(file, MAX_DIRECTORY_BYTES)) as archive:
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


def read_pth(path: Path) -> Contents:
    """Return what a PyTorch checkpoint holds.

    Nothing in the file is run, and its records are left unread (`pickled`). SourceError: the file is damaged, its
    archive is not what it says, or it calls what could run code.
    """
    with refusing(lambda reason: _refusal(path, reason)), path.open("rb") as file:
        start = file.read(len(LEGACY))
        if start.startswith(ZIP):
            check_archive(file)
            tree, places = read_archive(file)
        elif start == LEGACY:
            size = file.seek(0, 2)
            file.seek(0)
            bounded: Any = _Bounded(file, steps=MAX_READS, most=size)
            tree, places = read_older(bounded, size)
        else:
            raise UnsoundFile(f"{_kind(start)}, neither a PyTorch archive nor its older form")

    def fetched(tensors: Mapping[str, Stored]) -> dict[str, Tensor]:
        with refusing(lambda reason: _refusal(path, reason)), path.open("rb") as file:
            return fetch(file, places, tensors, _tensor)

    return Contents(tree, fetched)


def _tensor(data: bytearray, stored: Stored) -> Tensor:
    number: torch.dtype = getattr(torch, stored.kind)
    whole = torch.frombuffer(data, dtype=torch.uint8) if data else torch.empty(0, dtype=torch.uint8)
    numbers = whole[: len(whole) // number.itemsize * number.itemsize].view(number)
    return numbers.as_strided(stored.shape, stored.strides, stored.offset)


class _Bounded:
    """A file that is read `steps` times at most, and at most `most` bytes at once; UnsoundFile beyond."""

    def __init__(self, file: BinaryIO, *, steps: int, most: int = 1 << 40) -> None:
        self._file, self._left, self._most = file, steps, most
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable
        self.readinto = file.readinto  # type: ignore[attr-defined]

    def read(self, size: int = -1) -> bytes:
        self._left -= 1
        if self._left < 0 or size > self._most:
            raise UnsoundFile("a list of more tensors than are read")
        data = self._file.read(self._most + 1 if size < 0 else size)
        if len(data) > self._most:
            raise UnsoundFile("a list of more tensors than are read")
        return data

    def readline(self) -> bytes:
        self._left -= 1
        return self._file.readline(MAX_NAME)


def _bounded(file: BinaryIO, most: int) -> Any:
    """Return a file for zipfile, which reads the whole directory of an archive at once, whatever its size."""
    return _Bounded(file, steps=1 << 40, most=most)


def _kind(start: bytes) -> str:
    return "a pickle of something else" if start.startswith(b"\x80") else f"a file that starts with {start[:4]!r}"


def check_archive(file: BinaryIO) -> None:
    """Raise UnsoundFile unless the zip archive of a checkpoint is whole, plain, and reads the same from both its ends.

    Members are stored uncompressed and in one folder, the directory and the members' own headers name the same
    things, and every checksum holds: otherwise two programs can read two different checkpoints from one file.
    """
    longest = max(MAX_PICKLE_BYTES, file.seek(0, 2) // 100)
    with zipfile.ZipFile(_bounded(file, max(MAX_DIRECTORY_BYTES, longest))) as archive:
        members = archive.infolist()
        names = [member.filename for member in members]
        if len(set(names)) != len(names):
            raise UnsoundFile("a zip archive that lists a name twice")
        if "data.pkl" not in {name.rpartition("/")[2] for name in names}:
            raise UnsoundFile("a zip archive without data.pkl")
        for member in members:
            _check_member(member, file)
        pickled = [member for member in members if member.filename.endswith(".pkl")]
        if (total := sum(member.file_size for member in pickled)) > longest:
            raise UnsoundFile(f"a data.pkl of {total:,} bytes, more than are read")
        _check_pickles([archive.read(member) for member in pickled], max(MAX_STEPS, file.seek(0, 2) // 256))
        damaged = archive.testzip()
    if damaged is not None:
        raise UnsoundFile(f"a zip archive whose member {damaged!r} fails its checksum")


def _check_pickles(pickles: Sequence[bytes], most: int) -> None:
    """Raise UnsoundFile where pickles have more steps than `most`."""
    if next(islice(chain.from_iterable(map(pickletools.genops, pickles)), most, None), None) is not None:
        raise UnsoundFile(f"a pickle of more than {most:,} steps, more than are read")


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


def _refusal(path: Path, reason: str) -> SourceError:
    code = re.search(r"GLOBAL ([\w.]+)", reason)
    if code is not None:
        return SourceError(
            f"{path} must hold tensors and nothing that runs",
            f"{code[1]}, which could run code; nothing was run",
            f"get it as safetensors, or {CONVERT}",
        )
    if "TorchScript" in reason:
        return SourceError(f"{path} must hold tensors and nothing that runs", "a TorchScript program", CONVERT)
    first = reason.partition("\n")[0]
    return SourceError(f"{path} must be a sound PyTorch checkpoint", first, REMEDY)
