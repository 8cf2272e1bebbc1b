"""Opening a source by its URI; a provider's file is imported when it is first asked for."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, cast

from headstart.base.arguments import naming_own_arguments
from headstart.base.errors import UsageError, did_you_mean
from headstart.base.extras import require
from headstart.data.audio.spectrogram import AudioPreprocessing
from headstart.sources.base import Source
from headstart.sources.layers import check_layer
from headstart.sources.uri import (
    ENTRY_POINTS,
    MEAN,
    PROVIDERS,
    Spec,
    check_name,
    innermost,
    members_of,
    parse,
    refuse_long_texts,
    split_part,
)

__all__ = ["PROVIDERS", "WEIGHTS", "open_mean", "open_source", "opens_by_uri"]

WEIGHTS = ("pretrained", "none")
FILE = "file"
SIZED = "keras"
OWN = ("arch", "size")
"""Arguments of `open_source` that belong to one source: a mean cannot be opened with them."""
SHARED = ("seed", "long", "window", "hop")
"""Arguments of `open_source` that a mean passes on to its members."""
READERS = ("packaged", "hf")
"""Providers of networks that read a text up to a limit."""

LEAST_HOP = 0.05
"""Seconds from one window to the next: fewer would run the network hundreds of times a second."""
WINDOWED = ("packaged", "spectrogram", "hf")
"""Providers of networks that read recordings in windows of any length."""

Opener = Callable[..., Source]
"""`open_named(spec, *, weights, seed) -> Source`: what a provider's file, or an entry point, must offer."""


@naming_own_arguments
def open_source(
    uri: str | Source,
    *,
    weights: str | Path = "pretrained",
    layer: str = "auto",
    seed: int = 0,
    arch: str | None = None,
    size: int | None = None,
    long: str = "cut",
    window: float | None = None,
    hop: float | None = None,
) -> Source:
    """Return the source that `uri` names; a Source is returned as it is, set to `layer` unless that is `auto`.

    Args:
        uri: `provider:name[@revision]`, and `@SIDEpx` after it for pictures of another side.
        weights: `pretrained`, `none` for random ones (the control arm), or the path of a released checkpoint of this
            architecture: the same as `file:PATH` with `arch`.
        layer: where `encode` takes features: `auto`, `pool`, `joined`, or names of stages joined by `+`.
        seed: of random weights.
        arch: URI of the architecture of a bare checkpoint, for `file:PATH` alone.
        size: side of the input in pixels, for `keras:NAME` alone, as source or as `arch`; None for the one that it was
            trained for.
        long: what a source of texts makes of those that are longer than it reads: `cut`, or `chunks`: the mean over
            pieces.
        window: of a source of recordings the seconds that it reads at once; None for its own.
        hop: seconds from one window of a longer recording to the next, over which features are averaged; 0 for its
            first window alone, None for one after the other.

    Raises:
        SourceError: no such provider or name, or weights that are missing, damaged or do not fit.
        MissingExtra: a library or weights package is not installed; the message holds the pip command.
        UsageError: no such layer or weights, or an architecture or a size for a source that has its own.
    """
    if isinstance(uri, Source):
        source = uri if layer == "auto" else uri.at(layer)
    else:
        check_source(uri, weights=weights, arch=arch)
        uri = parse(uri).uri
        spec = parse(uri)
        heard = {"long": long, "window": window, "hop": hop}
        if spec.provider == MEAN:
            source = _opener(spec)(spec, **_of_members(spec, weights, arch, size), seed=seed, **heard).at(layer)
        else:
            source = _opened(spec, str(weights), seed=seed, arch=arch, size=size, long=long, window=window)
            source = with_hop(source, window, hop, fixed=spec.provider not in WINDOWED).at(layer)
        opened = {"uri": uri, "weights": str(weights), "layer": layer, "seed": seed, "arch": arch}
        opened |= {"size": size} if size is not None else {}
        opened |= {name: value for name, value in (("window", window), ("hop", hop)) if value is not None}
        source.opened = opened | ({"long": long} if long != "cut" else {})
    check_layer(source.layer, source.info.layers)
    return source


def check_source(uri: str | None, *, weights: str | Path = "pretrained", arch: str | None = None) -> None:
    """Raise what can be known of a source before it is opened, in an instant: no such name, or a missing library.

    The arguments are those of `open_source`; None stands for the default of the data. SourceError: no source can have
    that name. MissingExtra: a library that the source, its weights or its architecture needs is not installed.
    """
    if arch is not None:
        check_name(arch, "none")
    if uri is not None:
        check_name(uri, str(weights))
        spec = parse(innermost(uri))
        if spec.provider == MEAN:
            for member in members_of(spec):
                check_source(member)
        elif spec.provider in PROVIDERS and PROVIDERS[spec.provider].path and not split_part(spec.name)[0].exists():
            _opener(spec)(spec, weights="pretrained", seed=0)  # which says what is missing, if anything is
    if str(weights) not in WEIGHTS:
        file = PROVIDERS[FILE]
        require(f"weights {weights}", *file.needs, extra=file.extra)
        if not split_part(str(weights))[0].exists():
            raise UsageError(
                f"weights must be {', '.join(WEIGHTS)} or the path of a checkpoint",
                repr(str(weights)),
                f"choose one{did_you_mean(str(weights), WEIGHTS)}",
            )


def with_hop(source: Source, window: float | None, hop: float | None, *, fixed: bool) -> Source:
    """Return a source of recordings that hears them whole, in windows `hop` seconds apart; others as they are.

    `fixed` where its network reads windows of one length.

    UsageError: a window or a hop is asked of a source that has none, or of another length than its network reads.
    """
    preprocessing, uri = source.preprocessing, source.identity.uri
    if not isinstance(preprocessing, AudioPreprocessing):
        if window is not None or hop is not None:
            asked = f"--window {window}" if window is not None else f"--hop {hop}"
            raise UsageError(f"{uri} must read recordings to have windows", asked, "leave it out")
        return source
    own = preprocessing.spectrogram.seconds
    if fixed and window is not None and abs(window - own) > LEAST_HOP:
        raise UsageError(f"{uri} must be given windows of {own:g} s", f"--window {window:g}", "leave it out")
    if hop and hop < LEAST_HOP:
        raise UsageError(f"--hop must be 0 or at least {LEAST_HOP:g} s", f"{hop:g}", "give a larger number")
    source.preprocessing = replace(preprocessing, hop=(preprocessing.hop or own) if hop is None else float(hop))
    return source


def opens_by_uri(source: Source) -> bool:
    """Return whether a URI opens the source, but for how its examples are read: it can then be a member of a mean."""
    opened = source.opened
    return opened is not None and opened["weights"] == "pretrained" and all(opened.get(name) is None for name in OWN)


def open_mean(uris: Sequence[str], opened: Mapping[str, Any]) -> Source:
    """Return the mean of the sources at `uris`, whose examples are read as those of the source that was so `opened`."""
    return open_source(f"{MEAN}:{'+'.join(uris)}", **{name: opened[name] for name in SHARED if name in opened})


def _of_members(spec: Spec, weights: str | Path, arch: str | None, size: int | None) -> dict[str, Any]:
    """Return the weights of every member; UsageError where something is asked for that belongs to one source."""
    if str(weights) not in WEIGHTS or arch is not None or size is not None:
        what = "weights, an architecture and a size must belong to one source"
        raise UsageError(what, spec.uri, "leave them out, or name the source")
    return {"weights": str(weights)}


def _opened(
    spec: Spec, weights: str, *, seed: int, arch: str | None, size: int | None, long: str, window: float | None
) -> Source:
    sized: dict[str, Any] = {"window": window} if window is not None and spec.provider in WINDOWED else {}
    builds = (parse(arch) if arch else spec).provider == SIZED
    if size is not None:
        if not builds or spec.side is not None:
            remedy = f"leave it out, or name {SIZED}:NAME" if spec.side else f"write {spec.uri}@{size}px"
            raise UsageError(f"{spec.uri} has a size of its own", f"size {size}", remedy)
        sized = {"size": size}
    elif builds and spec.side is not None:
        sized = {"size": spec.side}
    if long != "cut":
        if spec.provider not in READERS:
            refuse_long_texts(spec, long)
        sized |= {"long": long}
    if weights not in WEIGHTS:
        if spec.provider == FILE:
            raise UsageError(f"{spec.uri} names its weights itself", f"weights {weights!r}", "give one of the two")
        spec, arch, weights = Spec(FILE, weights), spec.uri, "pretrained"
    if spec.provider == FILE:
        sized["arch"] = arch
    elif arch is not None:
        raise UsageError(
            f"{spec.uri} has an architecture of its own", f"arch {arch!r}", f"leave it out, or name {FILE}:PATH"
        )
    source = _opener(spec)(spec, weights=weights, seed=seed, **sized)
    return source if builds or spec.side is None else source.at_side(spec.side)


def _opener(spec: Spec) -> Opener:
    if spec.provider not in PROVIDERS:
        (point,) = entry_points(group=ENTRY_POINTS, name=spec.provider)
        return cast(Opener, point.load())
    module = PROVIDERS[spec.provider].module
    return cast(Opener, importlib.import_module(f"headstart.sources.providers.{module}").open_named)
