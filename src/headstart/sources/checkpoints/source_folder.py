"""A source in a folder: `source.json`, which says what it is, beside the files that it lists with their sha256.

`headstart sources convert` and `headstart pretrain` write such folders; `file:FOLDER` opens them::

    {"schema": 1, "graph": "library", "arch": "timm:resnet18", "origin": "…", "weights": "weights.safetensors",
     "preprocessing": {…} or null, "classes": ["cat", "dog"], "licence": "…", "trained_on": "…",
     "members": {"weights.safetensors": "<sha256>"}}

`pretrain` adds `taps` and `more`, as they are at the size of its pictures, `gate`, which says how it stands against
naive baselines and whether it may be used all the same (`forced`), `confidence`, the mean of the largest probability of
each of its own unseen examples, and `command`; `convert` adds `top`, whether the
network has its classifier.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

from headstart.base.disk import restore
from headstart.base.errors import SourceError, UsageError, refusing
from headstart.base.hashing import canonical_json, foreign_json, sha256_file
from headstart.base.own_folders import DESCRIPTION, own_folder
from headstart.data.audio.spectrogram import preprocessing_from
from headstart.data.images.preprocessing import Preprocessing

SCHEMA = 1
MAX_DESCRIPTION_BYTES = 16 << 20
LIBRARY, KERAS = "library", "keras"
UNGATED = "this source was not shown to beat naive baselines on its own data (it did not pass the gate of pretrain)"
OTHERS = "name a weights file with --arch, or a folder that `headstart sources convert` or `pretrain` wrote"
AGAIN = "make the folder again, or get its files again"


@dataclass(frozen=True)
class SourceDescription:
    """What `source.json` says."""

    graph: str  # what builds the network of `arch`: `library`, or `keras` for a converted Keras source
    arch: str  # URI of the architecture
    origin: str  # what the weights were made from: a URI, or a data set
    weights: str  # file name of the weights
    licence: str
    trained_on: str
    members: Mapping[str, str]  # sha256 of each file beside it
    preprocessing: Preprocessing | None = None  # None for that of the architecture
    classes: tuple[str, ...] = ()  # names of its own classes, in order; none where it has no classifier
    settings: Mapping[str, Any] = field(default_factory=dict)  # all other keys, for what builds the network

    @property
    def own_confidence(self) -> float | None:
        """The mean of the largest probability of each of its own unseen examples, 0..1; None where it states none."""
        stated = self.settings.get("confidence")
        return float(stated) if isinstance(stated, (int, float)) and 0 <= stated <= 1 else None


KEYS = [entry.name for entry in fields(SourceDescription) if entry.name != "settings"]
TEXTS = KEYS[:6]


def to_json(description: SourceDescription) -> bytes:
    """Return the bytes of `source.json`."""
    values = asdict(description)
    return canonical_json({"schema": SCHEMA, **values.pop("settings"), **values})


def read_folder(folder: Path) -> SourceDescription:
    """Return what a folder says it is, once every file that it lists has the sha256 that it lists.

    SourceError: it is no folder of a source, is from a later version, or a file is missing or altered.
    """
    restore(folder)
    path = folder / DESCRIPTION
    if not path.is_file():
        own = own_folder(folder)
        raise SourceError(
            f"{folder} must hold {DESCRIPTION}",
            "none" if own is None else own.kind,
            own.remedy if own else OTHERS,
        )
    with refusing(lambda reason: SourceError(f"{path} must be sound JSON", reason, AGAIN)):
        if path.stat().st_size > MAX_DESCRIPTION_BYTES:
            _refuse(path, f"more than {MAX_DESCRIPTION_BYTES:,} bytes")
        content = foreign_json(path.read_bytes())
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
    schema = content.pop("schema", None)
    if type(schema) is not int or schema != SCHEMA:
        _refuse(path, f"schema {schema!r}")
    known = {name: content.pop(name) for name in KEYS if name in content}
    if wrong := [name for name in TEXTS if not isinstance(known.get(name), str)]:
        _refuse(path, f"no text under {wrong[0]}")
    if known["graph"] not in (LIBRARY, KERAS):
        _refuse(path, f"graph {known['graph']!r}")
    members, classes = known.get("members"), known.setdefault("classes", [])
    if not _texts(classes):
        _refuse(path, "classes that are no list of names")
    if not isinstance(members, dict) or not _texts(list(members.values())) or known["weights"] not in members:
        _refuse(path, "members without the weights and a sha256 each")
    if odd := [name for name in members if PurePosixPath(name).name != name or "\\" in name]:
        _refuse(path, f"the member {odd[0]!r}, which is not beside it")
    try:
        if known.get("preprocessing") is not None:
            known["preprocessing"] = preprocessing_from(known["preprocessing"])
    except (TypeError, AttributeError, UsageError) as error:
        _refuse(path, f"preprocessing that is none ({error})")
    return SourceDescription(**{**known, "classes": tuple(classes)}, settings=content)


def _texts(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)
