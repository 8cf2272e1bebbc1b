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
from headstart.base.errors import SourceError, did_you_mean, refusing
from headstart.base.hashing import sha256_file, sha256_json
from headstart.base.own_folders import DESCRIPTION
from headstart.base.schema import build_dataclass
from headstart.sources.base import Identity
from headstart.sources.checkpoints import source_folder
from headstart.sources.checkpoints.index import files_of, find_weights
from headstart.sources.checkpoints.keras_file import SUFFIXES
from headstart.sources.checkpoints.source_folder import SourceDescription
from headstart.sources.layers import Tap
from headstart.sources.networks.source import TorchSource
from headstart.sources.registry import open_source
from headstart.sources.uri import Spec, as_source, parse, providers_of, split_part

if TYPE_CHECKING:
    from torch import nn

    from headstart.sources.checkpoints.load import Loaded

READING = 2
"""Counts up when the same checkpoint and architecture come to be matched otherwise."""


def open_named(spec: Spec, *, weights: str, seed: int, arch: str | None = None, size: int | None = None) -> TorchSource:
    """Return the network of the URI `arch` with the weights of the file that `spec` names, or with random ones.

    A folder names its architecture itself. `size` is the side of the input in pixels, where the architecture leaves it
    open. SourceError: no such file, no architecture, or the two do not fit.
    """
    path, part = split_part(spec.name)
    if path.is_dir() and (arch is None or (path / DESCRIPTION).exists()):
        if arch is not None:
            raise SourceError(f"{path} names its own architecture", f"--arch {arch}", "leave --arch out")
        return open_folder(path, spec.uri, weights=weights, seed=seed)
    if path.is_dir():
        path = find_weights(path)
    if not path.is_file():
        near = [other.name for other in path.parent.glob("*")]
        raise SourceError(f"{path} must exist", "no such file", f"name another{did_you_mean(path.name, near)}")
    if spec.provider not in providers_of(path):
        raise SourceError(f"{spec.uri} must name weights", f"a {path.suffix} file", as_source(str(path)))
    if arch is None:
        fitting = "keras:Xception" if path.suffix in SUFFIXES else "timm:resnet18"
        raise SourceError(
            f"{spec.uri} needs the architecture of its weights", "none", f"add --arch, for instance --arch {fitting}"
        )
    shell = open_shell(arch, weights, seed, size=size)
    if weights == "none":
        return with_build(shell, replace(shell.identity, uri=spec.uri, arch=arch), shell.module)
    return open_checkpoint(path, spec.uri, shell, arch, part)


def open_folder(folder: Path, uri: str, *, weights: str, seed: int) -> TorchSource:
    """Return the source that `source.json` of a folder describes; SourceError where it is damaged or does not fit."""
    described = source_folder.read_folder(folder)
    if described.graph == source_folder.KERAS:
        from headstart.sources.providers.keras import open_converted

        return open_converted(folder, described, uri=uri, weights=weights, seed=seed)
    shell = _shaped(open_shell(described.arch, weights, seed), described, folder, seed=seed)
    if weights == "none":
        return with_build(shell, replace(shell.identity, uri=uri), shell.module)
    source = open_checkpoint(folder / described.weights, uri, shell, arch="")
    gate, notes = described.settings.get("gate"), source.identity.notes
    if isinstance(gate, dict) and not gate.get("passed"):
        if not gate.get("forced", True):  # a folder of an earlier version was written because it was forced
            raise SourceError(
                f"{folder} must hold a source that passed the gate of pretrain",
                "one that did not, as its report.html says",
                "train it longer or on more data; or accept it: the command in its README.md with --force",
            )
        notes = (source_folder.UNGATED, *notes)
    identity = replace(source.identity, licence=described.licence, trained_on=described.trained_on, notes=notes)
    named = with_build(source, identity, source.module)
    named.known_classes, named.own_confidence = described.classes, described.own_confidence
    return named


def _shaped(shell: TorchSource, described: SourceDescription, folder: Path, *, seed: int) -> TorchSource:
    """Return the architecture with the preprocessing, the taps and the classes that a folder describes."""
    stated = described.settings
    where = f"{folder / DESCRIPTION} must describe its taps"
    with refusing(lambda reason: SourceError(where, reason, source_folder.AGAIN)):
        taps, more = (
            tuple(build_dataclass(Tap, tap, name) for tap in stated[name]) if name in stated else getattr(shell, name)
            for name in ("taps", "more")
        )
    identity, build, classes = shell.identity, shell.module, len(described.classes)
    if classes not in (0, identity.classes):
        identity = replace(identity, classes=classes, sha256=sha256_json([identity.sha256, classes]))

        def build() -> nn.Module:
            from headstart.sources.networks.two_step import with_classes

            return with_classes(shell.module(), classes, seed=seed)

    return TorchSource(identity, described.preprocessing or shell.preprocessing, taps, build, more=more)


def open_shell(arch: str, weights: str, seed: int, *, size: int | None = None) -> TorchSource:
    """Return an architecture with random weights, drawn from `seed` where `weights` is `none`, and replaced otherwise.

    SourceError: it is no torch network.
    """
    shell = open_source(arch, weights="none", seed=seed if weights == "none" else 0, size=size)
    if not isinstance(shell, TorchSource):
        raise SourceError(
            "the architecture of a checkpoint must be a torch network", repr(arch), "name one, such as timm:resnet18"
        )
    return shell


def with_build(shell: TorchSource, identity: Identity, build: Callable[[], nn.Module]) -> TorchSource:
    """Return the same architecture under another identity, with other weights."""
    return TorchSource(identity, shell.preprocessing, shell.taps, build, more=shell.more)


def open_checkpoint(path: Path, uri: str, shell: TorchSource, arch: str, part: str = "") -> TorchSource:
    """Return `shell`, of the URI `arch`, with the weights of a checkpoint; SourceError where they do not fit.

    `part` is the prefix of its tensors that the user names, where several networks lie in it.
    """
    digest = _digest(path)
    build = cache(lambda: load_into(shell, path, digest, part))
    key = sha256_json({"reading": READING, "weights": digest, "architecture": shell.identity.sha256, "part": part})
    record = cache_dir() / "sources" / f"{key}.json"
    if (fit := read_record(record)) is None:
        loaded = build()[1]
        fit = {"notes": list(loaded.notes), "classifier": loaded.classifier}
        write_record(record, fit)
    identity = replace(
        shell.identity,
        uri=uri,
        classes=shell.identity.classes if fit["classifier"] else 0,
        licence="not stated",
        revision="",
        sha256=sha256_json([digest, part]) if part else digest,
        trained_on=f"not stated (weights in {path.name})",
        arch=arch,
        notes=tuple(fit["notes"]),
    )
    return with_build(shell, identity, lambda: build()[0])


def _digest(path: Path) -> str:
    """Return the sha256 of a checkpoint: of its file, or of those of an index and of the parts that it names."""
    digests = [sha256_file(file) for file in files_of(path)]
    return sha256_json(digests) if len(digests) > 1 else digests[0]


def load_into(shell: TorchSource, path: Path, digest: str, part: str) -> tuple[nn.Module, Loaded]:
    """Return the architecture's module with the weights of `path` in it, and what they brought.

    SourceError: the file is not the one of that sha256 any more, is unsound, or does not fit.
    """
    from headstart.sources.checkpoints.load import classifier_names, load_checkpoint
    from headstart.sources.checkpoints.parts import read_contents
    from headstart.sources.checkpoints.subtree import choose

    arch = parse(shell.info.uri)
    if arch.provider == "keras" and path.suffix in SUFFIXES:
        from headstart.sources.providers.keras import load_file

        return load_file(arch.name, shell.preprocessing.size[0], path)
    body = shell.module()
    expected = {name: tuple(tensor.shape) for name, tensor in body.state_dict().items()}
    checkpoint = choose(read_contents(path), expected, classifier_names(body), part=part, where=str(path))
    if _digest(path) != digest:
        raise SourceError(f"{path} must stay as it is while it is in use", "another file", "open it again")
    return body, load_checkpoint(body, checkpoint, where=str(path))
