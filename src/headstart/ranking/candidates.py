"""The candidates of a ranking: sources that are here and read such data, opened, each at its layers, with its cost."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import prod

from headstart.base.errors import SourceError, UsageError
from headstart.data.dataset import Dataset
from headstart.data.modality import MODALITIES
from headstart.ranking.options import RankOptions
from headstart.run.prepare import source_for
from headstart.sources.base import Source
from headstart.sources.layers import AUTO, check_layer
from headstart.sources.registry import open_source, opens_by_uri
from headstart.sources.uri import MIRRORED, parse

SIDE = 224
"""Pixels of a side, by which the cost of a network of pictures is stated."""
LARGER, LEAST_SHARE = 320, 0.7
"""Pixels of a side at which a network for smaller photos is tried too, and the share of it that these have at least."""


@dataclass(frozen=True)
class CandidateSource:
    """A source that is ranked, and the layers at which its features are taken in one extraction."""

    source: Source
    layers: tuple[str, ...]

    @property
    def uri(self) -> str:
        """How the source is named."""
        return self.source.info.uri

    @property
    def cost(self) -> float:
        """What a prediction costs, as it is stated and not timed: weights, times pixels over those of 224 x 224, views.

        A stated cost is the same on every machine and in every run, so that what is recommended is.
        """
        return sum(_cost(member) for member in self.source.members or (self.source,))

    @property
    def has_uri(self) -> bool:
        """Whether a URI alone opens the source at every layer that `auto` chooses from, as a bundle must."""
        source = self.source
        return opens_by_uri(source) and source.base is None and source.layer == AUTO and not source.members

    def variants(self) -> list[CandidateSource]:
        """Return the same network for larger photos, and seen from both sides, as far as there are such candidates."""
        if self.source.kind != "image" or self.source.views > 1 or not self.has_uri:
            return []
        opened = self.source.opened or {}
        own = self.source.info.input["size"][0]
        larger = (
            [f"{opened['uri']}@{LARGER}px"]
            if LEAST_SHARE * LARGER <= own < LARGER and not parse(opened["uri"]).side
            else []
        )
        variants = []
        for uri in (*larger, f"{MIRRORED}:{opened['uri']}"):
            with suppress(UsageError):
                variants += _at_layers(open_source(uri, seed=opened["seed"]), None)
        return variants


def _cost(source: Source) -> float:
    sides = source.info.input.get("size")
    return source.info.parameters * source.views * (prod(sides) / SIDE**2 if sides else 1.0)


@dataclass(frozen=True)
class Failure:
    """A source that could not be ranked."""

    uri: str
    reason: str  # in one line


def open_candidates(
    dataset: Dataset, options: RankOptions, *, trainable: bool = False
) -> tuple[list[CandidateSource], list[Failure]]:
    """Open every source that is to be ranked, the cheapest first; those that cannot be are told with their reason.

    Where they are to be `trainable`, a source that only computes is none of them.

    UsageError: none is left; for one source alone, what is wrong with it.
    """
    opened: list[CandidateSource] = []
    failures: list[Failure] = []
    for source in options.sources if options.sources is not None else usable_here(dataset):
        uri = source if isinstance(source, str) else source.info.uri
        try:
            own = source_for(dataset, options.fitting.changed(source=source))
            if trainable and own.as_trainable(tuple, tuple) is None:
                raise SourceError("a source to train must be a network", f"{uri}, which only computes", "name another")
            opened += _at_layers(own, options.layer)
        except UsageError as error:
            if options.sources is not None and len(options.sources) == 1:
                raise
            failures.append(Failure(uri, str(error)))
    if not opened:
        reasons = "; ".join(failure.reason for failure in failures) or "none on this machine"
        raise SourceError(f"a source to rank must read {dataset.items}", reasons, "name one with --source")
    return sorted(opened, key=lambda candidate: (candidate.cost, candidate.uri)), failures


def usable_here(dataset: Dataset) -> list[str]:
    """Return the URIs of every source that is on this machine and reads such data."""
    from headstart.sources.catalogue import listing

    kind = dataset.kind
    uris = [row.uri for row in listing() if row.info is not None and row.info.kind == kind]
    pictures = MODALITIES["image"].default_source
    return [*uris, f"spectrogram:{pictures}"] if kind == "sound" else uris


def _at_layers(source: Source, layers: Sequence[str] | None) -> list[CandidateSource]:
    """Return a source at its layers: those of its standard blocks in one extraction, any other in one of its own."""
    if layers is None and source.layer != AUTO:
        layers = (source.layer,)
    if layers is None:
        return [CandidateSource(source, tuple(name for name in source.auto_layers if name in source.info.layers))]
    for layer in layers:
        check_layer(layer, source.info.layers)
    extra = {tap.name for tap in source.more}
    own = [layer for layer in layers if extra & set(layer.split("+"))]
    standard = tuple(layer for layer in layers if layer not in own)
    return [
        *([CandidateSource(source.at(AUTO), standard)] if standard else []),
        *(CandidateSource(source.at(layer), (layer,)) for layer in own),
    ]
