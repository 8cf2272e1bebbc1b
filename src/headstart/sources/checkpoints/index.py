"""Which files a checkpoint is made of: one, or the parts that an index lists (`model.safetensors.index.json`)."""

from __future__ import annotations

from pathlib import Path, PurePath

from headstart.base.errors import SourceError, list_some, refusing
from headstart.base.hashing import foreign_json
from headstart.sources.checkpoints.safetensors import MAX_HEADER_BYTES, MAX_TENSORS, MAX_VALUES, UnsoundFile

INDEX = ".index.json"
SUFFIXES = (".safetensors", ".bin", ".pth", ".pt", ".ckpt")
"""Of files of weights; a folder may hold the same ones twice, and the first kind is taken."""
AGAIN = "get the files again from where they came from"


def find_weights(folder: Path) -> Path:
    """Return the weights in a folder: its index, or its only file of weights. SourceError: there are none, or several.

    Where there are files of several kinds, those of the safer one are meant.
    """
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    for suffix in SUFFIXES:
        indices = [name for name in names if name.endswith(f"{suffix}{INDEX}")]
        weights = indices or [name for name in names if name.endswith(suffix)]
        if len(weights) == 1:
            return folder / weights[0]
        if weights:
            raise SourceError(
                f"{folder} must hold one file of weights, or the index of one network in parts",
                list_some(weights, 8),
                f"name the one that you mean, such as file:{folder / weights[0]}",
            )
    raise SourceError(f"{folder} must hold weights", list_some(names) or "nothing", f"name one with {SUFFIXES[0]}")


def files_of(path: Path) -> list[Path]:
    """Return a checkpoint, and behind the index of a network in parts these parts. SourceError: one is missing."""
    if not path.name.endswith(INDEX):
        return [path]
    parts = [path.with_name(name) for name in dict.fromkeys(read_index(path).values())]
    if absent := [part for part in parts if not part.is_file()]:
        names = f"{len(absent)} of {len(parts)} missing: {list_some(part.name for part in absent)}"
        raise SourceError(f"every part that {path} names must lie beside it", names, "fetch them into that folder")
    return [path, *parts]


def read_index(path: Path) -> dict[str, str]:
    """Return the name of the part in which each tensor lies."""
    with refusing(lambda reason: SourceError(f"{path} must be the index of a network in parts", reason, AGAIN)):
        if path.stat().st_size > MAX_HEADER_BYTES:
            raise UnsoundFile(f"more than {MAX_HEADER_BYTES:,} bytes")
        content = foreign_json(path.read_bytes(), most=MAX_VALUES)
        places = content.get("weight_map") if isinstance(content, dict) else None
        if not isinstance(places, dict) or not places or len(places) > MAX_TENSORS:
            raise UnsoundFile("no weight_map of names and parts")
        if odd := [name for name in places.values() if not isinstance(name, str) or PurePath(name).name != name]:
            raise UnsoundFile(f"the part {odd[0]!r}, which is not beside it")
        return places
