"""The network of word vectors: the very means that the table gives, and a gradient for the words of a text alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from headstart.sources.text.word_index import open_index
from headstart.sources.text.word_network import WordMeans
from headstart.sources.text.word_source import WordSource

PLACES = np.array([2, 3, 7, 40], dtype=np.int32)
VECTORS = np.array([[1, 0, 0], [0, 2, 0], [0, 0, 3], [1, 1, 1]], dtype=np.float32)
RARE = np.array([1, 0.5, 0.25, 0.1], dtype=np.float32)
COMMON = np.array([0, 0, 1], dtype=np.float32)


def network() -> WordMeans:
    return WordMeans(PLACES, VECTORS, RARE, COMMON)


def blocks(ids: list[list[int]], mask: list[list[int]]) -> tuple[np.ndarray, ...]:
    with torch.inference_mode():
        return tuple(block.numpy() for block in network()(torch.tensor(ids), torch.tensor(mask)))


def test_a_text_is_the_mean_of_its_words_and_padding_is_none() -> None:
    pool, sif, greatest = blocks([[2, 40, 3], [7, 7, 2], [3, 0, 0]], [[1, 1, 1], [1, 1, 0], [1, 0, 0]])
    np.testing.assert_allclose(pool, [[2 / 3, 1, 1 / 3], [0, 0, 3], [0, 2, 0]], rtol=1e-6)
    np.testing.assert_allclose(greatest, [[1, 2, 1], [0, 0, 3], [0, 2, 0]])
    np.testing.assert_allclose(sif, [[1.1 / 3, 1.1 / 3, 0], [0, 0, 0], [0, 1, 0]], rtol=1e-6, atol=1e-7)


def test_a_text_without_a_word_is_zero_and_no_text_is_no_row() -> None:
    for block in blocks([[0, 0], [99, 5]], [[0, 0], [0, 0]]):
        assert not block.any()
    with torch.inference_mode():
        none = network()(torch.zeros(0, 4, dtype=torch.int64), torch.zeros(0, 4, dtype=torch.int64))
    assert [block.shape for block in none] == [(0, 3)] * 3


def test_a_table_without_a_word_gives_zeros() -> None:
    empty = WordMeans(PLACES[:0], VECTORS[:0], RARE[:0], COMMON)
    for block in empty(torch.tensor([[7, 0]]), torch.tensor([[1, 0]])):
        assert block.shape == (1, 3) and not block.any()


def test_only_the_words_of_a_text_learn() -> None:
    means = network()
    pool, sif, _ = means(torch.tensor([[3, 40, 7]]), torch.tensor([[1, 1, 0]]))
    (pool.sum() + sif.sum()).backward()
    slope = means.vectors.weight.grad
    assert slope is not None
    assert slope.abs().sum(1).count_nonzero() == 2 and slope[[1, 3]].abs().sum(1).min() > 0


def test_what_is_saved_is_the_table_and_what_was_given_stays_as_it_was() -> None:
    means = network()
    assert list(means.state_dict()) == ["vectors.weight"]
    assert [name for name, _ in means.named_parameters()] == ["vectors.weight"]
    with torch.no_grad():
        means.vectors.weight.zero_()
        means.rare.zero_()
        means.common.zero_()
    assert VECTORS.any() and RARE.any() and COMMON.any()


@pytest.mark.parametrize("layer", ["pool", "sif", "max"])
def test_it_is_the_torch_twin_of_the_table(tmp_path: Path, layer: str) -> None:
    rng = np.random.default_rng(0)
    lines = [f"w{number} {' '.join(map(str, rng.normal(size=5).round(3)))}" for number in range(30)]
    (tmp_path / "a.txt").write_text("\n".join(lines))
    source = WordSource(f"words:{tmp_path / 'a.txt'}", open_index(tmp_path / "a.txt"))
    texts = ["w3 w29 w3", "w0", "zebra", "w12 zebra w4 w5"]
    trainable = source.as_trainable(lambda: texts, lambda: ["w7 w8"])
    rows = [source.prepare(text.encode()).pieces[0] for text in texts]
    ids, mask = (torch.zeros(len(rows), 4, dtype=torch.int64) for _ in range(2))
    for text, row in enumerate(rows):
        ids[text, : len(row)], mask[text, : len(row)] = torch.from_numpy(row.astype(np.int64)), 1
    with torch.inference_mode():
        computed = dict(zip(("pool", "sif", "max"), trainable.module()(ids, mask), strict=True))[layer]
    np.testing.assert_allclose(computed.numpy(), source.at(layer).encode(texts), rtol=1e-5, atol=1e-6)
