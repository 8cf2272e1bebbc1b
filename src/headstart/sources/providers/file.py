"""Released checkpoints: `file:PATH` with the URI of its architecture, or a folder that says what it is itself.

Where a checkpoint fits is proved once, when it is first opened, and remembered, so that a warm run needs no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.base.cache import read_record, write_record
from headstart.base.config import cache_dir
from headstart.base.errors import SourceError, did_you_mean
from headstart.base.hashing import sha256_file, sha256_json
from headstart.sources.base import Identity
from headstart.sources.checkpoints.source_folder import (
    AGAIN,
    DESCRIPTION,
    KERAS,
    UNGATED,
    SourceDescription,
    read_folder,
)
from headstart.sources.networks.source import TorchSource
from headstart.sources.registry import open_source
from headstart.sources.taps import Tap
from headstart.sources.uri import Spec

if TYPE_CHECKING:
    from torch import nn

    from headstart.sources.checkpoints.load import Loaded

READING = 1
"""Counts up when the same checkpoint and architecture come to be matched otherwise."""


def open_named(spec: Spec, *, weights: str, seed: int, arch: str | None = None, size: int | None = None) -> TorchSource:
    """Return the network `arch` with the weights of the file that `spec` names, or with random ones.

    Args:
        spec: `file:PATH`.
        weights: `pretrained` for those of the file, `none` for random ones of the same architecture.
        seed: of random weights.
        arch: URI of the architecture; None for a folder, which names its own.
        size: side of the input in pixels, where the architecture leaves it open.

    Raises:
        SourceError: no such file, no architecture, or the two do not fit.
    """
    path = Path(spec.name).expanduser()
    if path.is_dir():
        if arch is not None:
            raise SourceError(f"{path} names its own architecture", f"--arch {arch}", "leave --arch out")
        return open_folder(path, spec.uri, weights=weights, seed=seed)
    if not path.is_file():
        near = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
        raise SourceError(f"{path} must exist", "no such file", f"name another{did_you_mean(path.name, near)}")
    if arch is None:
        raise SourceError(
            f"{spec.uri} needs the architecture of its weights", "none", "add --arch, for instance --arch timm:resnet18"
        )
    shell = open_shell(arch, seed=seed if weights == "none" else 0, size=size)
    if weights == "none":
        return with_build(shell, replace(shell.identity, uri=spec.uri, arch=arch), shell.module)
    return open_checkpoint(path, spec.uri, shell, arch)


def open_folder(folder: Path, uri: str, *, weights: str, seed: int) -> TorchSource:
    """Return the source that a folder describes in `source.json`; see `folder.py`.

    Raises:
        SourceError: the folder is damaged, or its weights do not fit.
    """
    described = read_folder(folder)
    if described.graph == KERAS:
        from headstart.sources.providers.keras import open_converted

        return open_converted(folder, described, uri=uri, weights=weights, seed=seed)
    shell = _shaped(open_shell(described.arch, seed=seed if weights == "none" else 0), described, folder, seed=seed)
    if weights == "none":
        return with_build(shell, replace(shell.identity, uri=uri), shell.module)
    source = open_checkpoint(folder / described.weights, uri, shell, arch="")
    gate = (described.more or {}).get("gate")
    notes = (UNGATED, *source.identity.notes) if isinstance(gate, dict) and not gate.get("passed") else None
    identity = replace(
        source.identity,
        licence=described.licence,
        trained_on=described.trained_on,
        notes=source.identity.notes if notes is None else notes,
    )
    return with_build(source, identity, source.module)


def _shaped(shell: TorchSource, described: SourceDescription, folder: Path, *, seed: int) -> TorchSource:
    """Return the architecture with the preprocessing, the taps and the classes that a folder describes."""
    preprocessing = described.preprocessing or shell.preprocessing
    stated = described.more or {}
    try:
        taps, more = (
            tuple(Tap(**tap) for tap in stated[name]) if name in stated else getattr(shell, name)
            for name in ("taps", "more")
        )
    except TypeError as error:
        raise SourceError(f"{folder / DESCRIPTION} must describe its taps", error, AGAIN) from error
    classes = len(described.classes)
    if classes in (0, shell.identity.classes):
        return TorchSource(shell.identity, preprocessing, taps, shell.module, more=more)
    digest = sha256_json([shell.identity.sha256, classes])
    identity = replace(shell.identity, classes=classes, sha256=digest)

    def build() -> nn.Module:
        from headstart.sources.networks.classifier import with_classes

        return with_classes(shell.module(), classes, seed=seed)

    return TorchSource(identity, preprocessing, taps, build, more=more)


def open_shell(arch: str, *, seed: int, size: int | None = None) -> TorchSource:
    """Return an architecture with random weights.

    Raises:
        SourceError: it is no network of torch, which weights can be loaded into.
    """
    shell = open_source(arch, weights="none", seed=seed, size=size)
    if not isinstance(shell, TorchSource):
        raise SourceError(
            "the architecture of a checkpoint must be a torch network", repr(arch), "name one, such as timm:resnet18"
        )
    return shell


def with_build(shell: TorchSource, identity: Identity, build: Callable[[], nn.Module]) -> TorchSource:
    """Return the same architecture under another identity, with other weights."""
    return TorchSource(identity, shell.preprocessing, shell.taps, build, more=shell.more)


def open_checkpoint(path: Path, uri: str, shell: TorchSource, arch: str) -> TorchSource:
    """Return an architecture with the weights of a checkpoint, once they are proved to fit.

    Args:
        path: of the checkpoint.
        uri: of the source.
        shell: the architecture.
        arch: its URI.

    Raises:
        SourceError: the checkpoint is unsound, or does not fit.
    """
    digest = sha256_file(path)
    build = cache(lambda: load_into(shell, path, digest))
    notes, classifier = remembered_fit(shell, digest, lambda: build()[1])
    identity = replace(
        shell.identity,
        uri=uri,
        classes=shell.identity.classes if classifier else 0,
        licence="not stated",
        revision="",
        sha256=digest,
        trained_on=f"not stated (weights in {path.name})",
        arch=arch,
        notes=notes,
    )
    return with_build(shell, identity, lambda: build()[0])


def load_into(shell: TorchSource, path: Path, digest: str) -> tuple[nn.Module, Loaded]:
    """Return the architecture's module with the weights of `path` in it, and what they brought.

    Raises:
        SourceError: the file is not the one of that sha256 any more, is unsound, or does not fit.
    """
    from headstart.sources.checkpoints.load import load_checkpoint
    from headstart.sources.checkpoints.read import is_keras, read_checkpoint

    provider, _, name = shell.info.uri.partition(":")
    if provider == "keras" and is_keras(path):
        from headstart.sources.providers.keras import load_file

        return load_file(name, shell.preprocessing.size[0], path)
    body = shell.module()
    checkpoint = read_checkpoint(path)
    if sha256_file(path) != digest:
        raise SourceError(f"{path} must stay as it is while it is in use", "another file", "open it again")
    return body, load_checkpoint(body, checkpoint, where=str(path))


def remembered_fit(shell: TorchSource, digest: str, load: Callable[[], Loaded]) -> tuple[tuple[str, ...], bool]:
    """Return the notes of a checkpoint that fits, and whether its classifier does, from the cache or by loading it.

    Args:
        shell: the architecture.
        digest: sha256 of the checkpoint.
        load: loads it, and raises SourceError where it does not fit.
    """
    key = sha256_json({"reading": READING, "weights": digest, "architecture": shell.identity.sha256})
    path = cache_dir() / "sources" / f"{key}.json"
    if (cached := read_record(path)) is not None:
        return tuple(cached["notes"]), bool(cached["classifier"])
    loaded = load()
    write_record(path, {"notes": list(loaded.notes), "classifier": loaded.classifier})
    return loaded.notes, loaded.classifier
