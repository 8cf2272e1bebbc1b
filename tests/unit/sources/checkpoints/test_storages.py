"""Storages of PyTorch checkpoints: the places that are found hold torch's own numbers, and no tensor reaches beyond."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from forged import saved

from headstart.sources.checkpoints.pickled import Storage, Stored
from headstart.sources.checkpoints.safetensors import MAX_AXES, MAX_NAME, MAX_TENSORS, UnsoundFile
from headstart.sources.checkpoints.storages import fetch, read_archive, read_known_arrays, read_older

BASE = torch.arange(24, dtype=torch.float32)
STATE = {
    "plain": BASE.reshape(4, 6),
    "turned": BASE.reshape(4, 6).t(),  # shares the storage of the first
    "part": BASE[5:11:2],
    "half": torch.linspace(-2, 2, 7, dtype=torch.float16),
    "flags": torch.tensor([True, False, True]),
    "count": torch.tensor(7, dtype=torch.int64),
    "nothing": torch.empty(0),
}


def copied(data: bytearray, tensor: Stored) -> tuple[bytes, Stored]:
    return bytes(data), tensor


def tensor(shape: tuple[int, ...] = (16,), *, kind: str = "float32", key: str = "0", **place: Any) -> Stored:
    """Return a tensor whose numbers stand in rows, unless `strides` say otherwise."""
    rows = tuple(int(np.prod(shape[axis + 1 :])) for axis in range(len(shape)))
    return Stored(shape, kind, Storage(key, 16, kind), **{"strides": rows, **place})


def fetched(tensors: dict[str, Stored], *, size: int = 64, places: dict[str, tuple[int, int]] | None = None) -> Any:
    return fetch(io.BytesIO(bytes(range(size))), places or {"0": (0, size)}, tensors, copied)


@pytest.mark.parametrize("older", [False, True])
def test_each_place_holds_the_bytes_of_its_storage(older: bool) -> None:
    data = saved(STATE, archived=not older)
    tree, places = read_older(io.BytesIO(data), len(data)) if older else read_archive(io.BytesIO(data))
    assert tree.keys() == STATE.keys()
    for name, expected in STATE.items():
        start, size = places[tree[name].place.key]
        assert data[start : start + size] == bytes(expected.untyped_storage()), name
    assert tree["plain"].place.key == tree["turned"].place.key == tree["part"].place.key


def test_a_root_of_any_name_is_found(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "epoch 3.pth")
    data = (tmp_path / "epoch 3.pth").read_bytes()
    tree, places = read_archive(io.BytesIO(data))
    start, size = places[tree["count"].place.key]
    assert (int.from_bytes(data[start : start + size], "little"), size) == (7, 8)


def test_views_and_kinds_are_read_as_torch_has_them(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(saved(STATE, archived=False))
    arrays = read_known_arrays(tmp_path / "w.pth")
    assert list(arrays) == list(STATE)
    for name, expected in STATE.items():
        np.testing.assert_array_equal(arrays[name], expected.numpy(), strict=True)


@pytest.mark.parametrize(
    ("member", "data", "reason"),
    [("constants.pkl", b"\x80\x02N.", "a TorchScript program"), ("byteorder", b"big", "another kind of machine")],
)
def test_an_archive_that_is_no_plain_checkpoint_is_refused(member: str, data: bytes, reason: str) -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(saved(STATE))) as sound, zipfile.ZipFile(target, "w") as changed:
        for name in {*sound.namelist(), f"archive/{member}"}:
            changed.writestr(name, data if name.endswith(member) else sound.read(name))
    with pytest.raises(UnsoundFile, match=reason):
        read_archive(target)


@pytest.mark.parametrize("missing", [1, 8, 24 * 4])
def test_the_older_form_cut_in_its_storages_is_refused(missing: int) -> None:
    data = saved({"only": BASE}, archived=False)[:-missing]
    with pytest.raises(UnsoundFile, match="storages that end before their numbers do"):
        read_older(io.BytesIO(data), len(data))


def test_a_storage_is_read_once_for_all_its_tensors() -> None:
    made = fetched({"a": tensor((4,)), "b": tensor((2, 2), offset=12), "c": tensor((3,), strides=(5,), offset=5)})
    assert {data for data, _ in made.values()} == {bytes(range(64))}
    assert [stored.offset for _, stored in made.values()] == [0, 12, 5]


@pytest.mark.parametrize(
    "fits",
    [
        tensor((16,)),
        tensor((64,), kind="bool"),
        tensor((64,), kind="float8_e4m3fn"),
        tensor((32,), kind="bfloat16"),
        tensor((4,), kind="complex128"),
        tensor((4,), offset=12),
        tensor((2, 2), strides=(12, 3)),
        tensor((3,), strides=(0,)),
        tensor((0, 5), offset=900),
        tensor((), offset=15),
    ],
)
def test_what_ends_with_the_last_byte_is_read(fits: Stored) -> None:
    assert fetched({"w": fits})["w"] == (bytes(range(64)), fits)


@pytest.mark.parametrize(
    "beyond",
    [
        tensor((17,)),
        tensor((65,), kind="bool"),
        tensor((33,), kind="bfloat16"),
        tensor((5,), kind="complex128"),
        tensor((4,), offset=13),
        tensor((2, 2), strides=(12, 4)),
        tensor((1_000,), strides=(0,)),  # a few bytes, shown as many
        tensor((), offset=16),
        tensor((16,), key="gone"),
    ],
)
def test_what_reaches_beyond_its_storage_is_refused_by_name(beyond: Stored) -> None:
    with pytest.raises(UnsoundFile, match=r"tensor 'w' of shape \(.*, more numbers than the file holds"):
        fetched({"w": beyond})


def test_tensors_may_share_bytes_four_times_and_not_five() -> None:
    shared = {f"w{number}": tensor() for number in range(5)}
    assert len(fetched(dict(list(shared.items())[:4]))) == 4
    with pytest.raises(UnsoundFile, match="tensor 'w4'"):
        fetched(shared)


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        ({"w": tensor(kind="quint8")}, "numbers of the kind 'quint8', which are no plain ones"),
        ({"w": tensor(kind="int24")}, "'int24'"),
        ({"w" * (MAX_NAME + 1): tensor()}, "which is no plain one"),
        ({"w": tensor((1,) * (MAX_AXES + 1))}, "tensor 'w', which is no plain one"),
        (dict.fromkeys(map(str, range(MAX_TENSORS + 1)), tensor((0,))), "20,001 tensors, more than the 20,000"),
    ],
)
def test_what_no_network_has_is_refused(tensors: dict[str, Stored], reason: str) -> None:
    with pytest.raises(UnsoundFile, match=reason):
        fetched(tensors)


def test_a_place_beyond_the_file_is_refused() -> None:
    with pytest.raises(UnsoundFile, match="storages that end before their numbers do"):
        fetched({"w": tensor()}, places={"0": (32, 64)})
