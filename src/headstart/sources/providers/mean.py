"""`mean:URI+URI`: two or three sources whose heads are averaged, which is one linear head on the features of all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from headstart.base.errors import SourceError
from headstart.base.hashing import sha256_json
from headstart.engines.base import Block, Network
from headstart.sources.base import Identity, Source
from headstart.sources.layers import MEMBER, POOL
from headstart.sources.registry import open_source
from headstart.sources.uri import MEAN, SEVERAL, SIMPLE, Spec, members_of, parse

if TYPE_CHECKING:
    import torch


class MeanSource(Source):
    """Two or three sources of one kind of examples, whose standard blocks of features stand side by side.

    The blocks of the first are named `1/pool` and so on. Each member has its own preprocessing, network and cache.

    Args:
        members: the sources, opened.

    Raises:
        SourceError: the members read examples of several kinds.
    """

    def __init__(self, members: Sequence[Source]) -> None:
        uris = [member.identity.uri for member in members]
        kinds = dict.fromkeys(member.kind for member in members)
        if len(kinds) > 1:
            reads = ", ".join(f"{uri} ({member.kind})" for uri, member in zip(uris, members, strict=True))
            raise SourceError("the members of a mean must read the same kind of examples", reads, "name such ones")

        def joined(name: str, by: str = SEVERAL) -> str:
            return by.join(dict.fromkeys(str(getattr(member.identity, name)) for member in members))

        identity = Identity(
            uri=f"{MEAN}:{'+'.join(uris)}",
            architecture=joined("architecture", " and "),
            parameters=sum(member.identity.parameters for member in members),
            licence=joined("licence"),
            revision=SEVERAL.join(member.identity.revision for member in members),
            sha256=sha256_json([[each.identity.sha256, asdict(each.preprocessing)] for each in members]),
            trained_on=joined("trained_on"),
            notes=tuple(dict.fromkeys(note for member in members for note in member.identity.notes)),
        )
        numbered = [(f"{number}{MEMBER}", member) for number, member in enumerate(members, 1)]
        taps = [replace(tap, name=f"{start}{tap.name}") for start, member in numbered for tap in member.taps]
        super().__init__(identity, members[0].preprocessing, taps)
        self.members = tuple(members)
        self.auto_layers = tuple(
            f"{start}{layer}"
            for start, member in numbered
            for layer in member.auto_layers
            if layer in member.info.layers
        )
        self.plain_layer = ",".join(f"{start}{POOL}" for start, _ in numbered)

    def network(self) -> Network:
        """Return the blocks of all members; each computes its own, see `encode` and `features.extract`."""
        networks = [member.network() for member in self.members]
        return Network(
            fingerprint=sha256_json([network.fingerprint for network in networks]),
            input_shape=networks[0].input_shape,
            blocks=tuple(tap.block for tap in self.taps),
            module=self._refuse,
        )

    def module(self) -> torch.nn.Module:
        """Raise SourceError: there are several."""
        self._refuse()

    def compute(self, items: Sequence[Any]) -> tuple[NDArray[np.float32], tuple[Block, ...]]:
        """Return all blocks of all members, as `Source.compute` does of one network."""
        return np.hstack([member.compute(items)[0] for member in self.members]), self.network().blocks

    def _refuse(self) -> NoReturn:
        raise SourceError(f"{self.identity.uri} must be one network to be tuned", "several", "name one of its members")


def open_named(spec: Spec, *, weights: str, seed: int, **options: Any) -> MeanSource:
    """Return the members that the name of `spec` holds the URIs of, as one source.

    `options` are those of `open_source` that say how texts and recordings are read. A member that is no network reads
    photos and recordings as the first of the networks does: its numbers are then those of the simple baseline.

    Raises:
        SourceError: a member is unknown, comes twice, or reads another kind of examples than the first.
    """
    simple = [parse(uri).provider == SIMPLE for uri in members_of(spec)]
    members = [
        open_source(uri, weights=weights, seed=seed, **({} if plain else options))
        for uri, plain in zip(members_of(spec), simple, strict=True)
    ]
    first = next((member for member, plain in zip(members, simple, strict=True) if not plain), members[0])
    for member, plain in zip(members, simple, strict=True):
        if plain and member.kind == first.kind != "text":
            member.preprocessing = first.preprocessing
    return MeanSource(members)
