"""Links: followed where that is allowed, each folder once; else counted, with the option that follows them."""

from __future__ import annotations

from pathlib import Path

import pytest

from headstart.base.errors import DataError
from headstart.data.file_tree import Folder
from headstart.data.readers.open import open_dataset, open_inputs


@pytest.fixture
def links(tmp_path: Path) -> Path:
    for label in "ab":
        for number in range(2):
            path = tmp_path / "store" / label / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"\xff\xd8\xff" + label.encode())
            link = tmp_path / "files" / label / path.name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)
        (tmp_path / "dirs").mkdir(exist_ok=True)
        (tmp_path / "dirs" / label).symlink_to(f"../store/{label}")
    return tmp_path


@pytest.mark.parametrize("form", ["dirs", "files"])
def test_links_are_followed_where_that_is_allowed__IMG_17(links: Path, form: str) -> None:
    with pytest.raises(DataError, match=r"links were not followed .*--follow-links"):
        open_dataset(links / form)
    for data in (open_dataset(links / form, follow_links=True), open_dataset(links / form, root=links / "store")):
        assert [(example.id, example.label) for example in data.examples][::2] == [("a/0.jpg", "a"), ("b/0.jpg", "b")]
        assert data.read(0) == b"\xff\xd8\xffa"
    with pytest.raises(DataError, match="links were not followed"):
        open_dataset(links / form, root=links / "files" / "a")
    assert len(open_inputs([links / form], follow_links=True)) == 4


def test_a_folder_is_listed_once_and_circles_end__IMG_17(links: Path) -> None:
    (links / "dirs/c").symlink_to("../store/a")
    (links / "dirs/up").symlink_to("..")
    (links / "store/a/back").symlink_to("..")
    (links / "store/a/in").symlink_to(links / "store/a")
    files = {file.path: file.problem for file in Folder(links / "dirs", follow_links=True).files}
    assert [path for path, problem in files.items() if not problem] == ["a/0.jpg", "a/1.jpg", "b/0.jpg", "b/1.jpg"]
    assert files["up"] == "link in a circle"
    assert files["c"] == files["a/in"] == "link to a folder that is listed already"
