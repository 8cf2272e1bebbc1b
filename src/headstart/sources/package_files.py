"""Files of PyPI packages: used for what they hold, pinned by sha256, and never imported."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from headstart.base.errors import SourceError
from headstart.base.extras import install_line, missing_extra
from headstart.base.hashing import sha256_file


@dataclass(frozen=True)
class Member:
    """One file of a PyPI package."""

    package: str  # its name on PyPI
    file: str  # the path below the folder that it is imported from
    sha256: str
    folder: str = ""  # that folder; empty where it is the name with underscores


def find_package(package: str, needed_by: str) -> Distribution:
    """Return an installed package that the source `needed_by` needs; MissingExtra where it is not installed."""
    try:
        return distribution(package)
    except PackageNotFoundError:
        raise missing_extra(needed_by, package) from None


def find_member(member: Member, needed_by: str) -> Path:
    """Return the path of a file inside its installed package, for the source `needed_by`.

    MissingExtra: the package is not installed. SourceError: the file is not the one that was released.
    """
    installed = find_package(member.package, needed_by)
    folder = member.folder or member.package.replace("-", "_")
    path = Path(str(installed.locate_file(f"{folder}/{member.file}")))
    received = sha256_file(path) if path.is_file() else "no such file"
    if received != member.sha256:
        raise SourceError(
            f"{path} must have the sha256 {member.sha256}",
            received,
            f"run: {install_line('--force-reinstall', '--no-deps', member.package)}",
        )
    return path
