"""Networks that come as graphs: `onnx:PATH`, `tfhub:FOLDER` and `tfhub:HANDLE`, checked before OpenVINO opens them.

Nothing is downloaded, and TensorFlow is not needed: a handle of TensorFlow Hub is looked up where that and Kaggle's
client keep what they have fetched.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from hashlib import sha1
from pathlib import Path

from headstart.base.config import at_home
from headstart.base.errors import SourceError, did_you_mean
from headstart.sources.graphs.checks import check_onnx, check_saved_model
from headstart.sources.graphs.source import FormatDefaults, GraphSource
from headstart.sources.uri import SAVED_GRAPH, Spec

IMAGENET = FormatDefaults(
    framework="onnx", size=(224, 224), margin=256 / 224, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
)
"""An ONNX file says nothing of how it wants its pictures: RGB, resized, cropped and normalised as usual on ImageNet."""
HUB = "https://tfhub.dev/"
HUB_IMAGES = FormatDefaults(framework="tf", size=(224, 224), margin=1.0, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
"""The hub's own convention for pictures: RGB in 0..1."""


def open_named(spec: Spec, *, weights: str, seed: int) -> GraphSource:
    """Return the network in an ONNX file, in the folder of a SavedModel, or under a handle whose folder is here.

    `PATH.preprocessing.json` can say how it wants its pictures. SourceError: there is none, or one that is damaged,
    unsafe, or no network for pictures. Random weights are refused before (`check_name`).
    """
    path = at_home(spec.name)
    if spec.provider == "tfhub":
        return _open_saved_model(spec, path)
    if not path.is_file():
        received = "a folder" if path.is_dir() else "no such file"
        raise SourceError(f"{spec.uri} must name an ONNX file", received, _remedy(path))
    return GraphSource(spec.uri, path, check_onnx(path), IMAGENET)


def _remedy(path: Path) -> str:
    if path.is_dir():
        inside = sorted(entry.name for entry in path.glob("*.onnx"))
        return f"name the file: {path / inside[0]}" if inside else "name the file itself"
    return f"check the path{did_you_mean(path.name, [entry.name for entry in path.parent.glob('*.onnx')])}"


def _open_saved_model(spec: Spec, named: Path) -> GraphSource:
    if named.is_file():
        raise SourceError(
            f"{spec.uri} must name the folder of a SavedModel", "a file", f"name the folder: {named.parent}"
        )
    if named.is_dir():
        return GraphSource(spec.uri, named, check_saved_model(named), HUB_IMAGES)
    places = list(_places(spec.name))
    for folder in places:
        if (folder / SAVED_GRAPH).is_file():
            revision = spec.name.rpartition("/")[2] if "/" in spec.name else ""
            return GraphSource(spec.uri, folder, check_saved_model(folder), HUB_IMAGES, revision=revision)
    raise SourceError(
        f"{spec.uri} must be the folder of a SavedModel, or a handle that is on this machine",
        "no such folder, and no copy of such a handle",
        f"fetch its SavedModel (kaggle.com/models) and unpack it to "
        f"{' or '.join(map(str, places))}, or name its folder",
    )


def _places(handle: str) -> Iterator[Path]:
    """Yield where TensorFlow Hub and Kaggle's client would keep the module `handle`."""
    cache = os.environ.get("TFHUB_CACHE_DIR")
    hub = at_home(cache) if cache else Path(tempfile.gettempdir()) / "tfhub_modules"
    for address in (handle, f"{HUB}{handle.strip('/')}"):
        if "://" in address:
            yield hub / sha1(address.encode(), usedforsecurity=False).hexdigest()
    kaggle = os.environ.get("KAGGLEHUB_CACHE")
    root = at_home(kaggle) if kaggle else Path.home() / ".cache" / "kagglehub"
    parts = handle.split("/")
    if "://" not in handle and ".." not in parts:
        yield root.joinpath("models", *parts)
