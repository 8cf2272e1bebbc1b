"""Files inside installed packages, whose code is never run."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from headstart.base.errors import SourceError, missing_extra
from headstart.base.hashing import sha256_file


@dataclass(frozen=True)
class Member:
    """One file of a PyPI package: its path inside it, and its sha256."""

    package: str
    file: str
    sha256: str


def find_member(member: Member, needed_by: str) -> Path:
    """Return the path of a file inside its installed package.

    Args:
        member: the file.
        needed_by: the source that needs it, for messages.

    Raises:
        MissingExtra: the package is not installed.
        SourceError: the file is not the one that was released.
    """
    package = find_spec(member.package.replace("-", "_"))
    if package is None or not package.submodule_search_locations:
        raise missing_extra(needed_by, member.package)
    path = Path(package.submodule_search_locations[0]) / member.file
    received = sha256_file(path) if path.is_file() else "no such file"
    if received != member.sha256:
        raise SourceError(
            f"{path} must have the sha256 {member.sha256}",
            received,
            f"run: pip install --force-reinstall --no-deps {member.package}",
        )
    return path
