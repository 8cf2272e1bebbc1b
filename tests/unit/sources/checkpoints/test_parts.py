"""A network in parts is read by its index; a part that is missing, or a tensor in another part, is one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from headstart.base.errors import SourceError
from headstart.sources.checkpoints.index import find_weights
from headstart.sources.checkpoints.parts import read_contents

STATE = {f"layer.{n}.weight": torch.full((2, 3), float(n)) for n in range(4)}
NAMES = list(STATE)


def sharded(folder: Path, suffix: str = ".safetensors", save: Callable[[Any, Path], Any] = save_file) -> Path:
    stem = "model" if suffix == ".safetensors" else "pytorch_model"
    parts = {f"{stem}-0000{n + 1}-of-00002{suffix}": NAMES[n::2] for n in range(2)}
    for name, names in parts.items():
        save({key: STATE[key].clone() for key in names}, folder / name)
    index = folder / f"{stem}{suffix}.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": {key: name for name in parts for key in parts[name]}}))
    return index


@pytest.mark.parametrize(("suffix", "save"), [(".safetensors", save_file), (".bin", torch.save)])
def test_parts_are_read_as_one_network(suffix: str, save: Callable[[Any, Path], Any], tmp_path: Path) -> None:
    index = sharded(tmp_path, suffix, save)
    assert find_weights(tmp_path) == index
    contents = read_contents(index)
    found = contents.fetch(contents.tree)
    assert found.keys() == STATE.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in STATE.items())


def test_a_part_that_is_missing_is_named(tmp_path: Path) -> None:
    index = sharded(tmp_path)
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(SourceError, match=r"1 of 2 missing: model-00002-of-00002\.safetensors; fetch them"):
        read_contents(index)


@pytest.mark.parametrize("change", ["swap", "lose", "add"])
def test_a_tensor_that_is_not_where_the_index_says_is_named(change: str, tmp_path: Path) -> None:
    index = sharded(tmp_path)
    content = json.loads(index.read_text())
    places = content["weight_map"]
    if change == "swap":
        places[NAMES[0]] = places[NAMES[1]]
    elif change == "lose":
        del places[NAMES[0]]
    else:
        places["another.weight"] = places[NAMES[0]]
    index.write_text(json.dumps(content))
    with pytest.raises(
        SourceError, match=r"model-0000\d-of-00002.safetensors must hold what .*index.json says"
    ) as caught:
        read_contents(index)
    assert ("another.weight" if change == "add" else NAMES[0]) in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b'{"weight_map": {}}', b'{"weight_map": {"a": "../b"}}', b'{"weight_map": {"a": 1}}', b"[" * 10**5],
)
def test_an_index_that_is_none_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_bytes(content)
    with pytest.raises(SourceError, match=r"index.json must be the index of a network in parts"):
        read_contents(tmp_path / "model.safetensors.index.json")


def test_a_folder_with_one_file_of_weights_is_that_file_and_several_are_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="must hold weights; found nothing"):
        find_weights(tmp_path)
    for name in ("model.safetensors", "pytorch_model.bin"):
        (tmp_path / name).touch()
    assert find_weights(tmp_path).name == "model.safetensors"
    (tmp_path / "other.safetensors").touch()
    with pytest.raises(SourceError, match=r"found model\.safetensors, other\.safetensors; name the one"):
        find_weights(tmp_path)
