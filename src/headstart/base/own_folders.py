"""Folders that our commands write: which of them a path is, so that a message can name the command it belongs to."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

MANIFEST, DESCRIPTION, PARITY, RESULT = "manifest.json", "source.json", "parity.json", "result.json"
MOST = 1 << 24  # bytes that such a file is read of


class OwnFolder(NamedTuple):
    """What a folder is, and what to do with it."""

    kind: str  # a noun with its article
    remedy: str  # the command that takes it


MARKS: Mapping[str, OwnFolder] = {
    MANIFEST: OwnFolder("a bundle", "classify with it: headstart predict {path} INPUT"),
    f"bundle/{MANIFEST}": OwnFolder("the folder of a run", "classify with it: headstart predict {path} INPUT"),
    DESCRIPTION: OwnFolder("a source", "fit on it: headstart fit DATA --source {uri}"),
    PARITY: OwnFolder("an exported model", "classify with the script in it: python {path}/run_*.py FILE"),
    RESULT: OwnFolder("the folder of a run", "read its report.html, or name your data"),
}
"""The files that mark a folder of ours, each an object that names its schema."""


def own_folder(path: Path) -> OwnFolder | None:
    """Return which folder of ours `path` is, with the command that takes it; None where it is none of them."""
    for name, own in MARKS.items():
        if _has_schema(path / name):
            paths = {"path": shlex.quote(os.fspath(path)), "uri": shlex.quote(f"file:{path}")}
            return own._replace(remedy=own.remedy.format(**paths))
    return None


def _has_schema(file: Path) -> bool:
    try:
        with file.open("rb") as stream:
            content = json.loads(stream.read(MOST))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and isinstance(content.get("schema"), int)
