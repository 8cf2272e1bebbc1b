"""Bundles on a Hugging Face hub: `hf:ORG/NAME[@REVISION]`, fetched once for each commit, and pushed as they are."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.base.config import cache_dir
from headstart.base.disk import write_folder
from headstart.base.errors import BundleError, UsageError
from headstart.base.hashing import foreign_json, sha256
from headstart.base.own_folders import MANIFEST
from headstart.ship.bundle import CARD, LIMITS, MEMBERS, OPTIONAL, load
from headstart.ship.upload import call_hub, check_upload, upload
from headstart.sources.hub.repository import Repository

if TYPE_CHECKING:
    from huggingface_hub import HfApi

PREFIX = "hf:"


def is_on_hub(bundle: object) -> bool:
    """Return whether a bundle is named as one of a hub, and no such path is there."""
    return isinstance(bundle, (str, os.PathLike)) and str(bundle).startswith(PREFIX) and not Path(bundle).exists()


def bundle_folder(path: Path) -> Path:
    """Return where a bundle lies: the folder itself, or the one in the output folder of a `fit`."""
    return nested if (nested := path / "bundle").is_dir() else path


def bundle_path(bundle: str | os.PathLike[str]) -> Path:
    """Return the folder of a bundle: the path itself, or what was fetched of `hf:ORG/NAME[@REVISION]`.

    The members of one commit lie in a folder of our cache, which `bundle.load` checks as any other.

    Raises:
        SourceError: the hub cannot be reached, or has no such repository, revision or file.
        BundleError: the repository holds no bundle.
    """
    if not is_on_hub(bundle):
        return Path(bundle)
    uri = str(bundle)
    name, _, revision = uri.removeprefix(PREFIX).partition("@")
    repository = Repository(name, revision or None, uri=uri)
    manifest = repository.get(MANIFEST, limit=LIMITS[MANIFEST]).path.read_bytes()
    try:
        content = foreign_json(manifest)
        listed = set(content["members"])
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{uri} must hold a bundle", f"a {MANIFEST} that lists no members", "name another") from error
    folder = cache_dir() / "bundles" / f"{name.replace('/', '--')}--{repository.commit}"
    if not (folder / MANIFEST).is_file():
        named = sorted(listed & (MEMBERS | OPTIONAL))
        files = {member: repository.get(member, limit=LIMITS[member]).path.read_bytes() for member in named}
        folder.parent.mkdir(parents=True, exist_ok=True)
        write_folder(folder, {**files, MANIFEST: manifest})
    return folder


def push(bundle: str | os.PathLike[str], target: str, *, private: bool = False) -> tuple[str, str]:
    """Upload a bundle in one commit, and return its address and the sha256 of its manifest, which signs all of it.

    Args:
        bundle: its folder, or the output folder of a `fit`.
        target: `hf:ORG/NAME`; the repository is made where there is none.
        private: whether a new repository is one that only its owner sees.

    Raises:
        BundleError: the bundle is damaged; nothing is uploaded.
        UsageError: the name is none, the hub does not know the user, refuses the card's header, or cannot be reached.
    """
    if not target.startswith(PREFIX):
        raise UsageError("a bundle must be pushed to hf:ORG/NAME", repr(target), "write it so, such as hf:me/flowers")
    repository = target.removeprefix(PREFIX)
    check_upload(repository, what="the place to push to")
    folder = bundle_folder(Path(bundle))
    card = load(folder).card  # raises before anything is sent

    def validate(api: HfApi) -> None:
        from huggingface_hub import ModelCard

        try:
            ModelCard(card).validate()
        except ValueError as error:
            raise UsageError(
                f"the header of {CARD} must be one that the hub takes", error, "save the model again"
            ) from error

    call_hub(validate, "try again once the hub answers")
    address = upload(folder, repository, message="A bundle fitted with headstart", private=private)
    return address, sha256((folder / MANIFEST).read_bytes())
