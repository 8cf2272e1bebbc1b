"""Classes whose folders are called by ids get the names that a list beside them gives (issue 16)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from headstart.data.file_tree import Folder
from headstart.data.readers.folders.class_names import names_beside
from headstart.data.readers.open import open_dataset

IDS = ("n01440764", "n01443537", "n02012849")
WORDS = "n01440764\ttench, Tinca tinca\nn01443537\tgoldfish\nn02012849\tcrane\nn03126707\tcrane\n"
Fill = Callable[..., Path]


@pytest.mark.parametrize(
    ("ids", "name", "text", "classes"),
    [
        (IDS, "words.txt", WORDS, ("crane", "goldfish", "tench")),
        (IDS, "meta/synsets.txt", WORDS.replace("\t", " "), ("crane", "goldfish", "tench")),
        (IDS[:2], "names.txt", "n01440764 crane, bird\nn01443537 crane, lift\n", ("crane, bird", "crane, lift")),
        (("0", "1"), "labels.csv", "id,name,photos\n0,Ölflasche,12\n1,'box',13\n", ("box", "Ölflasche")),
        (("class_1", "class_2"), "classes.txt", "class_2: bus\nclass_1: car\n", ("bus", "car")),
    ],
)
def test_a_list_whose_first_column_holds_the_ids_names_the_classes(
    tmp_path: Path, fill: Fill, ids: tuple[str, ...], name: str, text: str, classes: tuple[str, ...]
) -> None:
    fill(tmp_path, {f"{part}/{one}": 2 for part in ("train", "test") for one in ids})
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text)
    data = open_dataset(tmp_path)
    assert data.classes == classes == tuple(sorted({example.label for example in data.examples}))
    assert len(data) == 4 * len(ids) and data.total == 4 * len(ids) + 1
    assert any(f"names of the classes are taken from {name}, such as" in note for note in data.notes)
    assert data.ignored == 1


@pytest.mark.parametrize(
    "text",
    [
        "n01440764 tench\nn01443537 goldfish\n",  # one is not named
        WORDS.replace("goldfish", "crane"),  # two are called alike
        "n01440764\nn01443537\nn02012849\n",
        "n01440764 500 photos\nn01443537 510 photos\nn02012849 520 photos\n",
    ],
)
def test_a_list_that_does_not_name_each_class_apart_names_none(tmp_path: Path, fill: Fill, text: str) -> None:
    fill(tmp_path, dict.fromkeys(IDS, 2))
    (tmp_path / "words.txt").write_text(text)
    assert open_dataset(tmp_path).classes == IDS


def test_folders_that_are_called_by_words_keep_their_names(tmp_path: Path, fill: Fill) -> None:
    assert names_beside(Folder(tmp_path), [], ("cat", "dog")) is None
    fill(tmp_path, {"cat": 2, "dog": 2})
    (tmp_path / "notes.txt").write_text("cat lives at home\ndog barks\n")
    assert open_dataset(tmp_path).classes == ("cat", "dog")
