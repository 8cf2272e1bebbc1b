"""What every input pipeline shares: one row a content, an order for each epoch, and activations kept by view."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart.tune.inputs.base import ActivationCache, first_copies, in_order, shuffled


class Labels:
    """Examples of which nothing but the labels is asked."""

    def __init__(self, y: list[int]) -> None:
        self.y = np.array(y, dtype=np.int64)


def activations(values: Any) -> Any:
    import torch

    return torch.tensor(values, dtype=torch.float64)


def test_the_first_copy_of_each_content() -> None:
    np.testing.assert_array_equal(first_copies(["b", "a", "b", "c", "a", "b"]), [0, 1, 0, 3, 1, 0])
    assert first_copies([]).shape == (0,) and first_copies([]).dtype == np.intp


@pytest.mark.parametrize(("size", "batches"), [(2, [[0, 1], [3, 4]]), (3, [[0, 1, 3], [4]]), (9, [[0, 1, 3, 4]])])
def test_first_copies_come_in_order_in_batches(size: int, batches: list[list[int]]) -> None:
    rows = in_order(np.array([0, 1, 0, 3, 4, 3]), size)
    assert [batch.tolist() for batch in rows] == batches


def test_nothing_is_no_batch() -> None:
    assert in_order(first_copies([])) == []


@pytest.mark.parametrize(("count", "size"), [(10, 3), (9, 3), (2, 5), (1, 1)])
def test_every_row_comes_once_an_epoch(count: int, size: int) -> None:
    batches = shuffled(count, epoch=4, batch_size=size, seed=7)
    assert sorted(np.concatenate(batches).tolist()) == list(range(count))
    assert [len(batch) for batch in batches[:-1]] == [size] * (len(batches) - 1)
    assert 1 <= len(batches[-1]) <= size
    for batch in batches:
        assert batch.dtype == np.intp


def test_the_order_follows_from_seed_and_epoch_alone() -> None:
    def order(epoch: int, seed: int, batch_size: int = 7) -> list[int]:
        return list(np.concatenate(shuffled(40, epoch=epoch, batch_size=batch_size, seed=seed)))

    assert order(1, 2) == order(1, 2) == order(1, 2, batch_size=11)
    assert len({tuple(order(epoch, seed)) for epoch in range(3) for seed in range(3)}) == 9


@pytest.mark.parametrize("on_disk", [False, True])
def test_activations_come_back_by_content_and_view(tmp_path: Path, on_disk: bool) -> None:
    cache = ActivationCache(
        [(2,), ()],
        Labels([0, 1, 0, 1]),  # type: ignore[arg-type]
        [np.array([0, 1]), np.array([3])],
        first_of=np.array([0, 1, 0, 3]),  # the third example is a copy of the first
        views=2,
        folder=tmp_path / "cache" if on_disk else None,
    )
    for view in (0, 1):
        for rows in cache.batches:
            vectors = [[10 * row + view, -row] for row in rows]
            cache.fill(rows, (activations(vectors), activations([100 * row + view for row in rows])), view=view)
    for epoch in range(5):
        view = epoch % 2
        vectors, numbers = cache.inputs(np.array([3, 2, 0, 1, 2]), epoch=epoch)
        assert vectors.tolist() == [[30 + view, -3], [view, 0], [view, 0], [10 + view, -1], [view, 0]]
        assert numbers.tolist() == [300 + view, view, view, 100 + view, view]
        assert vectors.numpy().dtype == np.float32, "whatever they were computed in"


def test_each_content_takes_one_row_a_view() -> None:
    first_of = first_copies(["a"] * 50 + ["b"])
    cache = ActivationCache([(3,)], Labels([0] * 51), [], first_of=first_of, views=4, folder=None)  # type: ignore[arg-type]
    assert cache.firsts.tolist() == [0, 50]
    stored = cache.parts[0].take(np.arange(8))
    assert stored.shape == (8, 3)
    with pytest.raises(IndexError):
        cache.parts[0].take(np.array([8]))


def test_cached_activations_are_shuffled_as_the_examples_are() -> None:
    cache = ActivationCache([(1,)], Labels([0] * 9), [], first_of=np.arange(9), views=1, folder=None)  # type: ignore[arg-type]
    expected = shuffled(9, epoch=3, batch_size=4, seed=5)
    for batch, row in zip(cache.order(3, batch_size=4, seed=5), expected, strict=True):
        np.testing.assert_array_equal(batch, row)
    assert cache.lengths.tolist() == [1] * 9


def test_parts_that_do_not_belong_together_are_an_error() -> None:
    cache = ActivationCache([(1,), (1,)], Labels([0]), [], first_of=np.arange(1), views=1, folder=None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="zip"):
        cache.fill(np.array([0]), (activations([[1.0]]),), view=0)
    with pytest.raises(ValueError, match="zip"):
        cache.fill(np.array([0]), (activations([[1.0], [2.0]]), activations([[1.0]])), view=0)
