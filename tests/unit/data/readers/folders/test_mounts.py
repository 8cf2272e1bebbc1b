"""Archives in a folder are folders, read in place, where no picture lies outside of them."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from headstart.base.errors import DataError
from headstart.data.dataset import BadExample
from headstart.data.file_tree import Folder, Tree
from headstart.data.readers.folders.mounts import MOST, Mounted, mounted
from headstart.data.readers.open import open_dataset


def packed(*members: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in members:
            archive.writestr(name, f"content of {name}")
    return file.getvalue()


def tree_of(folder: Path, files: dict[str, bytes]) -> Tree:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return mounted(Folder(folder))


def paths(tree: Tree) -> list[str]:
    return [file.path for file in tree.files]


def test_members_lie_below_the_name_of_their_archive_and_are_read(tmp_path: Path) -> None:
    tree = tree_of(tmp_path, {"cat.zip": packed("0.jpg", "in/1.jpg"), "dog": packed("0.jpg"), "notes.txt": b"notes"})
    assert paths(tree) == ["cat/0.jpg", "cat/in/1.jpg", "dog/0.jpg", "notes.txt"]
    assert tree.folders == {"cat", "cat/in", "dog"}
    assert tree.read("cat/in/1.jpg") == b"content of in/1.jpg" and tree.read("dog/0.jpg") == b"content of 0.jpg"
    assert tree.read("notes.txt") == b"notes" and tree.read("cat/0.jpg", limit=4, begin=True)[:4] == b"cont"


def test_a_member_that_is_not_there_is_absent_as_any_file_is(tmp_path: Path) -> None:
    tree = tree_of(tmp_path, {"cat.zip": packed("0.jpg"), "notes.txt": b"notes"})
    for path in ("cat/1.jpg", "dog/0.jpg"):
        with pytest.raises(BadExample, match="gone"):
            tree.read(path, absent="gone")
    with pytest.raises(BadExample, match="too large"):
        tree.read("cat/0.jpg", limit=3)


def test_an_archive_around_a_folder_of_its_name_is_that_folder(tmp_path: Path) -> None:
    tree = tree_of(tmp_path, {"Cat.zip": packed("cat/0.jpg", "__MACOSX/x"), "dog.zip": packed("other/0.jpg")})
    assert "Cat/0.jpg" in paths(tree) and "dog/other/0.jpg" in paths(tree)
    beside = tree_of(tmp_path / "more", {"cat.zip": packed("cat/0.jpg", "1.jpg")})
    assert paths(beside) == ["cat/1.jpg", "cat/cat/0.jpg"]


@pytest.mark.parametrize("name", ["photo.jpg", "deep/in/photo.png", "clip.wav"])
def test_where_a_picture_or_recording_lies_outside_archives_are_but_files(tmp_path: Path, name: str) -> None:
    files = {"cat.zip": packed("0.jpg"), name: b"x"}
    assert not isinstance(tree_of(tmp_path, files), Mounted)


def test_a_hidden_picture_counts_as_none(tmp_path: Path) -> None:
    assert isinstance(tree_of(tmp_path, {"cat.zip": packed("0.jpg"), "__MACOSX/photo.jpg": b"x"}), Mounted)


def test_what_is_unpacked_already_is_not_read_twice(tmp_path: Path) -> None:
    tree = tree_of(tmp_path, {"cat.zip": packed("0.txt"), "cat/0.txt": b"x", "dog.zip": packed("0.txt")})
    assert paths(tree) == ["cat.zip", "cat/0.txt", "dog/0.txt"] and tree.read("cat/0.txt") == b"x"


def test_archives_below_and_other_files_in_zip_form_stay_files(tmp_path: Path) -> None:
    arrays = io.BytesIO()
    np.savez(arrays, x=np.zeros(3))
    files = {
        "deep/cat.zip": packed("0.jpg"),
        "arrays": arrays.getvalue(),
        "book.zip": packed("[Content_Types].xml", "xl/book.xml"),
        "notes.docx": packed("word/document.xml"),
    }
    assert not isinstance(tree_of(tmp_path, files), Mounted)


def test_more_archives_than_can_be_open_are_refused(tmp_path: Path) -> None:
    one = packed("0.jpg")
    with pytest.raises(DataError, match=f"must hold at most {MOST} archives; found {MOST + 1}; unpack them"):
        tree_of(tmp_path, {f"{at}.zip": one for at in range(MOST + 1)})


def test_a_packed_archive_in_an_archive_is_named_and_unpacking_the_outer_one_helps(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    inside = {f"{label}/{at}.jpg": b"\xff\xd8\xff" + random.bytes(900) for label in "ab" for at in range(3)}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in inside.items():
            archive.writestr(name, data)
    with zipfile.ZipFile(tmp_path / "outer.zip", "w", zipfile.ZIP_DEFLATED) as outer:
        outer.writestr("data.zip", file.getvalue())
    with pytest.raises(DataError, match=r"data.zip must be stored as it is.*; unpack .*outer.zip"):
        open_dataset(tmp_path / "outer.zip")
    (tmp_path / "unpacked").mkdir()
    zipfile.ZipFile(tmp_path / "outer.zip").extractall(tmp_path / "unpacked")
    assert open_dataset(tmp_path / "unpacked").classes == ("a", "b")
