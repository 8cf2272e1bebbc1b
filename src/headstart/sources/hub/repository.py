"""Files of a Hugging Face hub, in that library's own cache: pinned to a commit, checked byte by byte, used offline.

The layout of the cache is `models--ORG--NAME/` with `refs/REVISION` (a commit), `snapshots/COMMIT/FILE` (a link) and
`blobs/ETAG` (the bytes), as huggingface_hub writes and reads it; the name of a blob is what its bytes are checked by.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from huggingface_hub import constants

from headstart.base.config import offline
from headstart.base.disk import process_lock, reraise_disk_errors, write_atomic
from headstart.base.errors import SourceError, one_line
from headstart.base.hashing import COMMIT, sha256_file
from headstart.sources.hub.client import Client, HubError, Limits

MAIN = "main"
SHA256 = re.compile(r"[0-9a-f]{64}")
ETAG = re.compile(r"[0-9A-Za-z][\w.+=-]{0,127}", re.ASCII)
REPOSITORY = re.compile(r"(?:[\w-][\w.-]*/)?[\w-][\w.-]*", re.ASCII)
REVISION = re.compile(r"\w[\w.-]*(?:/\w[\w.-]*)*", re.ASCII)
LFS_POINTER = b"version https://git-lfs.github.com/spec/"
PART = ".headstart.incomplete"
SMALL = 8 << 20  # bytes; the most that a file of settings may have


@dataclass(frozen=True)
class HubFile:
    """A file in the cache, its bytes checked; the commit that it is of, and notes for its user, one line each."""

    path: Path
    commit: str
    sha256: str
    notes: tuple[str, ...] = ()

    def json(self) -> Any:
        """Return the plain values of a file of settings; SourceError where it is no JSON."""
        try:
            return json.loads(self.path.read_bytes())
        except (ValueError, RecursionError) as error:
            raise SourceError(f"{self.path} must be JSON", error, "name another source") from error


class Repository:
    """The files of one repository, all of one commit: that of the first file that is asked for.

    A revision that is a commit needs no network for what the cache holds. A branch or tag is looked up anew, unless
    offline; where no hub answers, the commit of the last run is used, and `notes` says so.

    Args:
        name: `ORG/NAME`.
        revision: branch, tag or commit; None for `main`.
        uri: of the source, for messages.
        client: what asks the hub; by default the hub of `HF_ENDPOINT` is asked, by whoever is logged in.
    """

    def __init__(self, name: str, revision: str | None, *, uri: str, client: Client | None = None) -> None:
        if not REPOSITORY.fullmatch(name) or ".." in name or "--" in name:
            raise SourceError(f"{uri} must name a repository ORG/NAME", repr(name), "check the spelling")
        if revision is not None and (not REVISION.fullmatch(revision) or ".." in revision):
            raise SourceError(
                f"the revision in {uri} must be a branch, tag or commit",
                repr(revision),
                "write one that the repository has, such as main",
            )
        self.name, self.revision, self.uri = name, revision or MAIN, uri
        self.folder = cache_folder() / f"models--{name.replace('/', '--')}"
        self.commit = self.revision if COMMIT.fullmatch(self.revision) else ""
        self.notes: list[str] = []
        self._client = client

    def get(self, file: str, *, limit: int | None = None) -> HubFile:
        """Return a file that the repository must hold, of at most `limit` bytes.

        SourceError: it is not there, cannot be had, or is not what the hub says it is; the message says what to do.
        """
        if (hub_file := self.find(file, limit=limit)) is not None:
            return hub_file
        shown = self.revision if self.commit in ("", self.revision) else f"{self.revision} ({self.commit})"
        raise SourceError(f"{self.uri} must hold {file} at revision {shown}", "no such file", "name another source")

    def find(self, file: str, *, limit: int | None = None, needed: bool = True) -> HubFile | None:
        """Return a file of the repository, or None where it has no such file; otherwise as `get`.

        Where it is not `needed`, a run that is offline gets None for what the cache does not hold.
        """
        _check_name(file, self.uri)
        is_offline = offline() or constants.HF_HUB_OFFLINE
        try:
            if is_offline and not self.commit:
                self.commit = self._last_commit()
            if self.commit and (path := self._snapshot(file)).exists():
                return self._check(path)
            if self.commit and self._absent(file).exists():
                return None
            if is_offline:
                if not needed:
                    return None
                raise SourceError(
                    f"{self.uri} needs {file} of {self.name} in {cache_folder()}",
                    "offline",
                    f"run once with a network: headstart sources {self.uri}",
                )
            return self._fetch(file, limit)
        except OSError as error:
            raise SourceError(
                f"{error.filename or self.folder} in the Hugging Face cache must be yours to read and write",
                error.strerror or one_line(error),
                "make the folder yours and writable, or set HF_HOME to a folder of your own",
            ) from error

    def _fetch(self, file: str, limit: int | None) -> HubFile | None:
        client = self._client or default_client()
        try:
            etag, size = self._headers(client, file)
        except HubError as failed:
            if failed.code == "EntryNotFound" or (failed.status == 404 and self.commit and not failed.code):
                if self.commit:  # so that an offline run need not ask
                    marker = self._absent(file)
                    marker.parent.mkdir(parents=True, exist_ok=True)
                    marker.touch()
                return None
            if not failed.status and not self.commit and (commit := self._last_commit()):
                self.commit = commit
                self.notes.append(f"{_host()} does not answer: commit {commit} of {self.name} is used, as last time")
                return self.find(file, limit=limit)
            raise self._explain(failed, file) from failed
        if limit is not None and size > limit:
            must = f"{file} of {self.uri} must have at most {limit:,} bytes"
            raise SourceError(must, f"{size:,} bytes", "name another source")
        if not (path := self._snapshot(file)).exists():
            self._download(client, file, etag, size)
        return self._check(path)

    def _headers(self, client: Client, file: str) -> tuple[str, int]:
        """Ask for the name and size of a file's bytes; the first answer settles the commit of all files."""
        headers = client.head(self._url(client, file), insist=bool(self.commit or not self._last_commit()))
        commit = headers.get("X-Repo-Commit", "")
        etag = (headers.get("X-Linked-Etag") or headers.get("ETag") or "").removeprefix("W/").strip('"')
        size = headers.get("X-Linked-Size") or headers.get("Content-Length") or ""
        if not COMMIT.fullmatch(commit) or not ETAG.fullmatch(etag) or not size.isdecimal():
            raise HubError("an answer without commit, checksum or size", retryable=False)
        if self.commit and commit != self.commit:
            raise HubError(f"commit {commit} in place of {self.commit}", retryable=False)
        if not self.commit:
            self._pin(commit)
        return etag, int(size)

    def _pin(self, commit: str) -> None:
        """Take `commit` for every file, and remember that the revision stands for it."""
        before = self._last_commit()
        if before and before != commit:
            self.notes.append(
                f"{self.revision} of {self.name} has moved from {before} to {commit}; "
                f"to stay with the former, name {self.uri.partition('@')[0]}@{before}"
            )
        self.commit = commit
        if before != commit:
            ref = self.folder / "refs" / self.revision
            ref.parent.mkdir(parents=True, exist_ok=True)  # so that a refusal names the hub's cache
            write_atomic(ref, commit.encode())

    def _last_commit(self) -> str:
        """Return the commit that the revision stood for when it was last asked for, or an empty string."""
        try:
            commit = (self.folder / "refs" / self.revision).read_text().strip()
        except (FileNotFoundError, NotADirectoryError):
            return ""
        return commit if COMMIT.fullmatch(commit) else ""

    def _download(self, client: Client, file: str, etag: str, size: int) -> None:
        """Put the bytes among the blobs, whole and checked or not at all, and link the file to them.

        Where the file system has no links, the bytes are put in the place of the file.
        """
        blob = self.folder / "blobs" / etag
        blob.parent.mkdir(parents=True, exist_ok=True)
        if not blob.exists():
            part = blob.with_name(blob.name + PART)
            with (
                reraise_disk_errors(part, size),
                process_lock(_lock_of(part), on_retry=_refuse_stalled(part, client.limits)),
            ):
                if not blob.exists():  # another process was quicker
                    with part.open("ab") as writing:
                        try:
                            client.download(self._url(client, file), writing, size)
                        except HubError as failed:
                            writing.flush()
                            raise self._explain(failed, file) from failed
                        writing.flush()
                        os.fsync(writing.fileno())
                    if not _is_sound(part, blob.name):
                        part.unlink()
                        raise self._unsound(f"{file} of {self.uri}")
                    part.replace(blob)
        path = self._snapshot(file)
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            try:
                path.symlink_to(os.path.relpath(blob, path.parent))
            except PermissionError:
                blob.replace(path)

    def _check(self, path: Path) -> HubFile:
        """Return a file of the cache whose bytes are those that its blob is named after."""
        blob = Path(os.path.normpath(path.parent / path.readlink())) if path.is_symlink() else path
        etag = blob.name if blob.parent == self.folder / "blobs" else ""
        if etag and not _is_sound(path, etag):
            blob.unlink()
            path.unlink()
            raise self._unsound(str(path))
        with path.open("rb") as opened:
            if opened.read(len(LFS_POINTER)) == LFS_POINTER:
                raise SourceError(
                    f"{path} must hold the file itself",
                    "a Git LFS pointer in its place",
                    f"delete it and run again, or have the owner of {self.name} upload the file",
                )
        digest = etag if SHA256.fullmatch(etag) else sha256_file(path)
        return HubFile(path, self.commit, digest, tuple(self.notes))

    def _unsound(self, what: str) -> SourceError:
        return SourceError(
            f"{what} must have the checksum that the hub states", "other bytes, which were removed", "run again"
        )

    def _explain(self, failed: HubError, file: str) -> SourceError:
        """Return the one line that says what a refusal of the hub means, and what to do."""
        if failed.code == "GatedRepo" or failed.status == 403:
            return SourceError(
                f"{self.uri} must be open to you", f"{failed.reason}: no access", f"ask for it at {self.page}"
            )
        if failed.status == 401:
            return SourceError(
                f"{self.uri} must be open to you",
                f"{failed.reason}: a private or gated repository, or none of that name",
                "log in (run: hf auth login), or check the spelling",
            )
        if failed.status == 404:
            missing = {"RepoNotFound": "no such name", "RevisionNotFound": f"no revision {self.revision!r}"}
            return SourceError(
                f"{self.uri} must exist on {_host()} at revision {self.revision}",
                f"{failed.reason}: {missing.get(failed.code, 'no such name or revision')}",
                f"check the spelling, see {self.page}",
            )
        busy = f"wait {failed.wait:.0f} s and " if failed.wait else ""
        return SourceError(
            f"{_host()} must give {file} of {self.uri}",
            failed.reason,
            f"{busy}run again: what came is kept" if failed.retryable else "check HF_ENDPOINT, or name another source",
        )

    @property
    def page(self) -> str:
        """Its address, for people."""
        return f"{constants.ENDPOINT}/{self.name}"

    def _url(self, client: Client, file: str) -> str:
        revision = quote(self.commit or self.revision, safe="")
        return f"{client.endpoint}/{self.name}/resolve/{revision}/{quote(file)}"

    def _snapshot(self, file: str) -> Path:
        return self.folder / "snapshots" / self.commit / file

    def _absent(self, file: str) -> Path:
        return self.folder / ".no_exist" / self.commit / file


def cache_folder() -> Path:
    """Return huggingface_hub's own cache (`HF_HUB_CACHE`, or `HF_HOME`)."""
    return Path(constants.HF_HUB_CACHE)


def default_client() -> Client:
    """Return what asks the hub of `HF_ENDPOINT`, by the token of whoever is logged in."""
    from huggingface_hub import get_token

    return Client(constants.ENDPOINT.rstrip("/"), get_token(), f"headstart/{version('headstart')}")


def _host() -> str:
    return urlsplit(constants.ENDPOINT).netloc


def _check_name(file: str, uri: str) -> None:
    """Raise SourceError for a file name that leads out of its folder."""
    parts = file.split("/")
    if any(part in ("", ".", "..") for part in parts) or "\\" in file or "\0" in file:
        raise SourceError(f"the files of {uri} must lie in its own folder", repr(file), "do not use this repository")


def _is_sound(path: Path, etag: str) -> bool:
    """Return whether the bytes are those that the hub's name for them stands for.

    The name is a sha256 for large files and git's sha1 of a blob for small ones (some mirrors: the plain sha1); bytes
    under any other name cannot be checked.
    """
    if SHA256.fullmatch(etag):
        return sha256_file(path) == etag
    if COMMIT.fullmatch(etag):
        data = path.read_bytes()
        plain = hashlib.sha1(data, usedforsecurity=False)
        git = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False)
        return etag in (git.hexdigest(), plain.hexdigest())
    return True


def _refuse_stalled(part: Path, limits: Limits) -> Callable[[], None]:
    """Return what raises SourceError once another process that downloads `part` has made no progress for long."""
    size, since = -1, time.monotonic()

    def check() -> None:
        nonlocal size, since
        if (grown := part.stat().st_size if part.exists() else 0) != size:
            size, since = grown, time.monotonic()
        if time.monotonic() - since > limits.seconds:
            raise SourceError(
                f"{part} must be free to download",
                "another process that holds it and makes no progress",
                f"end that process (run: fuser {_lock_of(part)}), and run again",
            )

    return check


def _lock_of(part: Path) -> Path:
    return part.with_name(f"{part.name}.lock")
