"""What folders are: classes, parts or groups, by their structure and not by their names alone."""

from __future__ import annotations

import pytest

from headstart.base.errors import DataError
from headstart.data.dataset import Dataset
from headstart.data.readers.folders.layout import Layout, are_numbered, layout_of
from headstart.data.readers.open import open_dataset


def tree(**tops: str) -> tuple[list[str], list[str]]:
    """Return the folders of the first level, and two files in each of the folders named below them."""
    files = [f"{top}/{label}/{n}.jpg" for top, labels in tops.items() for label in labels.split() for n in range(2)]
    return sorted(tops), files


@pytest.mark.parametrize(
    ("tops", "parts"),
    [
        ({"Training": "a b", "Testing": "a b"}, {"Training": "train", "Testing": "test"}),
        ({"TRAIN": "a b", "VAL": "a b"}, {"TRAIN": "train", "VAL": "validation"}),
        ({"train": "a b", "eval": "b"}, {"train": "train", "eval": "validation"}),
        ({"seg_train": "a b c", "seg_test": "a b"}, {"seg_train": "train", "seg_test": "test"}),
        ({"train2017": "a b", "valImages": "a b"}, {"train2017": "train", "valImages": "validation"}),
        ({"train": "a b", "holdout": "a c", "notes": "x"}, {"train": "train", "holdout": "test"}),
        ({"train": "a b", "bus": "a b", "car": "c"}, {}),
        ({"training shoes": "red blue", "test tubes": "glass plastic"}, {}),
        ({"cat": "tabby siamese", "dog": "poodle"}, {}),
    ],
    ids=lambda value: " ".join(value) or "none",
)
def test_parts_are_told_by_what_they_hold(tops: dict[str, str], parts: dict[str, str]) -> None:
    assert layout_of(*tree(**tops)).parts == parts


def test_folders_that_all_hold_the_same_folders_are_groups() -> None:
    layout = layout_of(*tree(patient1="ill well", patient2="ill well", patient3="well ill"))
    assert layout == Layout(groups=frozenset({"patient1", "patient2", "patient3"}), levels=("group", "class"))
    assert layout.sentence(2) == "2 classes, groups from patient1/, patient2/, patient3/."
    assert not layout_of(*tree(one="a", two="a")).groups, "one folder in each tells nothing"


@pytest.mark.parametrize("flat", ["test/1.jpg", "test/unknown/1.jpg", "test/test1/1.jpg"])
def test_a_part_without_the_classes_is_unlabelled(flat: str) -> None:
    tops, files = tree(train="a b")
    layout = layout_of([*tops, "test"], [*files, flat])
    assert layout.unlabelled == {"test"}
    assert layout.sentence(2) == "2 classes, train from train/, unlabelled from test/."


@pytest.mark.parametrize(
    ("tops", "numbered"), [("fold1 fold2", True), ("part_01 part_02", True), ("1 2 3", False), ("fold1 rose", False)]
)
def test_folds_and_shards_are_no_classes(tops: str, numbered: bool) -> None:
    assert are_numbered(tops.split()) is numbered


def test_folders_become_a_data_set_as_they_were_read(tmp_path_factory: pytest.TempPathFactory) -> None:
    def made(files: list[str], name: str) -> Dataset:
        folder = tmp_path_factory.mktemp("layout") / name
        for file in files:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).touch()
        return open_dataset(folder)

    dataset = made([*tree(Training="a b", Testing="a b")[1]], "mri")
    assert (dataset.classes, {example.split for example in dataset.examples}) == (("a", "b"), {"train", "test"})
    assert dataset.layout == "2 classes, test from Testing/, train from Training/."
    dataset = made([*tree(day1="a b", day2="a b")[1]], "days")
    assert {(example.group, example.split) for example in dataset.examples} == {("day1", None), ("day2", None)}
    dataset = made([*tree(train="a b")[1], "test/1.jpg"], "flat")
    assert (dataset.ignored, len(dataset.examples)) == (1, 4)
    assert dataset.notes[0].startswith("test/ is set aside for predict: 1 photo without a label (headstart predict")
    with pytest.raises(DataError, match="which are numbered parts"):
        made(["fold1/1.jpg", "fold2/1.jpg"], "folds")


@pytest.mark.parametrize(
    ("files", "places"),
    [
        ("cat/train/1.jpg cat/test/2.jpg dog/train/3.jpg dog/test/4.jpg", "cat dog"),
        ("train/images/a/1.jpg train/images/b/2.jpg test/images/a/3.jpg", ["a train", "b train", "a test"]),
        ("images/train/a/1.jpg images/train/b/2.jpg images/val/a/3.jpg", ["a train", "b train", "a validation"]),
        ("a/1.jpg b/2.jpg test/a/3.jpg test/b/4.jpg", ["a train", "b train", "a test", "b test"]),
        ("a/1.jpg b/2.jpg test/3.jpg", ["a train", "b train", "unlabelled"]),
        ("a/x/1.jpg b/y/2.jpg", ["a None", "b None"]),
        ("train/a/1.jpg bus/a/2.jpg car/c/3.jpg", ["train None", "bus None", "car None"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_level_has_its_role(files: str, places: list[str] | str) -> None:
    paths = files.split()
    layout = layout_of(sorted({path.partition("/")[0] for path in paths}), paths)
    found = [layout.place(path.split("/")[:-1]) for path in paths]
    if isinstance(places, str):
        places = [f"{label} {split}" for label in places.split() for split in ("train", "test")]
    assert ["unlabelled" if one.unlabelled else f"{one.label} {one.split}" for one in found] == places


def test_a_folder_beside_others_of_no_photos_is_stepped_into() -> None:
    layout = layout_of(
        ["images", "labels"], ["images/train/a/1.jpg", "images/test/b/2.jpg"], with_files={"labels/train"}
    )
    assert layout.place(["images", "train", "a"]) == ("a", "train", None, False)
    assert layout_of(["a", "b"], ["a/x/1.jpg", "a/y/2.jpg"]).levels == ("class",), "b is an empty class"
