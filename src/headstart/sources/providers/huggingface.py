"""Networks of the Hugging Face hub: timm's and transformers' image models, built here; no code of a repository runs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Literal

from headstart.base.errors import SourceError, did_you_mean, missing_extra
from headstart.base.hashing import sha256_json
from headstart.engines.environment import set_passive_omp_wait
from headstart.sources.architecture import Architecture, remembered
from headstart.sources.base import Identity, Source
from headstart.sources.hub.repository import SMALL, HubFile, Repository, endpoint
from headstart.sources.hub.weights import PICKLED, read_state
from headstart.sources.networks.source import TorchSource, build_seeded, source_of
from headstart.sources.providers.huggingface_text import FAMILIES as TEXT_FAMILIES
from headstart.sources.providers.huggingface_text import open_text
from headstart.sources.uri import Spec, refuse_long_texts

if TYPE_CHECKING:
    from torch import nn

CONFIG, PROCESSOR, CARD = "config.json", "preprocessor_config.json", "README.md"
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
CODE = ("auto_map", "trust_remote_code", "custom_pipelines")
FAMILIES = (
    "vit", "deit", "dinov2", "dinov2_with_registers", "beit", "swin", "swinv2", "convnext", "convnextv2", "resnet",
    "regnet", "mobilenet_v2", "clip", "clip_vision_model", "siglip", "siglip_vision_model",
)  # fmt: skip
"""What `transformers_image` knows how to pool."""
OTHER_KINDS = {
    "text": ("vocab_size", "text_config", "n_vocab", "d_ff"),
    "sound": ("num_mel_bins", "conv_kernel", "feat_extract_norm"),
}
"""Keys by which the settings of a network for another kind of data are told."""


@dataclass(frozen=True)
class HubModel:
    """What a repository holds, before any weight is read.

    Attributes:
        repository: the repository, at one commit.
        config: its settings.
        timm: whether they are timm's; transformers' otherwise.
        processor: the settings of its preprocessing; empty for timm's, which has them in `config`, and for texts.
        text: whether it reads texts.
    """

    repository: Repository
    config: dict[str, Any]
    timm: bool
    processor: dict[str, Any]
    text: bool = False

    @property
    def key(self) -> dict[str, Any]:
        """What the architecture depends on: every setting, and the library that gives it meaning."""
        library = "timm" if self.timm else "transformers"
        return {"library": library, "version": version(library), "config": self.config, "processor": self.processor}


def open_named(spec: Spec, *, weights: str, seed: int, long: Literal["cut", "chunks"] = "cut") -> Source:
    """Return the network `ORG/NAME` of the hub, for pictures or texts, with its weights or random ones.

    Its weights are fetched, checked and loaded here, every one of the body's; the name of the branch is resolved to a
    commit, which `info.revision` states.

    Raises:
        SourceError: no such name or revision, it cannot be had, it needs code of its own, it is no network for
            pictures or texts, or its weights do not fit it.
        MissingExtra: transformers is not installed.
    """
    repository = Repository(spec.name, spec.revision, uri=spec.uri)
    model = read_model(repository)
    if not model.timm:
        check_library(spec.uri)
    name = model.config.get("architecture") if model.timm else model.config["model_type"]
    identity = Identity(spec.uri, f"{name} {sha256_json(model.key)[:16]}", parameters=0)
    if not model.text:
        refuse_long_texts(spec, long)
    if weights == "none":
        files, identity = [], identity.as_random(seed, library=model.key["library"])
    else:
        files = find_weights(repository)
        digests = [file.sha256 for file in files]
        licence, trained_on = read_card(repository)
        identity = replace(
            identity,
            licence=licence,
            trained_on=trained_on,
            revision=repository.commit,
            sha256=digests[0] if len(digests) == 1 else sha256_json(digests),
            notes=tuple(repository.notes),
        )
    if model.text:
        return open_text(model.config, repository, files, identity, seed=seed, long=long)
    return _image_source(model, identity, files, seed=seed)


def read_model(repository: Repository) -> HubModel:
    """Return the settings of a repository.

    Raises:
        SourceError: they are damaged, need code of the repository, or are those of no network for pictures.
    """
    config = read_settings(repository.get(CONFIG, limit=SMALL), repository.uri)
    if "architecture" in config and "model_type" not in config:
        return HubModel(repository, config, timm=True, processor={})
    check_family(config, repository.uri)
    if config["model_type"] in TEXT_FAMILIES:
        return HubModel(repository, config, timm=False, processor={}, text=True)
    processor = read_settings(repository.get(PROCESSOR, limit=SMALL), repository.uri)
    return HubModel(repository, config, timm=False, processor=processor)


def check_library(uri: str) -> None:
    """Raise MissingExtra, before anything large is fetched, unless transformers is installed; it is not imported."""
    try:
        version("transformers")
    except PackageNotFoundError as error:
        raise missing_extra(uri, "transformers", extra="huggingface") from error


def read_settings(file: HubFile, uri: str) -> dict[str, Any]:
    """Return a JSON file of settings.

    Raises:
        SourceError: it is damaged, or names code of the repository, which is never run.
    """
    try:
        settings = json.loads(file.path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{file.path} must be JSON", error, "name another source") from error
    if not isinstance(settings, dict):
        raise SourceError(f"{file.path} must hold settings by name", type(settings).__name__, "name another source")
    if code := next((name for name in CODE if settings.get(name)), None):
        raise SourceError(
            f"{uri} must be built without code of its own, which is never run",
            f"{code} in {file.path.name}",
            "name a network of a family that transformers or timm carries itself",
        )
    return settings


def check_family(config: Mapping[str, Any], uri: str) -> None:
    """Raise SourceError unless the settings are of a family that is known here, for pictures or texts."""
    family = config.get("model_type")
    if family in (*FAMILIES, *TEXT_FAMILIES):
        if config.get("quantization_config"):
            raise SourceError(f"{uri} must have plain weights", "quantised ones", "name the network they are of")
        return
    shown = f"{family!r} ({', '.join(map(str, config.get('architectures') or ['no architecture named']))})"
    for kind, keys in OTHER_KINDS.items():
        if any(key in config for key in keys):
            raise SourceError(
                f"{uri} must be a source for images, or for texts among {', '.join(TEXT_FAMILIES)}",
                f"one for {kind}, {shown}",
                "name another",
            )
    raise SourceError(
        f"{uri} must be of timm or of a family among {', '.join(FAMILIES)}",
        shown,
        f"name another{did_you_mean(str(family), FAMILIES)}",
    )


def find_weights(repository: Repository) -> list[HubFile]:
    """Return the weights files: safetensors, whole or in parts; a pickle only where there are none.

    Raises:
        SourceError: there are none, or the list of parts is damaged or leads out of the repository.
    """
    if whole := repository.find(WEIGHTS, needed=False):
        return [whole]
    if index := repository.find(INDEX, limit=SMALL, needed=False):
        parts = read_settings(index, repository.uri).get("weight_map")
        if not isinstance(parts, dict) or not all(isinstance(part, str) for part in parts.values()):
            raise SourceError(
                f"{index.path} must list the parts of the weights", "no weight_map", "name another source"
            )
        return [repository.get(part) for part in sorted(set(parts.values()))]
    if pickled := repository.find(PICKLED, needed=False):
        return [pickled]
    if missing := repository.find(WEIGHTS):  # offline, with none of them in the cache, this says what to fetch
        return [missing]
    raise SourceError(
        f"{repository.uri} must hold {WEIGHTS}, its parts or {PICKLED}", "none of them", "use weights none"
    )


def read_card(repository: Repository) -> tuple[str, str]:
    """Return the licence and the training data that the model card states, each in one phrase."""
    page = f"{endpoint()}/{repository.name}"
    card = repository.find(CARD, limit=SMALL, needed=False)
    text = card.path.read_text("utf-8", "replace") if card else ""
    front = re.match(r"---\s*\n(.*?)\n---", text, re.DOTALL)
    head = front[1] if front else ""
    licence = re.search(r"^license:\s*['\"]?([\w.-]+)", head, re.MULTILINE)
    listed = re.search(r"^datasets:[ \t]*((?:\n[ \t]*- .+)+)", head, re.MULTILINE)
    data = ", ".join(line.strip(" -\t'\"") for line in listed[1].strip().splitlines()) if listed else "not stated"
    return licence[1] if licence else "not stated", f"{data} ({page})"


def _image_source(model: HubModel, identity: Identity, files: Sequence[HubFile], *, seed: int) -> TorchSource:
    """Return the source; what its network looks like is found once, by building it, and remembered.

    Args:
        model: what the repository holds.
        identity: all that is known of it without its network.
        files: of its weights; none for random ones.
        seed: of random weights.
    """
    build = cache(lambda: _build(model, files, seed))
    key = {**model.key, "weights": identity.sha256 if files else None}
    architecture = remembered(key, lambda: _inspect(model, *build()))
    identity = replace(
        identity,
        parameters=architecture.parameters,
        classes=architecture.classes,
        notes=(*identity.notes, *architecture.notes),
    )
    return source_of(identity, architecture, lambda: build()[0])


def _inspect(model: HubModel, body: nn.Module, notes: tuple[str, ...]) -> Architecture:
    if model.timm:
        from headstart.sources.providers.timm import inspect_timm

        architecture = inspect_timm(body)
        classes = 0 if any("features only" in note for note in notes) else architecture.classes
        return replace(architecture, classes=classes, notes=notes)
    from headstart.sources.networks.transformers_image import inspect_transformers

    return replace(inspect_transformers(body, model.processor, model.repository.uri), notes=notes)


def _build(model: HubModel, files: Sequence[HubFile], seed: int) -> tuple[nn.Module, tuple[str, ...]]:
    """Return the network with the weights in `files`, or random ones, and what must be told of it."""
    set_passive_omp_wait()
    state = read_state(files) if files else None
    where = str(files[0].path) if files else ""

    def build() -> tuple[nn.Module, tuple[str, ...]]:
        if model.timm:
            from headstart.sources.providers.timm import build_configured

            return build_configured(model.config, state, where=where)
        from headstart.sources.networks.transformers_image import build_classifier

        return build_classifier(model.config, state, where=where)

    return build_seeded(build, 0 if files else seed)
