"""Folders, containers and arrays as people have them, made by ../shared/field; its README says what must come out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from headstart.base.errors import DataError
from headstart.base.progress import Progress
from headstart.data.audit import scan
from headstart.data.dataset import Dataset
from headstart.data.readers.open import open_dataset, open_inputs

pytestmark = pytest.mark.shared
Made = Callable[[str], Path]


def parts(data: Dataset) -> Counter[str | None]:
    """Return how many readable examples each part holds."""
    found = scan(data, progress=Progress()).dataset
    assert not found.skipped
    return Counter(example.split for example in found.examples)


@pytest.mark.parametrize(("below", "classes"), [("dvc/train", "cat dog"), ("pets/images", "Red_roses great_daisy")])
def test_labels_in_names__f08(made: Made, below: str, classes: str) -> None:
    folder = made("f08") / below
    with pytest.raises(DataError, match="the names suggest 2 classes") as error:
        open_dataset(folder)
    option = re.search(r"--label-from '(.*)'", str(error.value))
    assert option
    data = open_dataset(folder, label_from=option[1])
    assert (data.classes, parts(data)) == (tuple(classes.split()), {None: 30})


@pytest.mark.parametrize("form", ["comp.zip", "unpacked"])
def test_zip_in_zip__f09(made: Made, form: str) -> None:
    assert parts(open_dataset(made("f09") / form)) == {"train": 24, "test": 10}


@pytest.mark.parametrize("kind", ["flat", "unknown"])
def test_a_test_part_without_labels__f10(made: Made, kind: str) -> None:
    folder = made("f10") / kind
    data = open_dataset(folder)
    assert (parts(data), data.classes) == ({"train": 30}, ("daisy", "roses"))
    assert "set aside for predict: 12 photos" in data.notes[0]
    assert len(open_inputs([folder / "test"])) == 12


@pytest.mark.parametrize(
    ("kind", "part"), [("mri", "test"), ("eval", "validation"), ("up", "validation"), ("images", "validation")]
)
def test_parts_of_other_names__f11(made: Made, kind: str, part: str) -> None:
    data = open_dataset(made("f11") / kind)
    assert (parts(data), data.classes) == ({"train": 45, part: 24}, ("daisy", "roses", "tulips"))
    assert data.layout.startswith("3 classes")


@pytest.mark.parametrize("kind", ["dirs", "links"])
def test_links__f15(made: Made, kind: str) -> None:
    folder = made("f15")
    with pytest.raises(DataError, match=r"\d+ links were not followed .*--follow-links"):
        open_dataset(folder / kind)
    for reading in ({"follow_links": True}, {"root": folder / "store"}):
        assert parts(open_dataset(folder / kind, **reading)) == {None: 24}
    assert parts(open_dataset(folder / "whole")) == {None: 24}


def test_folds_are_no_classes__f19(made: Made) -> None:
    folder = made("f19")
    with pytest.raises(DataError, match="numbered parts"):
        open_dataset(folder / "audio")
    data = open_dataset(folder, columns={"group": "fold"})
    assert (data.classes, {example.group for example in data.examples}) == (("one", "two", "zero"), set("123"))


def test_arrays__f27(made: Made) -> None:
    folder = made("f27")
    x, y = np.load(folder / "X.npy"), np.load(folder / "Y.npy")
    grey = np.rint(x * 255).astype(np.uint8)
    rgb = np.repeat(grey[..., None], 3, 3)
    ways = [
        (x, y),
        (grey, y),
        (grey[..., None], y),
        (x.astype(float) * 255, y),
        (grey.astype(int), y[:, :1] * 0 + y.argmax(1)[:, None]),
    ]
    wanted = open_dataset((grey, y.argmax(1)))
    for way in (*ways, folder, folder / "sign.npz"):
        data = open_dataset(way)
        assert data.classes == ("0", "1", "2")
        assert [data.read(at) for at in (0, 44)] == [wanted.read(at) for at in (0, 44)]
    for colour in (rgb, rgb / 255, rgb.transpose(0, 3, 1, 2)):
        assert open_dataset((colour, y)).read(7) == open_dataset((rgb, y)).read(7)


@pytest.mark.parametrize("form", ["idx", "shard-000000.tar", "pixels.csv", "fer.csv", "mnist.npz"])
def test_containers_that_are_read__f28(made: Made, form: str) -> None:
    pytest.importorskip("scipy")
    data = open_dataset(made("f28") / form)
    assert (sum(parts(data).values()), data.classes) == (24, ("0", "1"))


@pytest.mark.parametrize(
    ("form", "says"),
    [("cifar", "a pickle, which is never opened"), ("flowers102", "MATLAB"), ("tfr", "TFRecord"), ("lmdb", "LMDB")],
)
def test_containers_that_are_named__f28(made: Made, form: str, says: str) -> None:
    pytest.importorskip("scipy")
    with pytest.raises(DataError, match=says):
        open_dataset(made("f28") / form)
