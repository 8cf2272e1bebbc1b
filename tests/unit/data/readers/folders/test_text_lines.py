"""A file of texts for each class, one text a line, is read; what only looks like it is not (issue 16)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from headstart.base.errors import DataError
from headstart.data.file_tree import Folder
from headstart.data.readers.folders.text_lines import from_text_lines
from headstart.data.readers.open import open_dataset


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="latin-1")
    return root


def lines(word: str, count: int = 12) -> str:
    return "\n".join(f"a {word} film, naïve, number {at}" for at in range(count)) + "\n"


@pytest.mark.parametrize("names", [("pos.txt", "neg.txt"), ("set/rt-polarity.pos", "set/rt-polarity.neg")])
def test_a_file_is_a_class_and_each_line_a_text(tmp_path: Path, names: tuple[str, str]) -> None:
    files = {names[0]: lines("lovely"), names[1]: lines("dire"), "README.txt": "One\n\nTwo words\n\nThree\n\nFour\n"}
    dataset = open_dataset(write(tmp_path, files))
    assert (dataset.kind, dataset.classes, len(dataset), dataset.ignored) == ("text", ("neg", "pos"), 24, 1)
    assert all((b"lovely" in dataset.read(at)) == (one.label == "pos") for at, one in enumerate(dataset.examples))
    assert "naïve" in dataset.read(0).decode() and dataset.layout.startswith("2 classes, a text each line")


def test_folders_of_such_files_are_parts(tmp_path: Path) -> None:
    files = {f"{part}/{label}.txt": lines(label) for part in ("train", "test") for label in ("pos", "neg")}
    dataset = open_dataset(write(tmp_path, files))
    assert dataset.classes == ("neg", "pos")
    assert Counter(one.split for one in dataset.examples) == {"train": 24, "test": 24}


def test_documents_single_files_and_lists_of_words_are_not_read_so(tmp_path: Path) -> None:
    essay = "\n\n".join(f"a paragraph of an essay {at}" for at in range(9))
    for at, files in enumerate(
        ({"a.txt": essay, "b.txt": essay}, {"a.txt": lines("x")}, {"a.txt": "w\n" * 9} | {"b.txt": "v\n" * 9})
    ):
        folder = write(tmp_path / str(at), files)
        assert from_text_lines(Folder(folder), Folder(folder).files, name="set") is None
        with pytest.raises(DataError, match="class folders"):
            open_dataset(folder)
