"""Keras files as arrays: read through h5py from memory, with nothing in them run and nothing outside them opened.

`load_model` is never used: the configuration in a Keras file is a program. Here it is only looked at, to refuse a
file whose network needs code (a Lambda layer).
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.errors import SourceError

MAX_BYTES = 8 << 30
"""Of a file, and of the weights inside a `.keras` archive."""
MAX_CONFIG = 64 << 20
MOST_PACKED = 4  # Keras stores weights unpacked, and real ones do not shrink to a quarter
MAX_ARRAYS = 100_000
MAX_DEPTH = 32
INNER, CONFIG = "model.weights.h5", "config.json"
REMEDY = "get the file again from where it came from"
OPTIMISERS = ("optimizer", "optimizer_weights", "_optimizer")


def read_arrays(path: Path) -> dict[str, NDArray[np.generic]]:
    """Return the arrays of a `.keras`, `.weights.h5` or `.h5` file by name, in the order of the model.

    Files of Keras 3 name them by place (`layers/conv2d/vars/0`), older ones `LAYER/WEIGHT`. An optimiser's state is
    left out.

    Raises:
        SourceError: the file is damaged or too large, needs a Lambda layer, or reaches outside itself.
    """
    import h5py

    if not path.is_file():
        raise SourceError(f"{path} must be a Keras file", "no such file", "name one that exists")
    if path.stat().st_size > MAX_BYTES:
        raise _unsound(path, f"{path.stat().st_size:,} bytes, more than {MAX_BYTES:,}")
    packed = _unpacked(path) if zipfile.is_zipfile(path) else None
    size = path.stat().st_size if packed is None else len(packed)
    try:
        with h5py.File(path if packed is None else io.BytesIO(packed), "r") as file:
            _check_links(file, path)
            _check_code(_text(file.attrs.get("model_config", "")), path)
            found = _read(file.get("model_weights", file), path, size)
    except SourceError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise _unsound(path, str(error).partition("\n")[0] or type(error).__name__) from error
    if not found:
        raise _unsound(path, "no arrays")
    return found


def _unsound(path: Path, given: str) -> SourceError:
    return SourceError(f"{path} must be a sound Keras weights file", given, REMEDY)


def _unpacked(path: Path) -> bytes:
    """Return the weights inside a `.keras` archive, once its configuration is seen to need no code."""
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {member.filename: member.file_size for member in archive.infolist()}
            if INNER not in sizes:
                raise _unsound(path, f"no {INNER} inside")
            most = min(MAX_BYTES, MOST_PACKED * path.stat().st_size)
            if sizes.get(CONFIG, 0) > MAX_CONFIG or sizes[INNER] > most:
                raise _unsound(path, f"a {INNER} of {sizes[INNER]:,} bytes in an archive of {path.stat().st_size:,}")
            if CONFIG in sizes:
                _check_code(archive.read(CONFIG).decode(), path)
            with archive.open(INNER) as member:
                data = member.read(sizes[INNER] + 1)
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError, EOFError, OSError) as error:
        raise _unsound(path, str(error).partition("\n")[0] or type(error).__name__) from error
    if len(data) != sizes[INNER]:
        raise _unsound(path, f"{len(data):,} bytes of {INNER}, where {sizes[INNER]:,} are declared")
    return data


def _check_code(config: str, path: Path) -> None:
    """Refuse a model whose configuration holds a Lambda layer, or code in any other place."""
    if not config:
        return
    try:
        found = next(_coded(json.loads(config)), None)
    except (ValueError, RecursionError) as error:
        raise _unsound(path, f"a configuration that is no JSON ({str(error).partition(chr(10))[0]})") from error
    if found is not None:
        raise SourceError(
            f"{path} must need no code of its own",
            f"a layer of class {found}",
            "save the weights alone (model.save_weights) of the part without it",
        )


def _coded(value: Any) -> Iterator[str]:
    """Yield what needs code in a configuration: Lambda layers, and functions stored as such."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            kind = part.get("class_name")
            if kind in ("Lambda", "__lambda__", "TFOpLambda", "SlicingOpLambda"):
                yield str(kind)
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)


def _check_links(group: Any, path: Path) -> None:
    """Refuse links of any kind but the plain one: they reach outside the file, or round in circles."""
    import h5py

    waiting, seen, arrays = [(group, 0)], {h5py.h5o.get_info(group.id).addr}, 0
    while waiting:
        at, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise _unsound(path, f"groups nested more than {MAX_DEPTH} deep")
        for name in at:
            if not isinstance(at.get(name, getlink=True), h5py.HardLink):
                raise _unsound(path, f"the link {name!r}, which is not a plain one")
            item = at[name]
            mark = h5py.h5o.get_info(item.id).addr
            if mark in seen:
                raise _unsound(path, f"{name!r}, which is there twice")
            seen.add(mark)
            arrays += 1
            if arrays > MAX_ARRAYS:
                raise _unsound(path, f"more than {MAX_ARRAYS:,} groups and arrays")
            if isinstance(item, h5py.Group):
                waiting.append((item, depth + 1))


def _listed(group: Any, name: str) -> list[str] | None:
    """Return a list of texts among the attributes, None for none; a long one is split into numbered parts."""
    if name in group.attrs:
        return [_text(value) for value in group.attrs[name]]
    if f"{name}0" not in group.attrs:
        return None
    found, part = [], 0
    while f"{name}{part}" in group.attrs:
        found += [_text(value) for value in group.attrs[f"{name}{part}"]]
        part += 1
    return found


def _arrays(root: Any) -> Iterator[tuple[str, Any]]:
    """Yield name and dataset of every array of the network, in the order of the model where the file keeps one."""
    import h5py

    layers = _listed(root, "layer_names")
    if layers is not None:
        for layer in layers:
            for weight in _listed(root[layer], "weight_names") or ():
                yield f"{layer}/{weight}", root[layer][weight]
        return
    waiting = [(name, root[name]) for name in root if name not in OPTIMISERS]
    while waiting:
        name, item = waiting.pop(0)
        if isinstance(item, h5py.Group):
            waiting[:0] = [(f"{name}/{inner}", item[inner]) for inner in item]
        else:
            yield name, item


def _read(root: Any, path: Path, size: int) -> dict[str, NDArray[np.generic]]:
    """Return every array; together they may not be larger than the file, of `size` bytes, that they lie in."""
    import h5py

    found: dict[str, NDArray[np.generic]] = {}
    left = size
    for name, item in _arrays(root):
        if not isinstance(item, h5py.Dataset) or item.dtype.kind not in "fiub":
            raise _unsound(path, f"{name!r}, which is no array of numbers")
        if item.is_virtual or item.external:
            raise _unsound(path, f"{name!r}, whose numbers lie in another file")
        wanted = prod(item.shape) * item.dtype.itemsize
        left -= wanted
        if left < 0 or item.id.get_storage_size() < wanted:
            raise _unsound(path, f"{name!r} of shape {item.shape}, more numbers than the file holds")
        found[name] = np.asarray(item[()])
    return found


def _text(value: Any) -> str:
    return value.decode("utf-8", "strict") if isinstance(value, bytes) else str(value)
