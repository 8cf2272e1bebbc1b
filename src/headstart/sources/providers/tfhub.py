"""TensorFlow SavedModels and TensorFlow Hub's modules: `tfhub:FOLDER` or `tfhub:HANDLE`, read without TensorFlow.

Nothing is downloaded: a handle is looked up where TensorFlow Hub and Kaggle's client keep what they have fetched.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from hashlib import sha1
from pathlib import Path

from headstart.base.errors import SourceError
from headstart.sources.graphs.checks import SAVED_GRAPH, check_saved_model
from headstart.sources.graphs.source import FormatDefaults, GraphSource, refuse_random
from headstart.sources.uri import Spec

HUB = "https://tfhub.dev/"
HUB_IMAGES = FormatDefaults(framework="tf", size=(224, 224), margin=1.0, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
"""The hub's own convention for pictures: RGB in 0..1."""


def open_named(spec: Spec, *, weights: str, seed: int) -> GraphSource:
    """Return the network in the folder of a SavedModel, or under a handle of the hub whose folder is on this machine.

    SourceError: no such folder or handle, or one that is damaged, unsafe, or no network for pictures.
    """
    refuse_random(spec, weights)
    named = Path(spec.name).expanduser()
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
    hub = Path(cache).expanduser() if cache else Path(tempfile.gettempdir()) / "tfhub_modules"
    for address in (handle, f"{HUB}{handle.strip('/')}"):
        if "://" in address:
            yield hub / sha1(address.encode(), usedforsecurity=False).hexdigest()
    kaggle = os.environ.get("KAGGLEHUB_CACHE")
    root = Path(kaggle).expanduser() if kaggle else Path.home() / ".cache" / "kagglehub"
    parts = handle.split("/")
    if "://" not in handle and ".." not in parts:
        yield root.joinpath("models", *parts)
