"""A source: a pretrained network with its own preprocessing; and its architecture, cached, whatever its weights."""

from __future__ import annotations

import copy
import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from headstart.base.cache import read_record, write_record
from headstart.base.config import cache_dir
from headstart.base.errors import SourceError, UsageError
from headstart.base.extras import require
from headstart.base.hashing import sha256, sha256_json
from headstart.data.audio.decoding import sound_bytes
from headstart.data.audio.spectrogram import AudioPreprocessing
from headstart.data.dataset import BadExample
from headstart.data.images.preprocessing import Preprocessing
from headstart.data.modality import Kind
from headstart.data.text import text_bytes
from headstart.engines.base import Batch, Block, Network, PreparedExample, sample_of, stacked
from headstart.engines.select import PARITY_SAMPLE, open_engine
from headstart.sources.imagenet import IMAGENET_CLASSES, imagenet_classes
from headstart.sources.layers import AUTO, JOINED, POOL, Tap, check_layer, layer_names, select, stages_of

if TYPE_CHECKING:
    import torch


RECIPE = 1
"""Counts up when the same weights, taps and preprocessing come to mean other numbers."""
Weights = Mapping[str, NDArray[Any]]
"""Weights that have changed: arrays by the name of the weight or statistic in the module of the source."""


@dataclass(frozen=True)
class TextPreprocessing:
    """How a source wants its texts."""

    tokenizer: str  # sha256 of what cuts a text into tokens
    limit: int = 0  # how many tokens of a text are read; 0 for all
    long: Literal["cut", "chunks"] = "cut"  # a longer one is cut, or its chunks averaged
    prefix: str = ""  # what is put before each text
    lower: bool = False  # whether it is lower-cased before it is cut into tokens


@dataclass(frozen=True)
class Identity:
    """What tells one set of weights from another, known without torch."""

    uri: str  # `provider:name[@revision]`
    architecture: str  # the network's name in its library, or what builds it
    parameters: int = 0  # number of weights, without the classifier that is not used
    classes: int = 0  # how many classes its own classifier has; 0 for none
    licence: str = "not stated"
    revision: str = ""  # the resolved commit or package version
    sha256: str = ""  # of the weights file; for random weights, of how they are drawn
    trained_on: str = "not stated"  # task and data it was trained on
    arch: str = ""  # URI of the architecture, for a bare checkpoint: what `open_source(uri, arch=…)` needs
    notes: tuple[str, ...] = ()  # what its user must be told, one line each

    def as_random(self, seed: int, *, library: str) -> Identity:
        """Return the identity of the same network with random weights: how they are drawn stands for their bytes.

        `library` is the package that draws them, together with torch. MissingExtra: torch is not installed.
        """
        require(f"{self.uri} with random weights", "torch")
        drawn_by = {name: version(name) for name in ("torch", library)}
        return replace(
            self,
            licence="none (random weights)",
            revision=f"seed {seed}",
            sha256=sha256_json({"random": self.architecture, "seed": seed, **drawn_by}),
            trained_on=f"nothing (random weights, seed {seed})",
        )

    def as_tuned(self, weights: Mapping[str, NDArray[Any]]) -> Identity:
        """Return the identity of the same network with some weights changed by learning on the user's own data."""
        parts = [(name, array.shape, sha256(array.data)) for name, array in sorted(weights.items())]
        return replace(
            self,
            sha256=sha256_json({"base": self.sha256, "tuned": parts}),
            trained_on=f"{self.trained_on}; then tuned",
        )


@dataclass(frozen=True)
class Architecture:
    """What an architecture is, whatever its weights; cached, so that a warm run need not build the network."""

    parameters: int  # number of weights, without the classifier
    classes: int  # how many classes its own classifier has; 0 for none
    preprocessing: Preprocessing
    taps: tuple[Tap, ...]  # where its standard blocks are taken
    more: tuple[Tap, ...] = ()  # where the blocks are taken that only a layer's name asks for
    hub: str = ""  # where its trained weights are: a repository of the Hugging Face hub, or an address; empty for none
    licence: str = ""  # of those weights, as the library states it; empty where it does not
    tag: str = ""  # which of its trained weights the name stands for
    notes: tuple[str, ...] = ()  # what the user of its weights must be told, one line each


def remembered(key: Mapping[str, Any], inspect: Callable[[], Architecture]) -> Architecture:
    """Return the architecture that the cache holds under `key`, or else what `inspect` returns, which is cached.

    `key` is what it depends on: the name, and the versions of the libraries that define it. `inspect` imports torch.
    """
    path = cache_dir() / "sources" / f"{sha256_json({**key, 'recipe': RECIPE, 'anatomy': 2})}.json"
    if (cached := read_record(path)) is not None:
        return architecture_from_json(cached)
    architecture = inspect()
    write_record(path, asdict(architecture))
    return architecture


def architecture_from_json(record: Mapping[str, Any]) -> Architecture:
    """Return the architecture of a record that `asdict` and JSON made."""
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in record["preprocessing"].items()
    }
    plain = {name: value for name, value in record.items() if name not in ("preprocessing", "taps", "more", "notes")}
    taps, more = (tuple(Tap(**tap) for tap in record[name]) for name in ("taps", "more"))
    notes = tuple(record["notes"])
    return Architecture(preprocessing=Preprocessing(**values), taps=taps, more=more, notes=notes, **plain)


@dataclass(frozen=True)
class SourceInfo:
    """What a source is, as `headstart sources URI --json` prints it; what is not named here is as in its `Identity`."""

    uri: str
    kind: Kind  # what it reads
    parameters: int
    feature_size: int  # width of the features of its layer; of `pool`, where the layer is `auto`
    input: dict[str, Any]  # its preprocessing as plain values
    layers: tuple[str, ...]  # names that `layer=` accepts
    licence: str
    revision: str
    sha256: str
    trained_on: str
    arch: str = ""
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, ready for JSON."""
        return asdict(self)


class Source(ABC):
    """A pretrained network, opened by `open_source`.

    Args:
        preprocessing: how it wants its pictures, recordings or texts, which says which of them it reads.
        taps: where its standard blocks of features are taken, `pool` first.
        more: taps that are taken only where a layer names them: early stages, and `flatten`.
    """

    preprocessing: Preprocessing | TextPreprocessing
    layer: str = AUTO
    """Where `encode` takes features; `auto` is `pool`, since without labels there is nothing to choose by."""
    auto_layers: tuple[str, ...] = (POOL, JOINED)
    """The layers between which `auto` chooses, where the source has them."""
    plain_layer: str = POOL
    """The layer that `auto` is without labels."""
    members: tuple[Source, ...] = ()
    """Of a mean of several sources these, each of which computes its own blocks."""
    whole_words: bool = False
    """Whether it knows texts by whole words, some of which it may not know."""
    new_words: tuple[str, ...] = ()
    """Words of the texts to learn from that have got a vector here, and are none of the file's."""
    any_preprocessing: bool = False
    """Whether it reads examples however they are decoded: a bundle says how."""
    known_classes: tuple[str, ...] = ()
    """The names of its own classes, in order, where what brings the weights has them."""
    own_confidence: float | None = None
    """How sure its classifier is on average of unseen examples of its own data, 0..1, where that is stated."""
    views: int = 1
    """How many views of each example the network computes, over which its features are averaged."""
    rates: Mapping[str, float] | None = None
    """The full learning rate of each mode of tuning, where it is not that of other networks of its kind."""
    stages: tuple[str, ...] = ()
    """The parts of the module whose output is a stage's, in torch's dotted form; none where there is no module."""
    opened: Mapping[str, Any] | None = None
    """The arguments of `open_source` that give this source once more, in another process; None for one made by hand."""

    def __init__(
        self,
        identity: Identity,
        preprocessing: Preprocessing | TextPreprocessing,
        taps: Sequence[Tap],
        *,
        more: Sequence[Tap] = (),
    ) -> None:
        self.identity, self.preprocessing = identity, preprocessing
        self.taps, self.more = tuple(taps), tuple(more)
        self.base: Source | None = None
        """The source that it began as, where its weights have learned on the user's own data."""
        self.weights: Weights = {}
        """What has changed since then."""

    @property
    def all_changes(self) -> Weights:
        """What has changed since its weights were released."""
        return {**(self.base.all_changes if self.base is not None else {}), **self.weights}

    @property
    def kind(self) -> Kind:
        """What it reads."""
        if isinstance(self.preprocessing, TextPreprocessing):
            return "text"
        return "sound" if isinstance(self.preprocessing, AudioPreprocessing) else "image"

    @property
    def info(self) -> SourceInfo:
        """What it is."""
        identity = self.identity
        names = {field.name for field in fields(SourceInfo)} & {field.name for field in fields(identity)}
        return SourceInfo(
            kind=self.kind,
            feature_size=self._feature_size(),
            input=asdict(self.preprocessing),
            layers=(*layer_names([tap.name for tap in self.taps]), *(tap.name for tap in self.more)),
            **{name: getattr(identity, name) for name in names},
        )

    def _feature_size(self) -> int:
        widths, standard = {tap.name: tap.width for tap in self.all_taps}, [tap.name for tap in self.taps]
        sides = (self.plain_layer if self.layer == AUTO else self.layer).split(",")
        return sum(widths.get(name, 0) for side in sides for name in stages_of(side, standard))

    @property
    def all_taps(self) -> tuple[Tap, ...]:
        """Every tap that a layer can name."""
        return (*self.taps, *self.more)

    @property
    def active_taps(self) -> tuple[Tap, ...]:
        """The taps that the network yields: the standard ones, or those that the layer names where one is not."""
        taps = {tap.name: tap for tap in self.all_taps}
        names = stages_of(self.layer, [tap.name for tap in self.taps])
        return tuple(taps[name] for name in names) if {tap.name for tap in self.more} & set(names) else self.taps

    @abstractmethod
    def network(self) -> Network:
        """Return the network that yields every block of features in one pass."""

    @abstractmethod
    def module(self) -> torch.nn.Module:
        """Return the torch module with its weights loaded (what tuning changes)."""

    def as_trainable(self, texts: Callable[[], Iterable[str]], others: Callable[[], Iterable[str]]) -> Source | None:
        """Return the source as a network whose weights can learn; None where it only computes.

        A file of word vectors becomes a layer of the vectors of the words in `texts`, to learn from, and in `others`.
        """
        return None

    def with_weights(self, weights: Weights, preprocessing: Preprocessing | None = None) -> Source:
        """Return the source with some of its weights changed, by learning on the user's own data.

        SourceError: its weights cannot change, or these are not of its names and shapes.
        """
        raise SourceError(
            f"{self.identity.uri} must be a network that can be tuned", "none", "use it frozen, with --tune none"
        )

    def at_side(self, side: int) -> Source:
        """Return the same network for pictures of another side, in pixels; SourceError where it takes none such."""
        raise SourceError(
            f"{self.identity.uri} must be a network of photos that takes pictures of any size",
            f"@{side}px",
            "leave it out, or name another source",
        )

    def anew(self, seed: int) -> Source | None:
        """Return the same network with random weights, where it was made by hand; None where its URI says how."""
        return None

    def prepare(self, data: bytes) -> PreparedExample:
        """Return one example, ready for the network, from the bytes of its file; BadExample where that cannot be."""
        assert isinstance(self.preprocessing, Preprocessing)
        preprocessing = self.preprocessing
        return (
            preprocessing.hear(data) if isinstance(preprocessing, AudioPreprocessing) else preprocessing.prepare(data)
        )

    def unknown(self, texts: Iterable[str]) -> Counter[str]:
        """Return the words of texts that the source does not know; an encoder knows every word, by its pieces."""
        return Counter()

    def prepare_all(self, items: Sequence[Any]) -> Batch:
        """Return every item ready for the network: uint8 of shape (n, *input shape), or the tokens of texts.

        UsageError: `items` is one item and not a list of them, or one cannot be read; the message names it.
        """
        from headstart.data.images.preprocessing import to_bytes

        bytes_of = {"image": to_bytes, "sound": sound_bytes, "text": text_bytes}[self.info.kind]
        if isinstance(items, (str, bytes, os.PathLike)):
            raise UsageError("items must be a list", type(items).__name__, "put the one item into a list")
        examples: list[PreparedExample] = []
        for position, item in enumerate(items):
            try:
                examples.append(self.prepare(bytes_of(item)))
            except BadExample as error:
                name = item if isinstance(item, (str, os.PathLike)) else f"item {position}"
                raise UsageError(f"{name} must be readable", error.reason, "leave it out, or mend it") from error
        return stacked(examples) if examples else np.empty((0, *self.network().input_shape), dtype=np.uint8)

    def at(self, layer: str) -> Self:
        """Return this source with `encode` set to `layer`, or raise UsageError; network and weights are shared."""
        check_layer(layer, self.info.layers)
        source = copy.copy(self)
        source.layer = layer
        if self.opened is not None:
            source.opened = {**self.opened, "layer": layer}
        return source

    def encode(self, items: Sequence[Any]) -> NDArray[np.float32]:
        """Return features of the layer that the source was opened with, float32 of shape (n, d); nothing is cached.

        Args:
            items: paths, bytes of files, PIL pictures or uint8 arrays of shape (height, width, channels); of a source
                of recordings, paths, bytes or pairs (samples, rate); of texts, the texts.

        Raises:
            UsageError: an item cannot be read; the message names it.
        """
        x, blocks = self.compute(items)
        return select(x, blocks, self.plain_layer if self.layer == AUTO else self.layer)[0]

    def compute(self, items: Sequence[Any]) -> tuple[NDArray[np.float32], tuple[Block, ...]]:
        """Return every block of features side by side, float32 of shape (n, d), and what they are; see `encode`."""
        network = self.network()
        prepared = self.prepare_all(items)
        if len(prepared):
            x = open_engine(network, sample=lambda: sample_of(prepared, PARITY_SAMPLE), cache=cache_dir()).run(prepared)
        else:
            x = np.empty((0, sum(block.width for block in network.blocks)), dtype=np.float32)
        return x, network.blocks

    def class_names(self) -> tuple[str, ...]:
        """Return the names of its own classes in their order; none where they are not known."""
        if len(self.known_classes) == self.identity.classes:
            return self.known_classes
        if self.identity.classes == IMAGENET_CLASSES and "imagenet" in self.identity.trained_on.lower():
            return imagenet_classes()
        return ()

    def classify_pooled(self, pooled: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """Return what `classify` does, of features of `pool` (n, d); None where that takes the network itself."""
        return None

    def classify(self, items: Sequence[Any]) -> NDArray[np.float32]:
        """Return the source's own class probabilities, float32 of shape (n, k), rows summing to 1; see `encode`.

        SourceError: the source has no classifier. UsageError: an item cannot be read; the message names it.
        """
        raise SourceError(
            f"{self.info.uri} must have a classifier of its own", "none", "use encode, or fit a head on its features"
        )
