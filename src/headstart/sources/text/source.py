"""What the sources of texts share: tokens by the tokenizer's own file, and what becomes of long texts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from functools import cache, cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.errors import SourceError
from headstart.base.hashing import sha256_json
from headstart.data.images.preprocessing import Preprocessing
from headstart.data.text import Tokens, text_of
from headstart.engines.base import Network
from headstart.engines.environment import set_passive_omp_wait
from headstart.sources.base import Identity, Source, TextPreprocessing, Weights
from headstart.sources.layers import Tap
from headstart.sources.networks.source import plain, with_changes

if TYPE_CHECKING:
    import openvino
    import torch

RECIPE = 1
"""Counts up when the same files come to mean other numbers."""
MAX_CHARACTERS_PER_TOKEN = 40
"""Of a text, per token of the limit, that are looked at: no language has words so long on average."""
MAX_PIECES = 64
"""Into which a long text is cut; what lies beyond is left out, and counted."""
MAX_LAYERS = 1_000


class Tokenizer:
    """Cuts texts into token ids as a `tokenizer.json` says; safe to call from several threads.

    Unless `special` is off, a piece begins and ends with the marks that the file puts there ([CLS] … [SEP]).
    SourceError: there is no such file, or it describes no tokenizer.
    """

    def __init__(self, path: Path, reading: TextPreprocessing, *, special: bool = True) -> None:
        self._tokenizer, self._path = _opened(path), path
        self._reading = reading
        self._before, self._after = self._marks() if special else ([], [])

    @property
    def as_json(self) -> str:
        """The file that it was opened from, with neither truncation nor padding."""
        return str(self._tokenizer.to_str())

    @property
    def marks(self) -> tuple[list[int], list[int]]:
        """The ids that stand before and after every text."""
        return self._before, self._after

    def __call__(self, text: str) -> Tokens:
        """Return the tokens of one text."""
        reading = self._reading
        pieces = MAX_PIECES if reading.long == "chunks" else 1
        whole = len(text)
        if reading.limit:
            text = text[: reading.limit * MAX_CHARACTERS_PER_TOKEN * pieces]
        text = reading.prefix + text
        ids = self._encode(text.lower() if reading.lower else text)
        room = reading.limit - len(self._before) - len(self._after) if reading.limit else max(len(ids), 1)
        starts = range(0, max(len(ids), 1), room)[:pieces]
        tokens = tuple(
            np.array([*self._before, *ids[start : start + room], *self._after], dtype=np.int32) for start in starts
        )
        used = min(len(ids), room * len(starts))
        return Tokens(tokens, len(ids) + (whole > len(text)), used)

    def _encode(self, text: str, *, marks: bool = False) -> list[int]:
        try:
            return list(self._tokenizer.encode(text, add_special_tokens=marks).ids)
        except BaseException as error:
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":  # no Exception of Python
                raise
            raise _unusable(self._path, error) from error

    def _marks(self) -> tuple[list[int], list[int]]:
        """Return the ids that stand before and after every text."""
        marked, bare = self._encode("a", marks=True), self._encode("a")
        begin = next((start for start in range(len(marked)) if marked[start : start + len(bare)] == bare), 0)
        return marked[:begin], marked[begin + len(bare) :]


def _opened(path: Path) -> Any:
    import tokenizers

    if not path.is_file():
        raise SourceError("a source of texts needs its tokenizer.json", f"no {path}", "fetch or install it again")
    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:
        raise _unusable(path, error) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _unusable(path: Path, error: BaseException) -> SourceError:
    return SourceError(f"{path} must describe a tokenizer that cuts texts", error, "fetch or install it again")


def middle_layers(layers: int) -> tuple[int, ...]:
    """Return two middle layers, which know more of grammar than the last; fewer of a shallow network.

    SourceError: the network has more than `MAX_LAYERS`, as its settings say.
    """
    if layers > MAX_LAYERS:
        raise SourceError(f"a network must have at most {MAX_LAYERS:,} layers", f"{layers:,}", "name another source")
    return tuple(sorted({at for at in (layers // 2 - 1, layers - 3) if 0 <= at < layers - 1}))


def layer_taps(width: int, more: Sequence[int], stages: Sequence[str]) -> tuple[Tap, ...]:
    """Return the taps of an encoder: `pool`, and the mean over tokens of further layers, counted from 0.

    `stages` are the parts of the network that are its layers, first to last; empty where they are not told apart.
    """
    taps = [Tap("pool", width, "pool")]
    for layer in more:
        module = stages[layer] if stages else ""
        taps.append(Tap(f"layer{layer + 1}.avg", width, "avg", module, channels_last=True))
    return tuple(taps)


class TextSource(Source):
    """A source that reads texts: a table of vectors to look up, or a torch network over tokens.

    Args:
        tokenizer: opens what cuts texts into tokens; called on first use.
        stages: the parts of the torch module that are its layers, first to last, in torch's dotted form.
        build: returns the torch module that takes ids and mask, int64 of shape (n, length), and returns its blocks.
        graph: gives the same network for OpenVINO without torch, from the weights that have changed, where there is a
            way.
        lookup: gives what turns tokens into features at once, for a source that is a table of vectors.
    """

    preprocessing: TextPreprocessing

    def __init__(
        self,
        identity: Identity,
        reading: TextPreprocessing,
        taps: Sequence[Tap],
        tokenizer: Callable[[], Tokenizer],
        *,
        stages: Sequence[str] = (),
        build: Callable[[], torch.nn.Module] | None = None,
        graph: Callable[[Weights], openvino.Model] | None = None,
        lookup: Callable[[], Callable[[Sequence[Tokens]], NDArray[np.float32]]] | None = None,
    ) -> None:
        super().__init__(identity, reading, taps)
        self.stages = tuple(stages)
        self.tokenizer, self._lookup, self._graph = tokenizer, lookup, graph
        self._build = cache(build) if build is not None else None

    def as_trainable(
        self, texts: Callable[[], Iterable[str]], others: Callable[[], Iterable[str]]
    ) -> TextSource | None:
        """Return the source itself, where it is a torch network."""
        return self if self._build is not None else None

    def with_weights(self, weights: Weights, preprocessing: Preprocessing | None = None) -> TextSource:
        """Return the source with some of its weights changed; see `Source.with_weights`."""
        changed = plain(weights)
        tuned = TextSource(
            self.identity.as_tuned(changed),
            self.preprocessing,
            self.taps,
            self.tokenizer,
            stages=self.stages,
            build=lambda: with_changes(self, changed),
            graph=self._graph,
        )
        tuned.base, tuned.weights, tuned.layer = self, changed, self.layer
        return tuned

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return self.tokenizer()

    def prepare(self, data: bytes) -> Tokens:
        """Return the tokens of one text, from its bytes; BadExample where they are no text, or a blank one."""
        return self._tokenizer(text_of(data))

    def network(self) -> Network:
        """Return the network that yields every block in one pass."""
        blocks = tuple(tap.block for tap in self.taps)
        fingerprint = sha256_json(
            {
                "recipe": RECIPE,
                "weights": self.identity.sha256,
                "architecture": self.identity.architecture,
                "blocks": [asdict(block) for block in blocks],
                "reading": asdict(self.preprocessing),
                "tokenizers": version("tokenizers"),
            }
        )
        graph = self._graph and partial(self._graph, self.all_changes)
        return Network(fingerprint, (), blocks, self.module, graph=graph, lookup=self._lookup)

    def module(self) -> torch.nn.Module:
        """Return the torch module in inference mode, the same one each time; SourceError for a table of vectors."""
        if self._build is None:
            raise SourceError(
                f"{self.info.uri} must be a torch network for that",
                "a table of vectors to look up",
                "use it frozen, with --tune none",
            )
        set_passive_omp_wait()
        return self._build()
