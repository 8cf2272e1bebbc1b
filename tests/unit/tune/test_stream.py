"""Pictures are decoded batch by batch, grow as planned, and vary by counters alone."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.base.errors import DataError
from headstart.data.dataset import Dataset, Example, Unusable
from headstart.data.images import Preprocessing
from headstart.tune.stream import Stream

HOW = Preprocessing(size=(64, 64), resize=64, interpolation="bilinear")


def dataset(count: int = 40) -> Dataset:
    def picture(at: int) -> bytes:
        pixels = np.random.default_rng(at).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        return file.getvalue()

    files = [picture(at) for at in range(count)]
    examples = tuple(Example(f"{at}.png", "ab"[at % 2]) for at in range(count))
    return Dataset("toys", "image", examples, ("a", "b"), lambda at: files[at])


def stream(**how: object) -> Stream:
    data = dataset()
    return Stream(data, range(len(data)), np.arange(len(data)) % 2, HOW, **how)  # type: ignore[arg-type]


def test_the_first_epochs_see_small_pictures_and_the_last_the_whole_ones() -> None:
    with stream(growing=True) as pictures:
        assert pictures.plan(10) == [32] * 6 + [48] * 2 + [64] * 2
        assert [int(pictures.inputs(np.arange(3), epoch=epoch)[0].shape[1]) for epoch in (0, 6, 9)] == [32, 48, 64]
        assert pictures.plan(1) == [64]
    with stream() as pictures:
        assert pictures.plan(3) == [64] * 3


def test_every_picture_comes_once_an_epoch_in_batches_of_nearly_one_size() -> None:
    with stream() as pictures:
        batches = pictures.order(0, batch=9, seed=1)
        assert sorted(np.concatenate(batches)) == list(range(40))
        assert {len(batch) for batch in batches} == {8}
        assert not np.array_equal(np.concatenate(batches), np.concatenate(pictures.order(1, batch=9, seed=1)))


def test_views_follow_from_seed_epoch_and_row_alone() -> None:
    with stream(views=True, mirror=True) as one, stream(views=True, mirror=True) as other:
        rows = np.array([3, 17, 5])
        first = one.inputs(rows, epoch=2)[0]
        other.inputs(np.arange(40), epoch=1)
        assert np.array_equal(first[1:], other.inputs(rows[1:], epoch=2)[0])
        assert not np.array_equal(first, one.inputs(rows, epoch=3)[0])


def test_a_view_is_moved_by_an_eighth_at_most_and_mirrored_half_the_time() -> None:
    with stream(views=True, mirror=True) as moving, stream() as still:
        rows = np.arange(40)
        seen, plain = moving.inputs(rows, epoch=0)[0].numpy(), still.inputs(rows, epoch=0)[0].numpy()
    mirrored = 0
    for view, picture in zip(seen, plain, strict=True):
        inner = view[16:48, 16:48]
        found = [
            (side, down, right)
            for side, whole in enumerate((picture, picture[:, ::-1]))
            for down in range(-8, 9)
            for right in range(-8, 9)
            if np.array_equal(inner, whole[16 + down : 48 + down, 16 + right : 48 + right])
        ]
        assert len(found) == 1
        mirrored += found[0][0]
    assert 10 <= mirrored <= 30


def test_a_picture_that_vanished_is_named(tmp_path: Path) -> None:
    data = dataset(4)

    def read(at: int) -> bytes:
        raise Unusable("no such file")

    gone = Dataset("toys", "image", data.examples, data.classes, read)
    with Stream(gone, range(4), np.zeros(4, np.int64), HOW) as pictures, pytest.raises(DataError, match=r"0\.png"):
        pictures.inputs(np.arange(4), epoch=0)
