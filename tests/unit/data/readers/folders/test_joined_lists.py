"""Texts that tell parts and labels of files by an id, by name alone, or for one part (field f11: nothing is lost)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from headstart.base.errors import DataError
from headstart.data.file_tree import Folder
from headstart.data.readers.folders.joined_lists import labels_of_part
from headstart.data.readers.open import open_dataset

PHOTO = b"\xff\xd8\xff"


def photos(root: Path, names: list[str]) -> Path:
    for at, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(PHOTO + bytes([at]))
    return root


def text(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def numbered(root: Path, names: list[str]) -> Path:
    """Return a folder in the layout of CUB-200: ten photos learn, six test, and the class ids alternate."""
    photos(root, [f"images/{name}" for name in names])
    text(root / "images.txt", [f"{at + 1} {name}" for at, name in enumerate(names)])
    text(root / "train_test_split.txt", [f"{at + 1} {int(at < 10)}" for at in range(16)])
    text(root / "image_class_labels.txt", [f"{at + 1} {at % 2 + 1}" for at in range(16)])
    text(root / "classes.txt", ["1 001.Albatross", "2 002.Auklet"])
    text(root / "bounding_boxes.txt", [f"{at + 1} 60.0 27.0 325.0 304.0" for at in range(16)])
    text(root / "README", ["about", "these photos"])
    return root


@pytest.mark.parametrize(
    "name", [lambda at: f"00{at % 2 + 1}.{('Albatross', 'Auklet')[at % 2]}/{at}.jpg", lambda at: f"{at}.jpg"]
)
def test_parts_and_classes_are_joined_by_their_ids(tmp_path: Path, name: Callable[[int], str]) -> None:
    dataset = open_dataset(numbered(tmp_path, [name(at) for at in range(16)]))
    assert Counter(one.split for one in dataset.examples) == {"train": 10, "test": 6}
    assert dataset.classes == ("001.Albatross", "002.Auklet")
    assert all(one.label.startswith(f"00{int(Path(one.id).stem) % 2 + 1}.") for one in dataset.examples)
    assert "test and train from train_test_split.txt" in dataset.layout
    assert dataset.total == 16 + 6


def test_texts_whose_ids_differ_or_repeat_tell_nothing(tmp_path: Path) -> None:
    names = [f"{'ab'[at % 2]}/{at}.jpg" for at in range(16)]
    numbered(tmp_path, names)
    text(tmp_path / "train_test_split.txt", [f"{at + 100} 1" for at in range(16)])
    text(tmp_path / "image_class_labels.txt", ["1 1", *(f"{at + 1} {at % 2}" for at in range(16))])
    assert {one.split for one in open_dataset(tmp_path).examples} == {None}


def test_a_text_with_a_label_behind_each_name_gives_it_where_folders_do_not(tmp_path: Path) -> None:
    photos(tmp_path, [f"images/{at}.jpg" for at in range(12)])
    text(tmp_path / "default.txt", [f"{at}.jpg {at % 3}" for at in range(12)])
    dataset = open_dataset(tmp_path)
    assert dataset.classes == ("0", "1", "2") and dataset.layout == "3 classes, labels from default.txt."
    assert {one.split for one in dataset.examples} == {None}
    text(tmp_path / "default.txt", [f"{at}.jpg {at}" for at in range(12)])  # a quantity, or an id
    with pytest.raises(DataError, match="one label behind each name"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("top", ["", "set/"])
def test_a_part_without_class_folders_takes_its_classes_from_a_text_in_it(tmp_path: Path, top: str) -> None:
    names = [f"{top}train/{'ab'[at % 2]}/images/{at}.jpg" for at in range(8)]
    photos(tmp_path, [*names, *(f"{top}val/images/v{at}.jpg" for at in range(5)), f"{top}test/images/t.jpg"])
    text(tmp_path / top / "val/val_annotations.txt", [f"v{at}.jpg\t{'ab'[at % 2]}\t0\t32" for at in range(5)])
    dataset = open_dataset(tmp_path)
    assert dataset.classes == ("a", "b") and "validation from val/" in dataset.layout
    assert [one.label for one in dataset.examples if one.split == "validation"] == ["a", "b", "a", "b", "a"]
    assert "The classes of val/ are taken from val/val_annotations.txt." in dataset.notes
    assert any("test/ is set aside for predict: 1 photo without" in note for note in dataset.notes)
    assert dataset.total == 15


def test_one_folder_that_wraps_the_classes_is_stepped_into_however_deep(tmp_path: Path) -> None:
    photos(tmp_path, [f"Takeout/Google Photos/{label}/{at}.jpg" for label in ("Cats", "Dogs") for at in range(3)])
    text(tmp_path / "Takeout/archive_browser.html", ["<html>"])
    assert open_dataset(tmp_path).classes == ("Cats", "Dogs")


def test_a_text_that_names_few_of_a_part_or_other_classes_gives_none(tmp_path: Path) -> None:
    text(tmp_path / "val/notes.txt", ["a.jpg x", "b.jpg y"])
    for paths, classes in ((["val/a.jpg", "val/b.jpg"], {"z"}), ([f"val/{name}.jpg" for name in "abcdef"], {"x", "y"})):
        assert labels_of_part(Folder(tmp_path), Folder(tmp_path).files, paths, classes) is None
