"""Pictures are decoded batch by batch, grow as planned, and vary by counters alone."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from recordings import recording, tone

from headstart.base.errors import DataError
from headstart.data.audio.spectrogram import audio_preprocessing
from headstart.data.dataset import BadExample, Dataset, Example
from headstart.data.images.preprocessing import Preprocessing
from headstart.tune.inputs.stream import Stream, shuffled_in_runs

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
    with stream(progressive=True) as pictures:
        assert pictures.plan(10) == [32] * 6 + [48] * 2 + [64] * 2
        assert [int(pictures.inputs(np.arange(3), epoch=epoch)[0].shape[1]) for epoch in (0, 6, 9)] == [32, 48, 64]
        assert pictures.plan(1) == [64]
    with stream() as pictures:
        assert pictures.plan(3) == [64] * 3


def test_every_picture_comes_once_an_epoch_in_batches_of_nearly_one_size() -> None:
    with stream() as pictures:
        batches = pictures.order(0, batch_size=9, seed=1)
        assert sorted(np.concatenate(batches)) == list(range(40))
        assert {len(batch_size) for batch_size in batches} == {8}
        assert not np.array_equal(np.concatenate(batches), np.concatenate(pictures.order(1, batch_size=9, seed=1)))


def test_views_follow_from_seed_epoch_and_row_alone() -> None:
    with stream(augment=True, horizontal_flip=True) as one, stream(augment=True, horizontal_flip=True) as other:
        rows = np.array([3, 17, 5])
        first = one.inputs(rows, epoch=2)[0]
        other.inputs(np.arange(40), epoch=1)
        assert np.array_equal(first[1:], other.inputs(rows[1:], epoch=2)[0])
        assert not np.array_equal(first, one.inputs(rows, epoch=3)[0])


def test_a_view_is_moved_by_an_eighth_at_most_and_mirrored_half_the_time() -> None:
    with stream(augment=True, horizontal_flip=True) as moving, stream() as still:
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
        raise BadExample("no such file")

    gone = Dataset("toys", "image", data.examples, data.classes, read)
    with Stream(gone, range(4), np.zeros(4, np.int64), HOW) as pictures, pytest.raises(DataError, match=r"0\.png"):
        pictures.inputs(np.arange(4), epoch=0)


def test_what_is_read_in_runs_is_mixed_as_far_as_it_is_held() -> None:
    order = shuffled_in_runs(1000, (50, 400), np.random.default_rng(0))
    assert sorted(order) == list(range(1000))
    for start in range(0, 1000, 200):
        assert len({at // 50 for at in order[start : start + 200]}) == 4
    assert len({at // 50 for at in order[:40]}) == 4


def test_an_epoch_of_a_large_table_reads_each_row_group_once(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from headstart.data.readers.tables.parquet import ParquetTable, ReadLimits, picture_reader, picture_runs

    data = dataset(60)
    pictures = [{"bytes": data.read(at), "path": f"{at}.png"} for at in range(60)]
    table = pa.table({"image": pictures, "label": ["a", "b"] * 30})
    pq.write_table(table, tmp_path / "train.parquet", row_group_size=5)
    size = sum(len(picture["bytes"]) for picture in pictures)
    read: list[int] = []

    class Counted(ParquetTable):
        def pictures(self, place: int, group: int) -> pa.Array:
            read.append(group)
            return super().pictures(place, group)

    file = Counted(tmp_path / "train.parquet", ReadLimits(cached=size // 3))
    opened = replace(data, read=picture_reader([(file, 0)])(range(60)), runs=picture_runs([file]))
    with Stream(opened, range(60), np.arange(60) % 2, HOW) as pictures_of:
        for rows in pictures_of.order(0, batch_size=8, seed=0):
            pictures_of.inputs(rows, epoch=0)
    assert len(read) <= 16, "twelve groups, and a few again where a batch ends one window and begins the next"


def test_recordings_begin_anywhere_and_are_masked_by_counters_alone() -> None:
    long = recording(np.concatenate([tone(500, seconds=1.0), tone(3_000, seconds=1.0)]))
    examples = tuple(Example(f"{at}.wav", "ab"[at % 2]) for at in range(8))
    data = Dataset("toys", "sound", examples, ("a", "b"), lambda at: long)
    how, y, rows = audio_preprocessing(HOW, size=(32, 40), seconds=0.4, rate=16_000), np.arange(8) % 2, np.arange(8)
    with Stream(data, range(8), y, how) as plain, Stream(data, range(8), y, how, augment=True, seed=3) as varied:
        (same,) = plain.inputs(rows, epoch=0)
        assert same.shape == (8, 32, 40, 3) and all((one == same[0]).all() for one in same)
        (first,), (second,) = varied.inputs(rows, epoch=0), varied.inputs(rows, epoch=1)
        assert (first != second).any()
        assert (varied.inputs(rows[[5]], epoch=0)[0][0] == first[5]).all()
        loudest = {int(one[:, :, 0].float().mean(1).argmax()) for one in first}
        assert len(loudest) > 1  # some heard the first tone, some the second
