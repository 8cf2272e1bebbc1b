"""A source in a folder: `source.json`, which says what it is, beside the files that it lists with their sha256.

`headstart sources convert` and `headstart pretrain` write such folders; `file:FOLDER` opens them::

    {"schema": 1, "graph": "library", "arch": "timm:resnet18", "origin": "…", "weights": "weights.safetensors",
     "preprocessing": {…} or null, "classes": ["cat", "dog"], "licence": "…", "trained_on": "…",
     "members": {"weights.safetensors": "<sha256>"}}

`graph` says what builds the network that `arch` names: `library`, or `keras` for a converted Keras source, as
`convert.py` describes it. `preprocessing` is that of the architecture where it is null. `pretrain` adds `taps` and
`more`, as they are at the size of its pictures, `gate`, which says how it stands against naive baselines, and
`command`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

from headstart.base.disk import restore
from headstart.base.errors import SourceError
from headstart.base.hashing import canonical_json, sha256_file
from headstart.data.audio.spectrogram import preprocessing_from
from headstart.data.images.preprocessing import Preprocessing

SCHEMA = 1
DESCRIPTION = "source.json"
MAX_DESCRIPTION_BYTES = 16 << 20
LIBRARY, KERAS = "library", "keras"
GRAPHS = (LIBRARY, KERAS)
UNGATED = "this source was not shown to beat naive baselines on its own data (it did not pass the gate of pretrain)"
AGAIN = "make the folder again, or get its files again"


@dataclass(frozen=True)
class SourceDescription:
    """What `source.json` says.

    Attributes:
        graph: what builds the network, one of `GRAPHS`.
        arch: URI of the architecture.
        origin: what the weights were made from: a URI, or a data set.
        weights: file name of the weights.
        licence: of the weights.
        trained_on: task and data it was trained on.
        members: sha256 of each file beside it.
        preprocessing: how it wants its pictures or recordings; None for what the architecture wants.
        classes: names of its own classes, in order; none where it has no classifier.
        more: other keys, for what builds the network.
    """

    graph: str
    arch: str
    origin: str
    weights: str
    licence: str
    trained_on: str
    members: Mapping[str, str]
    preprocessing: Preprocessing | None = None
    classes: tuple[str, ...] = ()
    more: Mapping[str, Any] | None = None


def to_json(description: SourceDescription) -> bytes:
    """Return the bytes of `source.json`."""
    keys = {key: value for key, value in asdict(description).items() if key != "more"}
    return canonical_json({"schema": SCHEMA, **keys, **(description.more or {})})


def read_folder(folder: Path) -> SourceDescription:
    """Return what a folder says it is, once every file that it lists has the sha256 that it lists.

    Raises:
        SourceError: it is no folder of a source, is from a later version, or a file is missing or altered.
    """
    restore(folder)
    path = folder / DESCRIPTION
    try:
        if path.stat().st_size > MAX_DESCRIPTION_BYTES:
            _refuse(path, f"more than {MAX_DESCRIPTION_BYTES:,} bytes")
        content = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise SourceError(
            f"{folder} must hold {DESCRIPTION}",
            "none",
            "name a weights file with --arch, or a folder that `headstart sources convert` or `pretrain` wrote",
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise SourceError(f"{path} must be sound JSON", str(error).partition("\n")[0], AGAIN) from error
    description = _checked(content, path)
    for name, digest in description.members.items():
        member = folder / name
        actual = sha256_file(member) if member.is_file() else "no such file"
        if actual != digest:
            raise SourceError(f"{member} must have the sha256 {digest}", actual, AGAIN)
    return description


def _refuse(path: Path, problem: str) -> NoReturn:
    raise SourceError(f"{path} must describe a source of schema {SCHEMA}", problem, AGAIN)


def _checked(content: Any, path: Path) -> SourceDescription:
    """Return the description as its type, or refuse it at the first key that does not fit."""
    if not isinstance(content, dict):
        _refuse(path, "no JSON object")
    if content.get("schema") != SCHEMA:
        _refuse(path, f"schema {content.get('schema')!r}")
    texts = ("graph", "arch", "origin", "weights", "licence", "trained_on")
    if wrong := [name for name in texts if not isinstance(content.get(name), str)]:
        _refuse(path, f"no text under {wrong[0]}")
    if content["graph"] not in GRAPHS:
        _refuse(path, f"graph {content['graph']!r}")
    members, classes = content.get("members"), content.get("classes", [])
    if not _texts(classes):
        _refuse(path, "classes that are no list of names")
    if not isinstance(members, dict) or not _texts(list(members.values())) or content["weights"] not in members:
        _refuse(path, "members without the weights and a sha256 each")
    if odd := [name for name in members if PurePosixPath(name).name != name or "\\" in name]:
        _refuse(path, f"the member {odd[0]!r}, which is not beside it")
    keys = {field.name for field in fields(SourceDescription)} | {"schema"}
    return SourceDescription(
        **{name: content[name] for name in texts},
        members=members,
        preprocessing=_preprocessing(content.get("preprocessing"), path),
        classes=tuple(classes),
        more={name: value for name, value in content.items() if name not in keys},
    )


def _texts(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def _preprocessing(content: Any, path: Path) -> Preprocessing | None:
    if content is None:
        return None
    try:
        return preprocessing_from(content)
    except (TypeError, AttributeError, ValueError) as error:
        _refuse(path, f"preprocessing that is none ({error})")
