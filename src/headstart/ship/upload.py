"""Uploading a folder to a Hugging Face hub, through that library."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from headstart.base.config import offline
from headstart.base.errors import UsageError, one_line
from headstart.sources.hub.repository import REPOSITORY

if TYPE_CHECKING:
    from huggingface_hub import HfApi

T = TypeVar("T")


def check_upload(repository: str, *, what: str = "--push-to-hub") -> None:
    """Prove, before any work starts, that this user can upload; `what` names the place in messages.

    Raises:
        UsageError: `repository` is no name of one, the network is forbidden, or the hub does not know the user.
    """
    if not REPOSITORY.fullmatch(repository) or "/" not in repository:
        raise UsageError(
            f"{what} must name a repository as ORG/NAME", repr(repository), "write it so, such as me/flowers"
        )
    if offline():
        raise UsageError(f"{what} needs the network", "--offline", "leave one of the two out")
    call_hub(lambda api: api.whoami(), "log in first: hf auth login")


def upload(
    folder: Path, repository: str, *, message: str = "A source trained with headstart", private: bool = False
) -> str:
    """Upload the files of `folder` in one commit, the repository made where there is none, and return its address.

    Args:
        repository: `ORG/NAME`.
        message: of the commit.
        private: whether a new repository is one that only its owner sees.

    Raises:
        UsageError: the hub cannot be reached, or refuses.
    """

    def commit(api: HfApi) -> str:
        api.create_repo(repository, exist_ok=True, private=private or None)
        commit_info = api.upload_folder(
            repo_id=repository,
            folder_path=folder,
            commit_message=message,
            ignore_patterns=["checkpoints/*"],
        )
        return str(commit_info.repo_url)

    return call_hub(commit, f"the folder is whole; upload it again: hf upload {repository} {folder}")


def call_hub(call: Callable[[HfApi], T], remedy: str) -> T:
    """Return what the call returns; raise UsageError with the reason and a remedy where the hub refuses."""
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # of its own HTTP library

    try:
        return call(HfApi(endpoint=constants.ENDPOINT, library_name="headstart"))
    except (HTTPError, OSError) as error:
        raise UsageError(
            "the hub must take the upload", one_line(str(error).strip().partition("\n")[0]), remedy
        ) from error
