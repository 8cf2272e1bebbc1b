"""Labels in names: the pattern takes them, and names suggest one that works."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from headstart.base.errors import DataError, UsageError
from headstart.data.readers.name_labels import labels_by, suggested_pattern
from headstart.data.readers.open import open_dataset


@pytest.mark.parametrize(
    ("pattern", "label"), [(r"(\w+)\.\d", "cat"), (r"[a-z]+(?=\.)", "cat"), (r"(d)/(?P<label>c)", "c"), ("dog", None)]
)
def test_the_group_called_label_or_the_first_or_the_match_is_the_label(pattern: str, label: str | None) -> None:
    assert labels_by(pattern)("d/cat.0.jpg") == label


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        ("cat.{}.jpg dog.{}.jpg", "cat dog"),
        ("great_daisy_{}.jpg Red_rose_{}.jpg", "great_daisy Red_rose"),
        ("{}-0-0-1.wav {}-1-0-1.wav", "0 1"),
        ("x/{}_cat.png x/{}_dog.png", "cat dog"),
        ("cat ({}).jpg dog ({}).jpg", "cat dog"),
    ],
)
def test_names_suggest_a_pattern(names: str, labels: str) -> None:
    patterns = names.replace(" (", "#").split()
    paths = [name.replace("#", " (").format(number) for number in range(10, 20) for name in patterns]
    pattern = suggested_pattern(paths)
    assert pattern
    assert {labels_by(pattern)(path) for path in paths} == set(labels.split())


def test_names_that_are_all_different_suggest_nothing() -> None:
    assert suggested_pattern([f"{number:x}f.jpg" for number in range(100, 120)]) is None


@pytest.mark.parametrize("above", ["", "train/", "images/"])
def test_the_suggested_command_works(tmp_path: Path, above: str) -> None:
    for number in range(6):
        for name in ("cat", "dog"):
            path = tmp_path / f"{above}{name}.{number}.jpg"
            path.parent.mkdir(exist_ok=True)
            path.touch()
    with pytest.raises(DataError, match="2 classes") as error:
        open_dataset(tmp_path)
    option = re.search(r"--label-from '(.*)'", str(error.value))
    assert option
    data = open_dataset(tmp_path, label_from=option[1])
    assert (data.classes, len(data), data.ignored) == (("cat", "dog"), 12, 0)


def test_patterns_that_give_nothing_are_one_line(tmp_path: Path) -> None:
    for name in ("cat.1.jpg", "dog.2.jpg"):
        (tmp_path / name).touch()
    for pattern in ("nothing", "jpg"):
        with pytest.raises(DataError, match="at least two labels"):
            open_dataset(tmp_path, label_from=pattern)
    with pytest.raises(UsageError, match="regular expression"):
        open_dataset(tmp_path, label_from="(")
