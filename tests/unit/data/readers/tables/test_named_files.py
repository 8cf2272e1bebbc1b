"""Which file a cell means: by its path, by an end of it, by its name or stem, below the table or a further folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from headstart.data.dataset import BadExample
from headstart.data.file_tree import Folder, Tree
from headstart.data.readers.tables.named_files import NamedFiles


def tree_of(folder: Path, *paths: str) -> Tree:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(path.encode())
    return Folder(folder)


def files_of(folder: Path, *paths: str) -> NamedFiles:
    return NamedFiles(tree_of(folder, *paths))


@pytest.mark.parametrize("cell", ["im/a.jpg", "./im/a.jpg", " im/a.jpg ", "im\\a.jpg", "a.jpg", "a", "im/a"])
def test_every_way_to_write_a_path_finds_the_file(tmp_path: Path, cell: str) -> None:
    assert files_of(tmp_path, "im/a.jpg", "im/b.jpg").find(cell) == "im/a.jpg"


@pytest.mark.parametrize("cell", ["c.jpg", "other/a.jpg", "im/a.png", "", "m/a.jpg"])
def test_a_cell_that_names_no_file_is_returned_as_it_is(tmp_path: Path, cell: str) -> None:
    assert files_of(tmp_path, "im/a.jpg").find(cell) == cell


def test_a_url_names_no_file_whatever_it_ends_in(tmp_path: Path) -> None:
    url = "https://example.org/im/a.jpg"
    files = files_of(tmp_path, "im/a.jpg")
    assert files.find(url, skip=4) == url


def test_only_whole_folder_names_are_the_end_of_a_path(tmp_path: Path) -> None:
    files = files_of(tmp_path, "big/cat/1.jpg", "bigcat/1.jpg")
    assert files.find("cat/1.jpg") == "big/cat/1.jpg"


def test_a_name_of_several_files_is_no_guess_but_their_folder_decides(tmp_path: Path) -> None:
    files = files_of(tmp_path, "cats/1.jpg", "dogs/1.jpg")
    with pytest.raises(BadExample, match=r"names 2 files: cats/1\.jpg, dogs/1\.jpg"):
        files.find("1.jpg")
    assert files.find("dogs/1.jpg") == "dogs/1.jpg"
    assert files.paths(["1.jpg"]) == {"cats/1.jpg", "dogs/1.jpg"}


def test_a_stem_means_the_example_and_not_the_note_beside_it(tmp_path: Path) -> None:
    assert files_of(tmp_path, "a.jpg", "a.xml", "b.xml").find("a") == "a.jpg"
    assert files_of(tmp_path, "b.xml").find("b") == "b.xml"


def test_the_folders_of_another_machine_are_left_out_and_how_many_is_told(tmp_path: Path) -> None:
    files = files_of(tmp_path, *(f"im/{at}.jpg" for at in range(4)))
    cells = [f"/home/ann/data/im/{at}.jpg" for at in range(4)]
    share, skip = files.fit(cells)
    assert share == 1.0
    assert [files.find(cell, skip) for cell in cells] == [f"im/{at}.jpg" for at in range(4)]
    assert files.paths(cells) == {f"im/{at}.jpg" for at in range(4)}


def test_the_share_counts_what_is_there(tmp_path: Path) -> None:
    files = files_of(tmp_path, "0.jpg", "1.jpg", "2.jpg")
    assert files.fit([f"{at}.jpg" for at in range(4)]) == (0.75, 0)
    assert files.fit(["0.jpg", "1.jpg"]) == (1.0, 0)
    assert files.fit([]) == (0.0, 0)
    assert files.fit(["red", "green"]) == (0.0, 0)


def test_below_its_own_folder_comes_first(tmp_path: Path) -> None:
    files = files_of(tmp_path, "train/1.jpg", "test/1.jpg", "test/2.jpg", "note.xml")
    assert files.below("test").find("1.jpg") == "test/1.jpg"
    assert files.below("train").find("1.jpg") == "train/1.jpg"
    assert files.below("train").find("2.jpg") == "test/2.jpg"
    assert [files.below(base).count for base in ("test", "train", "empty")] == [2, 1, 3]


def test_litter_is_no_file_and_other_files_are_no_examples(tmp_path: Path) -> None:
    files = files_of(tmp_path, "a.jpg", "__MACOSX/b.jpg", ".hidden.jpg", "notes.csv")
    assert files.examples == ["a.jpg"]
    assert files.find("b.jpg") == "b.jpg"


def test_a_further_folder_is_looked_through_and_none_of_it_twice(tmp_path: Path) -> None:
    table, photos = tmp_path / "table", tmp_path / "photos"
    tree_of(photos, "deep/x.jpg")
    files = NamedFiles(tree_of(table, "y.jpg"), photos)
    assert Path(files.find("x.jpg")).resolve() == (photos / "deep/x.jpg").resolve()
    assert files.find("y.jpg") == "y.jpg"
    around = NamedFiles(Folder(table), tmp_path)
    assert around.find("y.jpg") == "y.jpg", "the table's own folder lies below the further one and counts once"
    assert len(around.examples) == 2


def test_a_cell_with_a_null_byte_is_no_path(tmp_path: Path) -> None:
    files = files_of(tmp_path, "a.jpg")
    assert not files.is_path("a\0.jpg") and not files.is_path("") and files.is_path("a.jpg")
