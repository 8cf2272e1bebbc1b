"""The bundle, the folder to ship: plain JSON, safetensors and a model card, each member checked by its sha256."""

from __future__ import annotations

import io
import json
import math
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.disk import restore, write_folder
from headstart.base.errors import BundleError, list_some, refusing
from headstart.base.hashing import foreign_json, sha256, sha256_json
from headstart.base.own_folders import MANIFEST, own_folder
from headstart.base.schema import SchemaError, build_dataclass
from headstart.data.images.preprocessing import Preprocessing
from headstart.engines.base import Block
from headstart.heads.linear import LinearHead
from headstart.heads.tfidf import TfidfHead
from headstart.judge.novelty import Novelty
from headstart.ship.bundle_novelty import checked_novelty
from headstart.ship.bundle_words import checked_tfidf_head
from headstart.sources.base import TextPreprocessing
from headstart.sources.checkpoints.safetensors import check_header

SCHEMA = 1
HEAD, REPORT, CARD = "head.safetensors", "report.json", "README.md"
TUNED, WORDS, NOVELTY = "tuned.safetensors", "words.safetensors", "novelty.safetensors"
TUNED_TYPES = (np.float32, np.int32, np.uint8)
"""Weights; and of word vectors, the places and the letters of their words."""
OPTIONAL = frozenset({TUNED, WORDS, NOVELTY})
MEMBERS = frozenset({HEAD, REPORT, CARD})
NEVER_READ = frozenset({".git", ".gitattributes", ".gitignore", ".cache", ".DS_Store", "Thumbs.db"})
"""What git, the Hugging Face hub and file managers leave in a folder; tolerated on loading because nothing opens it."""
LIMITS = {
    MANIFEST: 1 << 24,
    REPORT: 1 << 26,
    CARD: 1 << 24,
    HEAD: 1 << 32,
    TUNED: 1 << 34,
    WORDS: 1 << 33,
    NOVELTY: 1 << 32,
}
"""Bytes of each file; 10,000 class names of 255 bytes need a sixth of that of the manifest."""
OPENED = {"arch": str, "long": str, "size": int, "weights": str, "seed": int, "window": float, "hop": float}
"""The arguments of `open_source` that a bundle may name, and their types."""
SAVE_AGAIN = "fetch the bundle again from where it came, or save the model again"
DIGEST = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class SourceIdentity:
    """Which source a bundle stands on, and how to get it."""

    uri: str
    revision: str  # the resolved commit or package version
    sha256: str
    licence: str
    get: str  # how to get it on another machine, as one sentence or command
    included: bool = False  # whether the bundle holds the weights itself
    # arguments of `open_source` besides the URI that give the source again (arch, size, weights, seed)
    opened: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class HeadIdentity:
    """How the head was fitted: its kind and the strength of its regularisation."""

    kind: str
    penalty: float


@dataclass(frozen=True)
class Calibration:
    """What turns scores into probabilities: they are divided by `temperature`."""

    temperature: float


@dataclass(frozen=True)
class DataIdentity:
    """Which data the head was fitted on: its name, its fingerprint, and how its values and columns are read."""

    name: str
    fingerprint: str
    # of pictures of more than 8 bits, the values that are black and white, by depth
    value_ranges: dict[str, list[float]] = field(default_factory=dict)
    # of a table, the names of its columns by our words for what they hold; "header": all names, where it had no header
    columns: dict[str, list[str]] = field(default_factory=dict)
    # what took labels and groups from names: "label_from" and "group_by", regular expressions, where any did
    patterns: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TuningIdentity:
    """How the weights of the source were tuned; what has changed of them is a member of the bundle."""

    way: str  # `last:2`, `all at 128 px` and the like
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The description of a bundle."""

    task: str  # `image-classification` and the like
    classes: list[str]  # class names; their positions are the columns of the head
    source: SourceIdentity
    preprocessing: dict[str, Any]  # how the source prepares an example, as plain values
    layer: str
    blocks: list[Block]  # the columns of the features, in order
    head: HeadIdentity
    calibration: Calibration
    data: DataIdentity
    versions: dict[str, str] = field(default_factory=dict)
    tuning: TuningIdentity | None = None


@dataclass(frozen=True)
class Bundle:
    """The content of a bundle."""

    manifest: Manifest
    head: LinearHead  # the linear map; float32 weight of shape (d, c) and bias of shape (c,)
    report: dict[str, Any]  # the result of the run that made it (`result.json`), as plain values
    card: str
    # the source's weights that have changed, float32, by name, or the word vectors that have, with their places and
    # words; empty where none has
    tuned: dict[str, NDArray[Any]] = field(default_factory=dict)
    # a head on the words of texts, whose scores are added to those of `head`; None for none
    terms: TfidfHead | None = None
    # what tells examples that are unlike the training data; None in an older bundle, and where there are no features
    novelty: Novelty | None = None


def save(folder: Path, bundle: Bundle) -> None:
    """Write `bundle` as a folder, whole or not at all; an older bundle there stays until the new one is complete.

    Raises:
        BundleError: `folder` exists and is no bundle, or the bundle does not fit together.
        UsageError: the disk is full or cannot be written; an older bundle is intact.
    """
    from safetensors.numpy import save as to_safetensors

    _check_replaceable(folder)
    _check_head(bundle.manifest, bundle.head, folder)
    members = {
        HEAD: to_safetensors(_in_order({"weight": bundle.head.weight, "bias": bundle.head.bias})),
        REPORT: _pretty(bundle.report),
        CARD: bundle.card.encode(),
        **({TUNED: to_safetensors(_in_order(bundle.tuned))} if bundle.manifest.tuning else {}),
        **({WORDS: to_safetensors(_in_order(bundle.terms.to_arrays()))} if bundle.terms is not None else {}),
        **({NOVELTY: to_safetensors(_in_order(bundle.novelty.to_arrays()))} if bundle.novelty is not None else {}),
    }
    content = {
        "schema": SCHEMA,
        **plain_values(bundle.manifest),
        "members": {name: sha256(data) for name, data in members.items()},
    }
    write_folder(folder, {**members, MANIFEST: _pretty({**content, "checksum": sha256_json(content)})})


def load(folder: Path) -> Bundle:
    """Read a bundle after its checksums, and refuse it before anything in it is interpreted when one is wrong.

    Raises:
        BundleError: no bundle, a damaged one, one from the future, or one that holds what it must not.
    """
    restore(folder)
    manifest, digests = _read_manifest(folder)
    _check_members(folder, digests)
    members = {name: _read_member(folder, name, digest) for name, digest in sorted(digests.items())}
    head = _read_head(folder, manifest, members[HEAD])
    tuned = _arrays(folder, TUNED, members[TUNED]) if TUNED in members else {}
    _check_tuned(folder, manifest, tuned, is_member=TUNED in members)
    terms = None
    if WORDS in members:
        arrays = _arrays(folder, WORDS, members[WORDS])
        terms = checked_tfidf_head(arrays, len(manifest.classes), lambda fault: _damaged(folder, WORDS, fault))
    novelty = None
    if NOVELTY in members:
        arrays = _arrays(folder, NOVELTY, members[NOVELTY])
        novelty = checked_novelty(arrays, head.weight.shape, lambda fault: _damaged(folder, NOVELTY, fault))
    with refusing(lambda reason: _damaged(folder, CARD, "bytes that are no UTF-8")):
        page = members[CARD].decode()
    return Bundle(manifest, head, _read_report(folder, members[REPORT]), page, tuned, terms, novelty)


def _in_order(arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the arrays with rows one after the other in memory: safetensors writes the bytes as they lie."""
    return {name: np.asarray(array, order="C") for name, array in arrays.items()}


def _check_replaceable(folder: Path) -> None:
    """Refuse a folder that holds anything but a bundle: replacing it would destroy somebody's files."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise BundleError(f"{folder} must be a new or empty folder, or a bundle", "a file", "name another folder")
    others = sorted(path.name for path in folder.iterdir() if path.name not in {*MEMBERS, *OPTIONAL, MANIFEST})
    if others:
        raise BundleError(
            f"{folder} must be a new or empty folder, or a bundle and nothing else",
            f"{list_some(map(repr, others))} in it",
            "move that away, or name another folder",
        )
    if any(folder.iterdir()) and not _looks_ours(folder / MANIFEST):
        raise BundleError(
            f"{folder} must be a new or empty folder, or a bundle",
            f"files without a {MANIFEST} of headstart",
            "name another folder",
        )


def _looks_ours(path: Path) -> bool:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and {"schema", "members", "checksum"} <= content.keys()


def _read_manifest(folder: Path) -> tuple[Manifest, dict[str, str]]:
    """Return the manifest and the sha256 of each member."""
    content = _parse_manifest(folder)
    schema = content.get("schema")
    if type(schema) is not int or schema != SCHEMA:
        raise BundleError(
            f"{MANIFEST} in {folder} must be of schema {SCHEMA}",
            f"schema {schema!r}",
            "upgrade headstart if a newer one made it",
        )
    claimed = content.pop("checksum", None)
    if claimed != sha256_json(content):
        raise _damaged(folder, MANIFEST, "another checksum than it states")
    del content["schema"]
    digests = content.pop("members", None)
    if not isinstance(digests, dict) or digests.keys() - OPTIONAL != MEMBERS:
        raise BundleError(
            f"members in {folder / MANIFEST} must be {', '.join(sorted(MEMBERS))}",
            sorted(digests) if isinstance(digests, dict) else repr(digests),
            SAVE_AGAIN,
        )
    if not all(isinstance(digest, str) and DIGEST.fullmatch(digest) for digest in digests.values()):
        raise _damaged(folder, MANIFEST, "a member without a sha256")
    return _validated(folder, content), digests


def _parse_manifest(folder: Path) -> dict[str, Any]:
    data = _read(folder, MANIFEST)
    with refusing(lambda reason: _damaged(folder, MANIFEST, f"bytes that are no JSON ({reason})")):
        content = foreign_json(data)
        exact = isinstance(content, dict) and _pretty(content) == data
    if not exact:  # a flipped space, a key given twice: values that the checksum over the parsed content would miss
        raise _damaged(folder, MANIFEST, "bytes that headstart did not write")
    return dict(content)


def _validated(folder: Path, content: dict[str, Any]) -> Manifest:
    try:
        manifest = build_dataclass(Manifest, content)
    except SchemaError as error:
        raise BundleError(f"{MANIFEST} in {folder} must be sound", error, SAVE_AGAIN) from error
    if odd := [name for name, value in manifest.source.opened.items() if type(value) is not OPENED.get(name)]:
        raise BundleError(
            f"how a bundle's source is opened must be {', '.join(OPENED)}, texts and whole numbers",
            f"{odd[0]} {manifest.source.opened[odd[0]]!r}",
            SAVE_AGAIN,
        )
    if odd := [depth for depth, ends in manifest.data.value_ranges.items() if len(ends) != 2 or not ends[0] < ends[1]]:
        raise BundleError(
            f"a range of values in {folder / MANIFEST} must be two numbers, the lower first",
            manifest.data.value_ranges[odd[0]],
            SAVE_AGAIN,
        )
    return manifest


def _check_members(folder: Path, digests: dict[str, str]) -> None:
    there = {path.name for path in folder.iterdir()} - {MANIFEST} - NEVER_READ
    if extra := sorted(there - digests.keys()):
        raise BundleError(
            f"a bundle must hold only what its {MANIFEST} lists",
            f"{extra[0]!r} in {folder}",
            "do not trust that file; move it away, or fetch the bundle again",
        )
    if missing := sorted(digests.keys() - there):
        raise BundleError(f"{missing[0]} must be in {folder}", "no such file", SAVE_AGAIN)


def _read_member(folder: Path, name: str, digest: str) -> bytes:
    data = _read(folder, name)
    if sha256(data) != digest:
        raise _damaged(folder, name, f"sha256 {sha256(data)[:12]}… where {MANIFEST} says {digest[:12]}…")
    return data


def _read(folder: Path, name: str) -> bytes:
    path = folder / name
    if not folder.is_dir():
        received = "a file" if folder.exists() else "no such folder"
        raise BundleError(f"{folder} must be a bundle", received, "name a folder that `headstart fit` wrote")
    try:
        if path.is_symlink() or not path.is_file():
            inside, own = folder / "bundle", own_folder(folder)
            if not any((place / member).exists() for place in (folder, inside) for member in LIMITS.keys() - {CARD}):
                raise BundleError(
                    f"{folder} must be a bundle",
                    own.kind if own else f"a folder without {MANIFEST}",
                    own.remedy if own else f"if it holds labelled examples, fit on them: headstart fit {folder}",
                )
            remedy = f"name {inside}" if (inside / MANIFEST).is_file() else SAVE_AGAIN
            received = "a link" if path.is_symlink() else "no such file"
            raise BundleError(f"{name} must be a file in the bundle {folder}", received, remedy)
        if path.stat().st_size > LIMITS[name]:
            raise _damaged(folder, name, f"{path.stat().st_size:,} bytes, more than the {LIMITS[name]:,} that are read")
        return path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path} must be readable", error.strerror or error, "check its permissions") from error


def _arrays(folder: Path, name: str, data: bytes) -> dict[str, NDArray[Any]]:
    from safetensors.numpy import load as from_safetensors

    with refusing(lambda reason: _damaged(folder, name, f"bytes that are no safetensors ({reason})")):
        check_header(io.BytesIO(data))
        return dict(from_safetensors(data))


def _check_tuned(folder: Path, manifest: Manifest, tuned: dict[str, NDArray[Any]], *, is_member: bool) -> None:
    """Raise BundleError unless the tuned weights stand in the manifest, and are made of numbers."""
    if is_member != (manifest.tuning is not None):
        raise BundleError(
            f"{MANIFEST} in {folder} must say that the source was tuned where {TUNED} is there, and only there",
            "one without the other",
            SAVE_AGAIN,
        )
    for name, array in tuned.items():
        if array.dtype not in TUNED_TYPES or not np.isfinite(array).all():
            raise BundleError(f"{name} of {TUNED} in {folder} must be finite float32", array.dtype, SAVE_AGAIN)


def _read_head(folder: Path, manifest: Manifest, data: bytes) -> LinearHead:
    arrays = _arrays(folder, HEAD, data)
    if arrays.keys() != {"weight", "bias"}:
        raise BundleError(f"{HEAD} in {folder} must hold weight and bias", sorted(arrays), SAVE_AGAIN)
    temperature = manifest.calibration.temperature
    head = LinearHead(manifest.head.kind, manifest.head.penalty, arrays["weight"], arrays["bias"], temperature)
    _check_head(manifest, head, folder)
    return head


def _check_head(manifest: Manifest, head: LinearHead, folder: Path) -> None:
    """Raise BundleError unless the head fits the classes and blocks of the manifest and is made of numbers."""
    rows, columns = sum(block.width for block in manifest.blocks), len(manifest.classes)
    where = f"{HEAD} in {folder}"
    if narrow := [block.name for block in manifest.blocks if block.width < 1]:
        raise BundleError(f"blocks of {folder} must have a width of 1 or more", repr(narrow[0]), SAVE_AGAIN)
    for name, array, shape in (("weight", head.weight, (rows, columns)), ("bias", head.bias, (columns,))):
        if array.dtype != np.float32 or array.shape != shape:
            raise BundleError(
                f"{name} of {where} must be float32 of shape {shape} for {rows} features and {columns} classes",
                f"{array.dtype} of shape {array.shape}",
                SAVE_AGAIN,
            )
        if not np.isfinite(array).all():
            raise BundleError(f"{name} of {where} must be finite", "NaN or infinity", SAVE_AGAIN)
    if columns < 2 or len(set(manifest.classes)) != columns:
        raise BundleError(f"classes of {folder} must be two or more, all different", manifest.classes, SAVE_AGAIN)
    if not 0 < float(np.float32(head.temperature)) < math.inf:
        raise BundleError(f"temperature of {folder} must be above 0 in float32", head.temperature, SAVE_AGAIN)


def _read_report(folder: Path, data: bytes) -> dict[str, Any]:
    with refusing(lambda reason: _damaged(folder, REPORT, f"bytes that are no JSON ({reason})")):
        report = foreign_json(data)
    if not isinstance(report, dict):
        raise _damaged(folder, REPORT, f"a {type(report).__name__} instead of an object")
    return report


def _damaged(folder: Path, name: str, fault: str) -> BundleError:
    return BundleError(f"{name} in {folder} must be as it was written", fault, SAVE_AGAIN)


def plain_values(record: Manifest | Preprocessing | TextPreprocessing) -> dict[str, Any]:
    """Return a dataclass as JSON holds it (tuples become lists)."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(record), allow_nan=False))
    return plain


def _pretty(value: Any) -> bytes:
    """Return `value` as JSON for people: the one spelling that a manifest may have."""
    return json.dumps(value, indent=1, sort_keys=True, allow_nan=False).encode() + b"\n"
