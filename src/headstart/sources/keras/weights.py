"""Released weights of keras.applications: Keras's own files, in Keras's own cache, read as plain arrays."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from headstart.base.config import offline
from headstart.base.errors import SourceError
from headstart.sources.keras.table import APPLICATIONS


def fetch(name: str, *, top: bool) -> Path:
    """Return the weights file in Keras's cache, downloaded by Keras unless it is there already.

    Args:
        name: of the application.
        top: with its classifier.

    Raises:
        SourceError: it cannot be had, or is not the one that was released.
    """
    url, file, digest = APPLICATIONS[name].released(top=top)
    path = keras_home() / "models" / file
    if not path.is_file():
        _download(name, url, path, digest)
    if digest:
        with path.open("rb") as opened:
            given = hashlib.file_digest(opened, "md5" if len(digest) == 32 else "sha256").hexdigest()
        if given != digest:
            raise SourceError(f"{path} must be the file that was released ({digest})", given, f"remove it: rm {path}")
    return path


def keras_home() -> Path:
    """Return the folder of Keras's own cache (`KERAS_HOME`, else `~/.keras`)."""
    named = os.environ.get("KERAS_HOME")
    return Path(named).expanduser() if named else Path.home() / ".keras"


def _download(name: str, url: str, path: Path, digest: str) -> None:
    must = f"keras:{name} needs its weights, {path.name}"
    remedy = f"download {url} where there is a network and put it at {path}, or use weights none"
    if offline():
        raise SourceError(must, "offline", remedy)
    from headstart.sources.keras.library import import_keras

    keras = import_keras()
    try:
        keras.utils.get_file(
            path.name, url, cache_subdir="models", cache_dir=str(path.parents[1]), file_hash=digest or None
        )
    except Exception as error:  # get_file turns whatever went wrong into a bare Exception
        raise SourceError(must, str(error).partition("\n")[0], remedy) from error
