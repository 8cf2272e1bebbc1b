"""Keras files are read as arrays: nothing in them runs, and nothing outside them is opened."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from headstart.base.errors import SourceError
from headstart.sources.checkpoints.keras_file import match_arrays, read_arrays

h5py = pytest.importorskip("h5py")
KERNEL = np.arange(12, dtype=np.float32).reshape(3, 4)
PLACE = "layers/dense/vars/0"


def written(path: Path, fill: Callable[[h5py.File], object] = lambda file: None) -> Path:
    with h5py.File(path, "w") as file:
        file[PLACE] = KERNEL
        fill(file)
    return path


def packed(path: Path, config: dict[str, object], weights: bytes | None = None) -> Path:
    inner = path.with_suffix(".inner.h5")
    data = written(inner).read_bytes() if weights is None else weights
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", data)
    return path


def lambda_model() -> dict[str, object]:
    layer = {"class_name": "Lambda", "config": {"function": {"class_name": "__lambda__", "config": {"code": "4wEA"}}}}
    return {"class_name": "Functional", "config": {"layers": [{"class_name": "InputLayer"}, layer]}}


def test_arrays_of_keras_3_are_named_by_place_and_an_optimiser_is_left_out(tmp_path: Path) -> None:
    path = written(tmp_path / "a.weights.h5", lambda file: file.__setitem__("optimizer/vars/0", KERNEL))
    found = read_arrays(path)
    assert list(found) == [PLACE]
    np.testing.assert_array_equal(found[PLACE], KERNEL)


def test_older_arrays_are_matched_by_names_then_by_rising_numbers_then_by_order() -> None:
    arrays = {f"conv2d_{n}/conv2d_{n}/kernel:0": np.full((2, 2), n) for n in (10, 9, 8)}
    wanted = {f"layers/{n}/vars/0": (2, 2) for n in range(2)}
    found = match_arrays(
        arrays, wanted, dict(zip(wanted, ("conv2d/kernel", "conv2d_1/kernel"), strict=True)), where="f"
    )
    assert [int(arrays[name][0, 0]) for name in found.values()] == [8, 9]
    found = match_arrays(
        arrays, wanted, dict(zip(wanted, ("conv2d_9/kernel", "conv2d_8/kernel"), strict=True)), where="f"
    )
    assert [int(arrays[name][0, 0]) for name in found.values()] == [9, 8]
    inner = {f"net/{name.partition('/')[2]}": array for name, array in arrays.items()} | {"conv2d_8/kernel": np.ones(9)}
    found = match_arrays(
        inner, wanted, dict(zip(wanted, ("conv2d_9/kernel", "conv2d_8/kernel"), strict=True)), where="f"
    )
    assert [int(inner[name][0, 0]) for name in found.values()] == [9, 8]
    found = match_arrays(arrays, wanted, dict(zip(wanted, ("a/kernel", "b/kernel"), strict=True)), where="f")
    assert [int(arrays[name][0, 0]) for name in found.values()] == [10, 9]


def test_a_keras_archive_is_read_in_memory(tmp_path: Path) -> None:
    found = read_arrays(packed(tmp_path / "a.keras", {"class_name": "Functional", "config": {}}))
    np.testing.assert_array_equal(found[PLACE], KERNEL)


@pytest.mark.parametrize("split", [False, True])
def test_a_legacy_file_keeps_the_order_of_the_model(tmp_path: Path, split: bool) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights")
        names = [b"z_first", b"a_second"]
        if split:
            root.attrs["layer_names0"], root.attrs["layer_names1"] = names[:1], names[1:]
        else:
            root.attrs["layer_names"] = names
        for number, name in enumerate(names):
            group = root.create_group(name)
            group.attrs["weight_names"] = [name + b"/kernel:0"]
            group[name + b"/kernel:0"] = KERNEL + number
    assert list(read_arrays(path)) == ["z_first/z_first/kernel:0", "a_second/a_second/kernel:0"]


def test_a_lambda_layer_is_refused__CKP_08(tmp_path: Path) -> None:
    text = json.dumps(lambda_model())
    files = [
        packed(tmp_path / "a.keras", lambda_model()),
        written(tmp_path / "a.h5", lambda file: file.attrs.__setitem__("model_config", text)),
    ]
    for path in files:
        with pytest.raises(
            SourceError, match=r"must need no code of its own; found a layer of class (Lambda|__lambda__)"
        ):
            read_arrays(path)


def hostile() -> dict[str, Callable[[h5py.File], object]]:
    def circle(file: h5py.File) -> None:
        file["again"] = file["layers"]

    def deep(file: h5py.File) -> None:
        file["/".join(["a"] * 60)] = KERNEL

    def conversion(file: h5py.File) -> None:
        file.create_dataset("x", shape=(4,), dtype="f4", external=[("/etc/hostname", 0, 16)])

    def virtual(file: h5py.File) -> None:
        layout = h5py.VirtualLayout(shape=(3, 4), dtype="f4")
        layout[:] = h5py.VirtualSource("other.h5", "x", shape=(3, 4))
        file.create_virtual_dataset("x", layout)

    return {
        "the link 'x'": lambda file: file.__setitem__("x", h5py.ExternalLink("/etc/passwd", "/")),
        "the link 'loop'": lambda file: file.__setitem__("loop", h5py.SoftLink("/loop")),
        "there twice": circle,
        "nested more than": deep,
        "lie in another file": conversion,
        "whose numbers lie": virtual,
        "more numbers than the file holds": lambda file: file.create_dataset("x", shape=(1 << 40,), dtype="f4"),
        "no array of numbers": lambda file: file.__setitem__("x", "text"),
    }


@pytest.mark.parametrize("said", hostile())
def test_a_hostile_file_is_refused__CKP_08(tmp_path: Path, said: str) -> None:
    with pytest.raises(SourceError, match=said):
        read_arrays(written(tmp_path / "a.h5", hostile()[said]))


def test_compressed_zeros_are_refused__CKP_10(tmp_path: Path) -> None:
    bomb = written(
        tmp_path / "a.h5",
        lambda file: file.create_dataset("x", data=np.zeros(1 << 20, "f4"), chunks=True, compression="gzip"),
    )
    with pytest.raises(SourceError, match="more numbers than the file holds"):
        read_arrays(bomb)
    path = tmp_path / "a.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.weights.h5", bytes(1 << 24))
    with pytest.raises(SourceError, match="16,777,216 bytes in an archive of"):
        read_arrays(path)


def test_a_damaged_file_is_refused_by_name(tmp_path: Path) -> None:
    whole = written(tmp_path / "whole.h5").read_bytes()
    cases = {"cut.h5": whole[: len(whole) // 2], "noise.h5": b"noise" * 100, "empty.h5": b""}
    for name, data in cases.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(SourceError, match=name):
            read_arrays(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "bare.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    for path in (tmp_path / "bare.keras", packed(tmp_path / "cut.keras", {}, whole[:100]), tmp_path / "absent.h5"):
        with pytest.raises(SourceError, match=path.name):
            read_arrays(path)
