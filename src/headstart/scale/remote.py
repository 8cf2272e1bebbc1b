"""Data on any path that fsspec knows, such as `s3://bucket/photos`: copied once to the cache of a machine."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from headstart.base.config import cache_dir
from headstart.base.disk import check_writable, free_bytes, process_lock
from headstart.base.errors import DataError, MissingExtra, UsageError, one_line
from headstart.base.hashing import sha256_json
from headstart.data.dataset import Dataset
from headstart.data.images.value_range import in_one_range
from headstart.data.readers.open import open_dataset, open_inputs

Result = TypeVar("Result")
IDENTITY = ("ETag", "md5", "etag", "LastModified", "created", "mtime")
"""What file systems call that of a file which changes with its content."""


def open_anywhere(data: Any, **reading: Any) -> Dataset:
    """Return the examples of data in one range of values, as `open_dataset` reads them; also of data at a URI.

    Where they are named by a path, another process can open them by what the data set says of it.
    """
    place = local_copy(data) if is_remote(data) else data
    dataset = in_one_range(open_dataset(place, **reading))
    if not isinstance(data, (str, Path)):
        return dataset
    return replace(dataset, opened={**reading, "data": data if is_remote(data) else str(Path(data).absolute())})


def open_inputs_anywhere(inputs: Sequence[str], *, ranges: Mapping[str, Any], **reading: Any) -> Dataset:
    """Return the inputs of a prediction as `open_inputs` does; another process can open them by what it says of them.

    `ranges` are those of values that the model was fitted with: see `in_one_range`.
    """
    return replace(open_inputs(inputs, **reading), opened={**reading, "inputs": list(inputs), "ranges": dict(ranges)})


def opened_again(opened: Mapping[str, Any]) -> Dataset:
    """Return the examples that another process has opened, by what its data set says in `opened`."""
    if "inputs" in opened:
        return in_one_range(open_inputs_anywhere(**opened), opened["ranges"])
    return open_anywhere(**opened)


def is_remote(data: Any) -> bool:
    """Return whether data is named by a URI such as `s3://bucket/photos`."""
    return isinstance(data, str) and "://" in data


def reached(uri: str, work: Callable[[Any, str], Result]) -> Result:
    """Return what `work` makes of the file system behind a URI and of the path on it.

    Raises:
        UsageError: there is no such file system, or it cannot be reached or read: credentials are missing, or wrong.
    """
    import fsspec  # type: ignore[import-untyped]

    try:
        return work(*fsspec.core.url_to_fs(uri))
    except ImportError as error:  # whose text names the library that fsspec needs for it
        raise MissingExtra(f"{uri} must be read by a library that is installed", error, "install it") from error
    except UsageError:
        raise
    except Exception as error:  # each file system raises errors of its own library for what it refuses
        received = one_line(f"{type(error).__name__}: {error}")
        do = "check the path and the credentials, which are those of fsspec's library for it"
        raise UsageError(f"{uri} must be readable and writable", received, do) from error


def local_copy(uri: str) -> Path:
    """Return the folder or file in the cache that holds what lies at a URI, copied unless it was before.

    Raises:
        DataError: there is nothing at it, or the disk has no room for it.
        UsageError: as `reached` does.
    """
    return reached(uri, lambda system, path: _copied(system, path, uri))


def _copied(system: Any, path: str, uri: str) -> Path:
    files = system.find(path, detail=True)
    if not files:
        raise DataError(f"{uri} must hold files", "none", "check the path")
    listing = [
        [name, entry["size"], *(str(entry[key]) for key in IDENTITY if key in entry)]
        for name, entry in sorted(files.items())
    ]
    folder = cache_dir() / "remote" / sha256_json([uri, listing])
    whole, name = folder / PurePosixPath(path).name, PurePosixPath(path).name
    with process_lock(folder.with_name(f"{folder.name}.lock")):
        if folder.exists():
            return whole
        check_writable(folder.parent, what="the cache")
        size = sum(entry["size"] for entry in files.values())
        if size > (free := free_bytes(folder.parent)):
            do = "free some space, or set HEADSTART_CACHE to another disk"
            raise DataError(f"{folder.parent} needs {size:,} free bytes for {uri}", f"{free:,}", do)
        part = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        for each in files:
            target = part / name / PurePosixPath(each).relative_to(path) if each != path else part / name
            target.parent.mkdir(parents=True, exist_ok=True)
            system.get_file(each, str(target))
        part.rename(folder)
    return whole
