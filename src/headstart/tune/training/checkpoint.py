"""Checkpoints: one safetensors file each, there whole or not at all, and proved sound before it is used.

The header's metadata hold a sha256 and the state as JSON; the former is over the latter and over the name, dtype, shape
and bytes of every tensor. Which checkpoint is the newest follows from the step in its name, never from a clock.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from headstart.base.disk import sweep, write_atomic
from headstart.base.errors import SourceError, UsageError, one_line
from headstart.base.hashing import sha256, sha256_json
from headstart.sources.checkpoints.safetensors import MAX_HEADER_BYTES, UnsoundFile, check_safetensors

Value = TypeVar("Value")
DTYPES = frozenset(np.dtype(kind) for kind in ("float32", "float64", "int64", "uint8", "bool"))
NAME = re.compile(r"step-(\d{9,})\.safetensors")
METADATA = "headstart"
ABSENT = "not given"


@dataclass(frozen=True)
class Checkpoint:
    """All that a run needs to go on as if it had never stopped; `tensors` are weights and the optimizer's moments."""

    step: int  # optimizer steps done
    tensors: Mapping[str, NDArray[Any]]  # at least one, of a dtype among `DTYPES`
    state: dict[str, Any]  # everything else as plain JSON values: text as keys, finite numbers


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Write `checkpoint` into `folder`, whole or not at all; then remove all but it and the one before it.

    Those of later steps go too: the run that goes on from here writes them again.

    Raises:
        UsageError: the disk is full or cannot be written, or a folder is in the way; the checkpoints there are intact.
        ValueError: no tensor, one of another dtype, or a state that is no plain JSON or longer than a header may be.
    """
    data = _packed(checkpoint)
    path = folder / f"step-{checkpoint.step:09d}.safetensors"
    if path.is_dir():
        raise UsageError(f"{path} must be free for a checkpoint", "a folder", "remove it, and resume")
    sweep(folder)
    write_atomic(path, data)
    files = [(step, file) for step, file in _found(folder) if file.is_file() and step != checkpoint.step]
    before = max((step for step, _ in files if step < checkpoint.step), default=None)
    for step, file in files:
        if step != before:
            _remove(file)


def newest(folder: Path, say: Callable[[str], None]) -> Checkpoint | None:
    """Return the sound checkpoint of the latest step, or None where there is none.

    A damaged one is reported to `say`, removed so that it takes no sound one's place, and the one before it is tried.
    """
    sweep(folder)
    for step, path in reversed(_found(folder)):
        try:
            return _read(path, step)
        except UnsoundFile as error:
            _remove(path)
            reason: object = error
        except OSError as error:
            reason = error.strerror or error
        say(f"The checkpoint {path} cannot be used ({one_line(reason)}); trying the one before it")
    return None


def check_same(saved: Mapping[str, Any], current: Mapping[str, Any]) -> None:
    """Raise UsageError, with their `differences`, unless the arguments of a run are those that were saved."""
    if changed := differences(saved, current):
        raise UsageError(
            "--resume goes on with the same data and arguments",
            "; ".join(changed),
            "give them as they were, or start anew in another folder",
        )


def differences(saved: Mapping[str, Any], current: Mapping[str, Any]) -> list[str]:
    """Return a line for each argument that is not what it was, as JSON has them: `seed: 0 then, 1 now`."""
    now = json.loads(json.dumps(current))
    names = [*saved, *(name for name in now if name not in saved)]
    return [
        f"{name}: {one_line(saved.get(name, ABSENT))} then, {one_line(now.get(name, ABSENT))} now"
        for name in names
        if name not in saved or name not in now or saved[name] != now[name]
    ]


def storable(value: Any) -> Any:
    """Return plain values with None where a number is NaN, which JSON does not have."""
    if isinstance(value, dict):
        return {str(key): storable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [storable(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _packed(checkpoint: Checkpoint) -> bytes:
    from safetensors.numpy import save as packed

    # Not ascontiguousarray, which makes a vector of a scalar.
    tensors = {name: np.asarray(tensor, order="C") for name, tensor in checkpoint.tensors.items()}
    if not tensors:
        raise ValueError("a checkpoint without tensors")
    for name, tensor in tensors.items():
        if tensor.dtype not in DTYPES:
            raise ValueError(f"tensor {name!r} of dtype {tensor.dtype}, which a checkpoint does not hold")
    content = json.dumps({"step": checkpoint.step, "state": checkpoint.state}, allow_nan=False)
    # One entry only: the order of several differs from process to process.
    data = packed(tensors, metadata={METADATA: f"{_digest(content, tensors)} {content}"})
    if int.from_bytes(data[:8], "little") > MAX_HEADER_BYTES:
        raise ValueError(f"a state of {len(content):,} bytes, more than a checkpoint holds")
    return data


def _read(path: Path, step: int) -> Checkpoint:
    """Return the checkpoint in a file, every byte of it vouched for; UnsoundFile where it is not what `save` wrote."""
    from safetensors import SafetensorError, safe_open

    _check(path)
    try:
        with safe_open(path, framework="np") as file:
            digest, _, content = (file.metadata() or {}).get(METADATA, "").partition(" ")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, KeyError, ValueError) as error:
        raise UnsoundFile(str(error).partition("\n")[0]) from error
    if digest != _digest(content, tensors):
        raise UnsoundFile("its bytes are not those that were written")
    return Checkpoint(step, tensors, _state(content, step))


def _state(content: str, step: int) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UnsoundFile(f"a state that is no JSON ({error})") from error
    if not isinstance(value, dict) or value.get("step") != step or not isinstance(value.get("state"), dict):
        raise UnsoundFile(f"its content is not that of step {step}")
    state: dict[str, Any] = value["state"]
    return state


def _check(path: Path) -> None:
    """Prove that the header is of bounded length and accounts for every byte of the file, before it is opened."""
    if not path.is_file():
        raise OSError(f"{path} is no file")
    try:
        check_safetensors(path)
    except SourceError as error:
        raise error.__cause__ if isinstance(error.__cause__, OSError) else UnsoundFile(error.received) from error


def _digest(content: str, tensors: Mapping[str, NDArray[Any]]) -> str:
    parts = [(name, array.dtype.name, array.shape, sha256(array.data)) for name, array in sorted(tensors.items())]
    return sha256_json([sha256(content.encode()), parts])


def _found(folder: Path) -> list[tuple[int, Path]]:
    """Return what is named like a checkpoint in `folder`, with its step, earliest first."""
    if not folder.is_dir():
        return []
    named = ((NAME.fullmatch(path.name), path) for path in folder.iterdir())
    return sorted((int(match[1]), path) for match, path in named if match)


def _remove(path: Path) -> None:
    with suppress(OSError):  # a folder in a file's place, or vanished: tidying fails nothing
        path.unlink()


def under(prefix: str, tensors: Mapping[str, Value]) -> dict[str, Value]:
    """Return those of some named values whose name begins with a prefix, by what follows it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def with_nan(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state of a run with NaN again where its history has nothing, as JSON has no NaN."""
    history = [
        {name: math.nan if value is None else value for name, value in epoch.items()} for epoch in run["history"]
    ]
    return {**run, "history": history}
