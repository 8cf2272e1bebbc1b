"""A list of classes takes a part of the data, and says what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from headstart.base.errors import DataError
from headstart.data.dataset import Dataset, Example, Skipped
from headstart.data.labels import keep_classes, read_classes

DATA = Dataset(
    "zoo",
    "image",
    tuple(Example(f"{name}{at}", name) for name in ("cat", "dog", "owl") for at in range(2)),
    ("cat", "dog", "owl"),
    lambda at: b"%d" % at,
    (Skipped("dog9", "dog", "empty"), Skipped("cat9", "cat", "empty")),
)


def test_comments_blank_lines_and_repeats_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("# living\nowl\n\n cat \nowl\n")
    assert read_classes(tmp_path / "list.txt") == ("owl", "cat")


def test_the_classes_alone_are_kept_with_their_own_bytes() -> None:
    kept = keep_classes(DATA, ["owl", "cat"], where="list.txt")
    assert kept.classes == ("cat", "owl")
    assert [example.id for example in kept.examples] == ["cat0", "cat1", "owl0", "owl1"]
    assert kept.read(2) == b"4"
    assert [one.id for one in kept.skipped] == ["cat9"]


@pytest.mark.parametrize(
    ("text", "said"), [("cat\ndogg\n", "did you mean 'dog'"), ("cat\n", "only one, 'cat'"), ("# none\n", "none")]
)
def test_a_wrong_list_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(DataError, match=said):
        keep_classes(DATA, read_classes(tmp_path / "list.txt"), where="list.txt")


def test_a_list_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="text file of class names"):
        read_classes(tmp_path / "list.txt")
