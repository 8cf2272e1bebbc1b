"""Networks of the Hugging Face hub: timm's and transformers' image models, built here; no code of a repository runs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from headstart.base.checks import did_you_mean
from headstart.base.errors import MissingExtra, SourceError
from headstart.base.hashing import sha256_json
from headstart.engines.environment import set_passive_omp_wait
from headstart.sources.architecture import Architecture, remembered
from headstart.sources.base import Identity, Source
from headstart.sources.hub.repository import SMALL, HubFile, Repository, endpoint
from headstart.sources.hub.weights import PICKLED, read_state
from headstart.sources.networks.source import TorchSource
from headstart.sources.providers.huggingface_text import FAMILIES as TEXT_FAMILIES
from headstart.sources.providers.huggingface_text import open_text
from headstart.sources.uri import Spec

if TYPE_CHECKING:
    from torch import Tensor, nn

CONFIG, PROCESSOR, CARD = "config.json", "preprocessor_config.json", "README.md"
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
CODE = ("auto_map", "trust_remote_code", "custom_pipelines")
FAMILIES = (
    "vit", "deit", "dinov2", "dinov2_with_registers", "beit", "swin", "swinv2", "convnext", "convnextv2", "resnet",
    "regnet", "mobilenet_v2", "clip", "clip_vision_model", "siglip", "siglip_vision_model",
)  # fmt: skip
"""What `transformers_body` knows how to pool."""
OTHER_KINDS = {
    "text": ("vocab_size", "text_config", "n_vocab", "d_ff"),
    "sound": ("num_mel_bins", "conv_kernel", "feat_extract_norm"),
}
"""Keys by which the settings of a network for another kind of data are told."""


@dataclass(frozen=True)
class Opened:
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


def open_named(spec: Spec, *, weights: str, seed: int, **reading: Any) -> Source:
    """Return the network `ORG/NAME` of the hub, for pictures or texts, with its weights or random ones.

    Its weights are fetched, checked and loaded here, every one of the body's; the name of the branch is resolved to a
    commit, which `info.revision` states.

    Raises:
        SourceError: no such name or revision, it cannot be had, it needs code of its own, it is no network for
            pictures or texts, or its weights do not fit it.
        MissingExtra: transformers is not installed.
    """
    opened = open_repository(Repository(spec.name, spec.revision, asked_for=spec.uri))
    if not opened.timm:
        check_library(spec.uri)
    named = opened.config.get("architecture") if opened.timm else opened.config["model_type"]
    identity = Identity(spec.uri, f"{named} {sha256_json(opened.key)[:16]}", parameters=0)
    if opened.text:
        return _text_source(opened, identity, weights, seed=seed, **reading)
    if reading:
        raise SourceError(
            f"{spec.uri} must read texts, piece by piece", f"--long-texts {reading['long']}", "leave --long-texts out"
        )
    if weights == "none":
        identity = identity.as_random(seed, library=opened.key["library"])
        return _source(opened, identity, None, lambda: _made(opened, seed)[0])
    files = find_weights(opened.repository)
    digests = [file.sha256 for file in files]
    licence, trained_on = read_card(opened.repository)
    identity = replace(
        identity,
        licence=licence,
        trained_on=trained_on,
        revision=opened.repository.commit,
        sha256=digests[0] if len(digests) == 1 else sha256_json(digests),
        notes=tuple(opened.repository.notes),
    )
    loaded = cache(lambda: _loaded(opened, files))
    return _source(opened, identity, lambda: loaded()[1], lambda: loaded()[0])


def _text_source(opened: Opened, identity: Identity, weights: str, *, seed: int, **reading: Any) -> Source:
    """Return a source of texts."""
    repository = opened.repository
    if weights == "none":
        return open_text(opened.config, repository, None, identity, seed=seed, **reading)
    files = tuple(find_weights(repository))
    digests = [file.sha256 for file in files]
    licence, trained_on = read_card(repository)
    identity = replace(
        identity,
        licence=licence,
        trained_on=trained_on,
        revision=repository.commit,
        sha256=digests[0] if len(digests) == 1 else sha256_json(digests),
    )
    found = open_text(opened.config, repository, files, identity, seed=seed, **reading)
    found.identity = replace(found.identity, notes=tuple(repository.notes))
    return found


def open_repository(repository: Repository) -> Opened:
    """Return the settings of a repository.

    Raises:
        SourceError: they are damaged, need code of the repository, or are those of no network for pictures.
    """
    config = read_settings(repository.get(CONFIG, limit=SMALL), repository.asked_for)
    timm = "architecture" in config and "model_type" not in config
    if timm:
        return Opened(repository, config, timm, {})
    check_family(config, repository.asked_for)
    if config["model_type"] in TEXT_FAMILIES:
        return Opened(repository, config, timm, {}, text=True)
    processor = read_settings(repository.get(PROCESSOR, limit=SMALL), repository.asked_for)
    return Opened(repository, config, timm, processor)


def check_library(asked_for: str) -> None:
    """Raise MissingExtra, before anything large is fetched, unless transformers is installed; it is not imported."""
    try:
        version("transformers")
    except PackageNotFoundError as error:
        raise MissingExtra(
            f"{asked_for} needs the package 'transformers'",
            "it is not installed",
            "run: pip install 'headstart[huggingface]'",
        ) from error


def read_settings(file: HubFile, asked_for: str) -> dict[str, Any]:
    """Return a JSON file of settings.

    Raises:
        SourceError: it is damaged, or names code of the repository, which is never run.
    """
    try:
        held = json.loads(file.path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{file.path} must be JSON", error, "name another source") from error
    if not isinstance(held, dict):
        raise SourceError(f"{file.path} must hold settings by name", type(held).__name__, "name another source")
    if code := next((name for name in CODE if held.get(name)), None):
        raise SourceError(
            f"{asked_for} must be built without code of its own, which is never run",
            f"{code} in {file.path.name}",
            "name a network of a family that transformers or timm carries itself",
        )
    return held


def check_family(config: Mapping[str, Any], asked_for: str) -> None:
    """Raise SourceError unless the settings are of a family that is known here, for pictures or texts."""
    family = config.get("model_type")
    if family in (*FAMILIES, *TEXT_FAMILIES):
        if config.get("quantization_config"):
            raise SourceError(f"{asked_for} must have plain weights", "quantised ones", "name the network they are of")
        return
    shown = f"{family!r} ({', '.join(map(str, config.get('architectures') or ['no architecture named']))})"
    for kind, keys in OTHER_KINDS.items():
        if any(key in config for key in keys):
            raise SourceError(
                f"{asked_for} must be a source for images, or for texts among {', '.join(TEXT_FAMILIES)}",
                f"one for {kind}, {shown}",
                "name another",
            )
    raise SourceError(
        f"{asked_for} must be of timm or of a family among {', '.join(FAMILIES)}",
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
        parts = read_settings(index, repository.asked_for).get("weight_map")
        if not isinstance(parts, dict) or not all(isinstance(part, str) for part in parts.values()):
            raise SourceError(
                f"{index.path} must list the parts of the weights", "no weight_map", "name another source"
            )
        return [repository.get(part) for part in sorted(set(parts.values()))]
    if pickled := repository.find(PICKLED, needed=False):
        return [pickled]
    if found := repository.find(WEIGHTS):  # offline, with none of them in the cache, this says what to fetch
        return [found]
    raise SourceError(
        f"{repository.asked_for} must hold {WEIGHTS}, its parts or {PICKLED}", "none of them", "use weights none"
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


def _source(
    opened: Opened, identity: Identity, notes: Callable[[], tuple[str, ...]] | None, build: Callable[[], nn.Module]
) -> TorchSource:
    """Return the source; what its network looks like is found once, by building it, and remembered."""
    key = {**opened.key, "weights": identity.sha256 if notes else None}
    anatomy = remembered(key, lambda: _looked(opened, build(), notes() if notes else ()))
    identity = replace(
        identity,
        parameters=anatomy.parameters,
        classes=anatomy.classes,
        notes=(*identity.notes, *anatomy.notes),
    )
    return TorchSource(identity, anatomy.preprocessing, anatomy.taps, build, more=anatomy.more)


def _looked(opened: Opened, body: nn.Module, notes: tuple[str, ...]) -> Architecture:
    if opened.timm:
        from headstart.sources.providers.timm import inspect

        found = inspect(body)
        classes = 0 if any("features only" in note for note in notes) else found.classes
        return replace(found, classes=classes, notes=notes)
    from headstart.sources.networks.transformers_image import inspect as look_at

    return replace(look_at(body, opened.processor, opened.repository.asked_for), notes=notes)


def _loaded(opened: Opened, files: list[HubFile]) -> tuple[nn.Module, tuple[str, ...]]:
    """Return the network with the weights of `files`, and what its user must be told."""
    from headstart.sources.checkpoints.checks import check_finite

    set_passive_omp_wait()
    state = read_state(files)
    check_finite(state, where=str(files[0].path))
    return _made(opened, 0, state, where=str(files[0].path))


def _made(
    opened: Opened, seed: int, state: dict[str, Tensor] | None = None, *, where: str = ""
) -> tuple[nn.Module, tuple[str, ...]]:
    """Return the network with the weights in `state`, or random ones drawn from `seed`, and what must be told of it."""
    set_passive_omp_wait()
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if opened.timm:
            from headstart.sources.providers.timm import build_configured

            return build_configured(opened.config, state, where=where)
        from headstart.sources.networks.transformers_image import build

        return build(opened.config, state, where=where)
