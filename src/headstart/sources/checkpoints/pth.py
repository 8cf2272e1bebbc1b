"""PyTorch checkpoints: the archive is checked before torch reads it, and torch reads it without running anything.

Imports torch only when a file is read.
"""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO

from headstart.base.errors import SourceError
from headstart.sources.checkpoints.safetensors import UnsoundFile

ZIP = b"PK\x03\x04"
LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""How torch's older form starts: the pickle of its magic number."""
LOCAL_HEADER = 30
REMEDY = "get the file again from where it came from"
CONVERT = "load it where you trust its author, and save its state_dict as safetensors"


def read(path: Path) -> Any:
    """Return what a PyTorch checkpoint holds: tensors, plain values, lists and mappings of these.

    Nothing in the file is run: torch reads it with `weights_only`, and what that refuses is refused here.

    Raises:
        SourceError: the file is damaged, its archive is not what it says, or it holds code or objects.
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
    import torch

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
