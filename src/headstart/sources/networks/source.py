"""What the providers with a torch network share: one pass for all blocks, and the network's own classifier."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.hashing import sha256_json
from headstart.data.audio.spectrogram import AudioPreprocessing
from headstart.data.images.preprocessing import Preprocessing
from headstart.data.modality import Kind
from headstart.engines.base import Network
from headstart.engines.environment import set_passive_omp_wait
from headstart.sources.base import RECIPE, Source, SourceInfo
from headstart.sources.layers import layer_names
from headstart.sources.taps import Tap

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Identity:
    """What tells one set of weights from another, known without torch.

    Attributes:
        uri: `provider:name[@revision]`.
        architecture: the network's name in timm, or what builds it.
        parameters: number of weights, without the classifier.
        classes: how many classes its own classifier has; 0 for none.
        licence: of the weights.
        revision: the resolved commit or package version.
        sha256: of the weights file; for random weights, of how they are drawn.
        trained_on: task and data it was trained on.
        kind: what it reads.
        arch: URI of the architecture, for a bare checkpoint; empty otherwise.
        notes: what its user must be told, one line each.
    """

    uri: str
    architecture: str
    parameters: int
    classes: int
    licence: str
    revision: str
    sha256: str
    trained_on: str
    kind: Kind = "image"
    arch: str = ""
    notes: tuple[str, ...] = ()


def as_random(identity: Identity, seed: int, *, library: str) -> Identity:
    """Return the identity of the same network with random weights: how they are drawn stands for their bytes.

    Args:
        identity: of the network with its trained weights.
        seed: what they are drawn from.
        library: the package that draws them, together with torch.
    """
    drawn = {name: version(name) for name in ("torch", library)}
    return replace(
        identity,
        licence="none (random weights)",
        revision=f"seed {seed}",
        sha256=sha256_json({"random": identity.architecture, "seed": seed, **drawn}),
        trained_on=f"nothing (random weights, seed {seed})",
    )


class TorchSource(Source):
    """A source whose network is a torch module; torch is imported when the module is first asked for.

    Args:
        identity: what it is.
        preprocessing: how it wants its pictures; or its recordings, where it is `AudioPreprocessing`.
        taps: where its blocks are taken, `pool` first.
        more: taps that are taken only where a layer names them: early stages, and `flatten`.
        build: returns the module with its weights loaded, in inference mode; imports torch.
    """

    preprocessing: Preprocessing
    rates: Mapping[str, float] | None = None
    """The full learning rate of each mode of tuning, where it is not that of other networks of pictures."""

    def __init__(
        self,
        identity: Identity,
        preprocessing: Preprocessing,
        taps: Sequence[Tap],
        build: Callable[[], nn.Module],
        *,
        more: Sequence[Tap] = (),
    ) -> None:
        self.identity, self.preprocessing = identity, preprocessing
        self.taps, self.more = tuple(taps), tuple(more)
        self._build = Once(build)
        self.info = SourceInfo(
            uri=identity.uri,
            kind="sound" if isinstance(preprocessing, AudioPreprocessing) else identity.kind,
            parameters=identity.parameters,
            feature_size=self.taps[0].width,
            input=asdict(preprocessing),
            layers=(*layer_names([tap.name for tap in self.taps]), *(tap.name for tap in self.more)),
            licence=identity.licence,
            revision=identity.revision,
            sha256=identity.sha256,
            trained_on=identity.trained_on,
            arch=identity.arch,
            notes=identity.notes,
        )

    @property
    def all_taps(self) -> tuple[Tap, ...]:
        """Every tap that a layer can name."""
        return (*self.taps, *self.more)

    @property
    def stages(self) -> tuple[str, ...]:
        """The parts of the module whose output is a stage's, in torch's dotted form."""
        return tuple(dict.fromkeys(tap.module for tap in self.all_taps if tap.module))

    @property
    def asked(self) -> tuple[Tap, ...]:
        """The taps that the network yields: the standard ones, or those that the layer names where one is not."""
        known = {tap.name: tap for tap in self.all_taps}
        names = dict.fromkeys(self.layer.split("+"))
        return tuple(known[name] for name in names) if {tap.name for tap in self.more} & names.keys() else self.taps

    @property
    def fingerprint(self) -> str:
        """sha256 over weights, architecture, taps and preprocessing: what the numbers of the network depend on."""
        return sha256_json(
            {
                "recipe": RECIPE,
                "weights": self.identity.sha256,
                "architecture": self.identity.architecture,
                "taps": [asdict(tap) for tap in self.asked],
                "preprocessing": asdict(self.preprocessing),
            }
        )

    def network(self) -> Network:
        """Return the network that yields every standard block in one pass, or those that the layer names."""
        height, width = self.preprocessing.size
        channels = 1 if self.preprocessing.channels == "grey" else 3
        blocks = tuple(tap.block for tap in self.asked)
        return Network(self.fingerprint, (height, width, channels), blocks, self._tapped)

    def module(self) -> nn.Module:
        """Return the torch module with its weights loaded, in inference mode; the same one each time."""
        set_passive_omp_wait()
        return self._build()

    def classify(self, items: Sequence[Any]) -> NDArray[np.float32]:
        """Return the source's own class probabilities, float32 of shape (n, k); see `Source.classify`."""
        if not self.identity.classes:
            return super().classify(items)
        prepared = self.prepare_all(items)
        from headstart.engines.torch import TorchEngine
        from headstart.sources.networks.tapped import Probabilities

        return TorchEngine(Probabilities(self.module(), self.preprocessing)).run(prepared)

    def _tapped(self) -> nn.Module:
        from headstart.sources.networks.tapped import Tapped

        return Tapped(self.module(), self.preprocessing, self.asked).eval()


class Once:
    """The value of a call, made on the first use and shared by copies of its owner."""

    def __init__(self, build: Callable[[], nn.Module]) -> None:
        self._build = build
        self._built: nn.Module | None = None

    def __call__(self) -> nn.Module:
        """Return the value."""
        if self._built is None:
            self._built = self._build()
        return self._built
