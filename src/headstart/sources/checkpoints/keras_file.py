"""Keras files as arrays: read through h5py from memory, with nothing in them run and nothing outside them opened.

`load_model` is never used: the configuration in a Keras file is a program. Here it is only looked at, to refuse a
file whose network needs code (a Lambda layer).
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import count, takewhile
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.errors import SourceError, list_some

SUFFIXES = (".keras", ".h5", ".hdf5")
MAX_FILE_BYTES = 8 << 30
"""Of a file, and of the weights inside a `.keras` archive."""
MAX_CONFIG_BYTES = 64 << 20
MAX_PACKING = 4  # Keras stores weights unpacked, and real ones do not shrink to a quarter
MAX_ARRAYS = 100_000
MAX_DEPTH = 32
INNER, CONFIG = "model.weights.h5", "config.json"
OPTIMISERS = ("optimizer", "optimizer_weights", "_optimizer")
CODE_LAYERS = ("Lambda", "__lambda__", "TFOpLambda", "SlicingOpLambda")
FAULTS = (zipfile.BadZipFile, EOFError, OSError, RuntimeError, LookupError, ValueError, TypeError, AttributeError)
"""What zipfile and h5py raise; the last where a group is in the place of an array, or the other way round."""
Arrays = dict[str, NDArray[np.generic]]


def read_arrays(path: Path) -> Arrays:
    """Return the arrays of a `.keras`, `.weights.h5` or `.h5` file by name, in the order of the model.

    Files of Keras 3 name them by place (`layers/conv2d/vars/0`), older ones `LAYER/WEIGHT`. An optimiser's state is
    left out. SourceError: the file is damaged or too large, needs a Lambda layer, or reaches outside itself.
    """
    import h5py

    if not path.is_file():
        raise SourceError(f"{path} must be a Keras file", "no such file", "name one that exists")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise _unsound(path, f"{path.stat().st_size:,} bytes, more than {MAX_FILE_BYTES:,}")
    try:
        packed = _unpacked(path) if zipfile.is_zipfile(path) else None
        size = path.stat().st_size if packed is None else len(packed)
        with h5py.File(path if packed is None else io.BytesIO(packed), "r") as file:
            _check_links(file, path)
            _check_code(_text(file.attrs.get("model_config", "")), path)
            arrays = _read(file.get("model_weights", file), path, size)
    except SourceError:
        raise
    except FAULTS as error:
        raise _unsound(path, str(error).partition("\n")[0] or type(error).__name__) from error
    if not arrays:
        raise _unsound(path, "no arrays")
    return arrays


def match_arrays(
    arrays: Arrays, shapes: Mapping[str, tuple[int, ...]], paths: Mapping[str, str], *, where: str
) -> dict[str, str]:
    """Return which array of the file `where` is which of a network's, by place and in the order of the network.

    Files of Keras 3 name arrays by place, and are matched by it; the network may itself be a layer of the model that
    was saved, whatever the file. Older files name arrays by layer and weight, as `paths` do for the network's places,
    and are matched by that; where Keras drew names itself, by order and shape. What is not the network's is left.
    SourceError: an array is missing or of another shape.
    """
    names = _by_names(arrays, shapes, paths) or dict(zip(shapes, [*arrays, *[""] * len(shapes)], strict=False))
    if any("/vars/" in name for name in arrays):
        first = next(iter(shapes))
        folders = [name.removesuffix(first) for name in arrays if name == first or name.endswith(f"/{first}")] or [""]
        folder = max(folders, key=lambda folder: sum(f"{folder}{place}" in arrays for place in shapes))
        names = {place: f"{folder}{place}" for place in shapes}
    wrong = [
        f"{place} {shape}, found {arrays[names[place]].shape if names[place] in arrays else 'nothing'}"
        for place, shape in shapes.items()
        if names[place] not in arrays or arrays[names[place]].shape != shape
    ]
    if wrong:
        raise SourceError(
            f"{where} must hold the {len(shapes)} arrays of the architecture",
            f"{len(wrong)} that do not fit: {list_some(wrong, separator='; ')}",
            "name the architecture that the file belongs to",
        )
    return names


def _by_names(arrays: Arrays, shapes: Mapping[str, tuple[int, ...]], paths: Mapping[str, str]) -> dict[str, str] | None:
    """Return the match of `LAYER/WEIGHT` with the arrays of the whole file, or of one layer of it that is a network.

    Of layers that Keras numbered itself (`conv2d_7`), which numbers go on from run to run, those of one kind are taken
    by rising numbers. None: an array is absent, or of another shape.
    """
    folders = dict.fromkeys(["", *(f"{name.partition('/')[0]}/" for name in arrays)])
    for simplify in (_exact, _ranked):
        expected = dict(zip(simplify(paths.values()), paths, strict=True))
        for folder in folders:
            inside = [name for name in arrays if name.startswith(folder)]
            stored = dict(zip(simplify(inside), inside, strict=True))
            names = {expected[key]: name for key, name in stored.items() if key in expected}
            if len(names) == len(shapes) and all(arrays[names[place]].shape == shapes[place] for place in shapes):
                return {place: names[place] for place in shapes}
    return None


def _exact(paths: Iterable[str]) -> list[tuple[str, int, str]]:
    """Return the layer and the weight of each path, which ends in them."""
    pairs = ([*path.split("/")[-2:], ""][:2] for path in paths)
    return [(layer, 0, weight.partition(":")[0]) for layer, weight in pairs]


def _ranked(paths: Iterable[str]) -> list[tuple[str, int, str]]:
    """Return the same, with the number of a layer as its rank among those of its kind."""
    exact = _exact(paths)
    layers = {layer: re.fullmatch(r"(.*?)(?:_(\d+))?", layer, re.DOTALL) for layer, _, _ in exact}
    numbered: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
    for layer, parts in layers.items():
        numbered[parts[1] if parts else layer].append((int((parts and parts[2]) or 0), layer))
    ranks = {layer: (kind, at) for kind, row in numbered.items() for at, (_, layer) in enumerate(sorted(row))}
    return [(*ranks[layer], weight) for layer, _, weight in exact]


def _unsound(path: Path, problem: str) -> SourceError:
    return SourceError(
        f"{path} must be a sound Keras weights file", problem, "get the file again from where it came from"
    )


def _unpacked(path: Path) -> bytes:
    """Return the weights inside a `.keras` archive, once its configuration is seen to need no code."""
    with zipfile.ZipFile(path) as archive:
        sizes = {member.filename: member.file_size for member in archive.infolist()}
        if INNER not in sizes:
            raise _unsound(path, f"no {INNER} inside")
        largest = min(MAX_FILE_BYTES, MAX_PACKING * path.stat().st_size)
        if sizes.get(CONFIG, 0) > MAX_CONFIG_BYTES or sizes[INNER] > largest:
            raise _unsound(path, f"a {INNER} of {sizes[INNER]:,} bytes in an archive of {path.stat().st_size:,}")
        if CONFIG in sizes:
            _check_code(archive.read(CONFIG).decode(), path)
        with archive.open(INNER) as member:
            data = member.read(sizes[INNER] + 1)
    if len(data) != sizes[INNER]:
        raise _unsound(path, f"{len(data):,} bytes of {INNER}, where {sizes[INNER]:,} are declared")
    return data


def _check_code(config: str, path: Path) -> None:
    """Refuse a model whose configuration holds a Lambda layer, or code in any other place."""
    if not config:
        return
    try:
        waiting: list[Any] = [json.loads(config)]
    except (ValueError, RecursionError) as error:
        raise _unsound(path, f"a configuration that is no JSON ({str(error).partition(chr(10))[0]})") from error
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            if part.get("class_name") in CODE_LAYERS:
                raise SourceError(
                    f"{path} must need no code of its own",
                    f"a layer of class {part['class_name']}",
                    "save the weights alone (model.save_weights) of the part without it",
                )
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)


def _check_links(file: Any, path: Path) -> None:
    """Refuse links of any kind but the plain one: they reach outside the file, or round in circles."""
    import h5py

    waiting, seen = [(file, 0)], {h5py.h5o.get_info(file.id).addr}
    while waiting:
        group, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise _unsound(path, f"groups nested more than {MAX_DEPTH} deep")
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise _unsound(path, f"the link {name!r}, which is not a plain one")
            address = h5py.h5o.get_info(group[name].id).addr
            if address in seen:
                raise _unsound(path, f"{name!r}, which is there twice")
            seen.add(address)
            if len(seen) > MAX_ARRAYS:
                raise _unsound(path, f"more than {MAX_ARRAYS:,} groups and arrays")
            if isinstance(group[name], h5py.Group):
                waiting.append((group[name], depth + 1))


def _listed(group: Any, name: str) -> list[str] | None:
    """Return a list of texts among the attributes, None for none; a long one is split into numbered parts."""
    numbered = takewhile(group.attrs.__contains__, (f"{name}{number}" for number in count()))
    parts = [name] if name in group.attrs else list(numbered)
    return [_text(value) for part in parts for value in group.attrs[part]] if parts else None


def _datasets(root: Any) -> Iterator[tuple[str, Any]]:
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


def _read(root: Any, path: Path, size: int) -> Arrays:
    """Return every array; together they may not be larger than the file, of `size` bytes, that they lie in."""
    import h5py

    arrays: Arrays = {}
    left = size
    for name, item in _datasets(root):
        if not isinstance(item, h5py.Dataset) or item.dtype.kind not in "fiub":
            raise _unsound(path, f"{name!r}, which is no array of numbers")
        if item.is_virtual or item.external:
            raise _unsound(path, f"{name!r}, whose numbers lie in another file")
        needed = prod(item.shape) * item.dtype.itemsize
        left -= needed
        if left < 0 or item.id.get_storage_size() < needed:
            raise _unsound(path, f"{name!r} of shape {item.shape}, more numbers than the file holds")
        arrays[name] = np.asarray(item[()])
    return arrays


def _text(value: Any) -> str:
    return value.decode("utf-8", "strict") if isinstance(value, bytes) else str(value)
