"""A source: a pretrained network with its own preprocessing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.dataset import Kind
from headstart.data.images import Preprocessing
from headstart.engines.base import Network

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class SourceInfo:
    """What a source is.

    Attributes:
        uri: `provider:name[@revision]`.
        kind: what it reads.
        parameters: number of weights, without the classifier that is not used.
        feature_size: width of the `pool` layer.
        input: its preprocessing as plain values.
        layers: names that `layer=` accepts.
        licence: of the weights.
        revision: the resolved commit or package version.
        sha256: of the weights.
        trained_on: task and data it was trained on.
    """

    uri: str
    kind: Kind
    parameters: int
    feature_size: int
    input: dict[str, Any]
    layers: tuple[str, ...]
    licence: str
    revision: str
    sha256: str
    trained_on: str

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, ready for JSON."""
        return asdict(self)


class Source(ABC):
    """A pretrained network, opened by `open_source`."""

    info: SourceInfo
    preprocessing: Preprocessing

    @abstractmethod
    def network(self) -> Network:
        """Return the network that yields every block of features in one pass."""

    @abstractmethod
    def module(self) -> torch.nn.Module:
        """Return the torch module with its weights loaded (what tuning changes)."""

    def prepare(self, data: bytes) -> NDArray[np.uint8]:
        """Return one example, ready for the network, from the bytes of its file.

        Raises:
            Unusable: the bytes are no accepted picture, or a broken one.
        """
        from headstart.data.images import decode

        return decode(data, self.preprocessing)
