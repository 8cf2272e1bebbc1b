"""What every source of texts promises, whoever published it: one suite, one row a source, random weights throughout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import huggingface_hub.constants
import numpy as np
import pytest
from hub_models import for_sentences, place, tiny_text
from toy_texts import FILLERS, TOPICS, sentences

from headstart.engines.base import Engine
from headstart.engines.select import open_engine
from headstart.sources.base import Source
from headstart.sources.layers import select
from headstart.sources.registry import open_source

TEXTS = [text for text, _ in sentences(3)] + ["x", "👩‍👩‍👧 \u202e e\u0301", "a\0b", "salt " * 400]


def packaged(name: str) -> Callable[[Path, int], Source]:
    return lambda folder, seed: open_source(f"packaged:{name}", weights="none", seed=seed)


def words(folder: Path, seed: int) -> Source:
    path = folder / "vectors.txt"
    if not path.exists():
        known = [*FILLERS, *(word for topic in TOPICS.values() for word in topic)]
        rng = np.random.default_rng(0)
        path.write_text("".join(f"{word} {' '.join(map(str, rng.standard_normal(8).round(3)))}\n" for word in known))
    return open_source(f"words:{path}", weights="none", seed=seed)


def on_the_hub(kind: str) -> Callable[[Path, int], Source]:
    def opened(folder: Path, seed: int) -> Source:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder))
            files = for_sentences(tiny_text(kind, seed), pooling={"pooling_mode": "cls"}, limits={}, prompts={})
            return open_source(f"hf:tiny/{kind}@{place(folder, f'tiny/{kind}', files)}")

    return opened


ROWS: dict[str, Callable[[Path, int], Source]] = {
    "packaged:minilm": packaged("minilm"),
    "packaged:wordllama": packaged("wordllama"),
    "words:": words,
    "hf:tiny/bert": on_the_hub("bert"),
    "hf:tiny/roberta": on_the_hub("roberta"),
}


def engine_of(source: Source, cache: Path) -> Engine:
    return open_engine(source.network(), sample=lambda: source.prepare_all(TEXTS), cache=cache, engine="torch")


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.thorough] if name == "packaged:minilm" else []) for name in ROWS],
)
def test_a_source_of_texts_keeps_its_promises(name: str, tmp_path: Path, cache: Path) -> None:
    source, again, other = (ROWS[name](tmp_path, seed) for seed in (0, 0, 1))
    network = source.network()
    width = sum(block.width for block in network.blocks)
    assert source.info.kind == "text" and source.info.feature_size == network.blocks[0].width
    assert network.fingerprint == again.network().fingerprint != other.network().fingerprint
    x = engine_of(source, cache).run(source.prepare_all(TEXTS))
    assert x.shape == (len(TEXTS), width) and x.dtype == np.float32 and np.isfinite(x).all()
    np.testing.assert_array_equal(x, engine_of(again, cache).run(again.prepare_all(TEXTS)))
    assert not np.allclose(x, engine_of(other, cache).run(other.prepare_all(TEXTS)), atol=1e-3)
    alone = np.concatenate([engine_of(source, cache).run(source.prepare_all([text])) for text in TEXTS[::3]])
    np.testing.assert_allclose(alone, x[::3], atol=1e-5)
    for layer in (*source.info.layers, "+".join(block.name for block in network.blocks)):
        assert source.at(layer).network().fingerprint == network.fingerprint
        assert source.at(layer).info.feature_size == select(x, network.blocks, layer)[0].shape[1]
    for text, tokens in zip(TEXTS, source.prepare_all(TEXTS), strict=True):
        assert 0 <= tokens.used <= tokens.total, text  # type: ignore[union-attr]
