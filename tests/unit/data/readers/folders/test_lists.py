"""Lists of files: told by their lines, their part by their name; numbered ones are alternatives."""

from __future__ import annotations

from pathlib import Path

import pytest

from headstart.base.errors import DataError
from headstart.data.dataset import Example
from headstart.data.file_tree import Folder
from headstart.data.readers.folders.lists import Lists, check_unused, lists_of

PATHS = [f"{label}/{at}.jpg" for label in ("cat", "dog") for at in range(4)]


def read(folder: Path, texts: dict[str, str], paths: list[str] = PATHS) -> Lists:
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return lists_of(Folder(folder), Folder(folder).files, paths)


@pytest.mark.parametrize(
    "line",
    [
        "cat/0.jpg",
        "./cat/0.jpg",
        "cat\\0.jpg",
        "cat/0",
        "cat/0.jpg 1",
        "cat/0.jpg\t1",
        "cat/0.jpg,1",
        "cat/0;1",
        " cat/0 ",
    ],
)
def test_a_line_names_an_example_however_it_is_written(tmp_path: Path, line: str) -> None:
    lists = read(tmp_path, {"test.txt": f"{line}\n\n"})
    assert lists.splits == {"cat/0.jpg": "test"}
    assert lists.labels == ({"cat/0.jpg": "1"} if "1" in line else {})


def test_an_end_of_a_path_counts_only_where_it_is_of_one_example(tmp_path: Path) -> None:
    lists = read(tmp_path, {"train.txt": "0.jpg\ncat/1.jpg\ndog/1.jpg\n"})
    assert set(lists.splits) == {"cat/1.jpg", "dog/1.jpg"}
    assert lists.notes == ("1 line of train.txt names no file that is there.",)
    assert set(read(tmp_path, {"train.txt": "0.jpg\n"}, ["a/0.jpg", "b/1.jpg"]).splits) == {"a/0.jpg"}


def test_a_text_whose_lines_name_few_examples_or_whose_name_tells_no_part_is_no_list(tmp_path: Path) -> None:
    assert read(tmp_path, {"train.txt": "cat/0.jpg\nand so on\nand on\n"}) == Lists()
    assert read(tmp_path, {"train.txt": "", "readme.txt": "cat/0.jpg\n", "train.csv": "cat/0.jpg\n"}) == Lists()
    assert read(tmp_path, {"a/b/train.txt": "cat/0.jpg\n"}) == Lists()
    (tmp_path / "train.txt").write_bytes(b"\xff\xfe\xff")
    assert read(tmp_path, {}) == Lists()


def test_examples_that_no_list_names_learn_where_there_is_no_list_of_train() -> None:
    examples = [Example(path, path[:3]) for path in PATHS]
    only_test = Lists({"cat/0.jpg": "test"}, files={"test.txt": "test"})
    assert [one.split for one in only_test.applied(examples)] == ["test", *["train"] * 7]
    assert only_test.sentence(2) == "2 classes, test from test.txt, train from all that no list names."
    both = Lists({"cat/0.jpg": "test", "dog/0.jpg": "train"}, files={"test.txt": "test", "train.txt": "train"})
    assert [(one.id, one.split) for one in both.applied(examples)] == [("cat/0.jpg", "test"), ("dog/0.jpg", "train")]
    assert both.sentence(2) == "2 classes, test from test.txt, train from train.txt."


def test_of_numbered_lists_that_share_files_the_first_counts_and_the_others_are_named(tmp_path: Path) -> None:
    lists = read(
        tmp_path,
        {
            "trainlist01.txt": "cat/0\ncat/1\n",
            "testlist01.txt": "cat/2\ndog/2\n",
            "trainlist02.txt": "cat/1\ncat/2\n",
            "testlist02.txt": "cat/0\ndog/0\n",
            "trainlist10.txt": "cat/0\ndog/3\n",
        },
    )
    assert lists.files == {"trainlist01.txt": "train", "testlist01.txt": "test"}
    assert lists.splits == {"cat/0.jpg": "train", "cat/1.jpg": "train", "cat/2.jpg": "test", "dog/2.jpg": "test"}
    assert lists.notes == (
        "testlist02.txt, trainlist02.txt, trainlist10.txt are other splits of the same files and are not used.",
    )


def test_numbered_lists_that_share_nothing_are_pieces_of_one_part(tmp_path: Path) -> None:
    lists = read(tmp_path, {"train1.txt": "cat/0\n", "train2.txt": "dog/0\n", "test.txt": "cat/1\n"})
    assert set(lists.files) == {"train1.txt", "train2.txt", "test.txt"}
    assert sorted(lists.splits.values()) == ["test", "train", "train"]


def test_a_file_in_the_lists_of_two_parts_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"must name each file once; found cat/0\.jpg in train\.txt and in that of test"
    ):
        read(tmp_path, {"train.txt": "cat/0\ncat/1\n", "test.txt": "cat/0\n"})


def test_labels_of_several_numbers_are_an_error_and_of_words_are_not(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"train\.txt in .* must hold one label behind each name; found '1 0 1' behind cat"
    ):
        read(tmp_path, {"train.txt": "cat/0 1 0 1\ncat/1 0 0 1\n"})
    words = read(tmp_path, {"train.txt": "cat/0 big cat\ndog/1 old dog\n"})
    assert words.labels == {"cat/0.jpg": "big cat", "dog/1.jpg": "old dog"}


def test_a_text_that_names_most_examples_and_gives_nothing_else_is_named(tmp_path: Path) -> None:
    (tmp_path / "attributes.txt").write_text("".join(f"{path}  1 -1 1\n" for path in PATHS))
    with pytest.raises(DataError, match=r"attributes\.txt .* found '1 -1 1' behind cat/0\.jpg; write it as CSV"):
        check_unused(Folder(tmp_path), Folder(tmp_path).files, PATHS)
    (tmp_path / "attributes.txt").write_text(f"{PATHS[0]} 1\n")
    check_unused(Folder(tmp_path), Folder(tmp_path).files, PATHS)
    check_unused(Folder(tmp_path), Folder(tmp_path).files, [])
