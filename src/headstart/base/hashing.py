"""Plain values as JSON, foreign ones too; fingerprints: sha256 of bytes, files, arrays and plain values."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

MAX_JSON_VALUES = 1_000_000
COMMIT = re.compile(r"[0-9a-f]{40}")
"""A revision that names one state of a repository for good."""


def sha256(data: bytes | memoryview) -> str:
    """Return the sha256 of `data` as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def script_hash(text: str) -> str:
    """Return a style or script of a page as its policy names it (Content Security Policy): `sha256-…`."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def sha256_file(path: Path) -> str:
    """Return the sha256 of a file's bytes, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def foreign_json(
    data: bytes, *, most: int = MAX_JSON_VALUES, pairs: Callable[[list[tuple[str, Any]]], Any] | None = None
) -> Any:
    """Return the values in JSON that somebody else wrote; `pairs` makes an object of its keys and values.

    ValueError: it is no JSON, or holds more than `most` values: they take up to 30 times their bytes in memory.
    """
    if (values := sum(map(data.count, (b",", b"[", b"{")))) > most:
        raise ValueError(f"JSON of {values:,} values, more than the {most:,} that are read")
    try:
        return json.loads(data, object_pairs_hook=pairs)
    except RecursionError as error:
        raise ValueError("JSON of values nested too deep") from error


def canonical_json(value: Any) -> bytes:
    """Return `value` as JSON that is the same bytes for the same value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def sha256_json(value: Any) -> str:
    """Return the sha256 of the canonical JSON of `value`."""
    return sha256(canonical_json(value))


def sha256_json_rows(rows: Iterable[Any]) -> str:
    """Return `sha256_json` of the list of all rows; their JSON is never in memory at once, which takes ten times it."""
    digest = hashlib.sha256(b"[")
    for number, row in enumerate(rows):
        digest.update(b"," + canonical_json(row) if number else canonical_json(row))
    digest.update(b"]")
    return digest.hexdigest()
