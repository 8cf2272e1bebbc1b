"""A label in a file beside each example: which file it is, what it holds, and what is no label at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from headstart.data.dataset import Dataset
from headstart.data.file_tree import File, Folder
from headstart.data.readers.folders.sidecars import from_sidecars, labels_beside

JPEG = frozenset({".jpg"})


def beside(*paths: str) -> dict[str, str]:
    return labels_beside([File(path) for path in paths], JPEG)


def test_the_label_has_the_stem_and_the_folder_of_the_example() -> None:
    assert beside("a/0.jpg", "a/0.cls", "b/0.jpg", "b/0.cls") == {"a/0.jpg": "a/0.cls", "b/0.jpg": "b/0.cls"}
    assert beside("a/0.jpg", "b/0.cls") == {}
    assert beside("0.JPG", "0.CLS") == {"0.JPG": "0.CLS"}


@pytest.mark.parametrize(
    ("others", "chosen"),
    [(["0.txt", "0.json", "0.cls"], "0.cls"), (["0.txt", "0.json"], "0.json"), (["0.xml", "0.txt"], "0.txt")],
)
def test_the_most_trusted_suffix_counts(others: list[str], chosen: str) -> None:
    assert beside("0.jpg", *others) == {"0.jpg": chosen}


def test_an_example_with_a_second_suffix_shares_the_label() -> None:
    assert beside("0.input.jpg", "0.output.jpg", "0.cls") == {"0.input.jpg": "0.cls", "0.output.jpg": "0.cls"}


@pytest.mark.parametrize(("labelled", "count"), [(9, 9), (8, 0)])
def test_nine_of_ten_examples_must_have_one(labelled: int, count: int) -> None:
    files = [f"{at}.jpg" for at in range(10)] + [f"{at}.cls" for at in range(labelled)]
    assert len(beside(*files)) == count


def opened(folder: Path, texts: dict[str, bytes], suffix: str = ".cls") -> Dataset | None:
    for path, text in texts.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{path}.jpg").write_bytes(b"\xff\xd8\xff" + path.encode())
        (folder / f"{path}{suffix}").write_bytes(text)
    tree = Folder(folder)
    return from_sidecars(tree, tree.files, labels_beside(tree.files, JPEG), kind="image", name="toy")


def test_labels_and_examples_belong_together_and_everything_is_counted(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("who took them")
    data = opened(tmp_path, {f"{at}": b" cat\n" if at % 2 else b"dog" for at in range(6)})
    assert data is not None and data.classes == ("cat", "dog")
    assert [(one.id, one.label) for one in data.examples][:2] == [("0.jpg", "dog"), ("1.jpg", "cat")]
    assert data.read(1) == b"\xff\xd8\xff1"
    assert (len(data), data.ignored, data.total) == (6, 1, 7)
    assert data.notes[-1] == "1 other files were not used, such as notes.md."
    assert data.layout == "2 classes from files beside the examples."


@pytest.mark.parametrize("key", ["label", "class", "cls", "target", "category", "label_name", "class_name", "y"])
def test_an_object_of_json_holds_the_label_under_any_of_the_usual_keys(tmp_path: Path, key: str) -> None:
    texts = {f"{at}": f'{{"width": 3, "{key}": {at % 2}}}'.encode() for at in range(4)}
    data = opened(tmp_path, texts, ".json")
    assert data is not None and [one.label for one in data.examples] == ["0", "1", "0", "1"]


@pytest.mark.parametrize(
    ("spoilt", "suffix"),
    [
        (b"\xff", ".cls"),
        (b" \n", ".cls"),
        (b"x" * (1 << 17), ".cls"),
        (b"{", ".json"),
        (b'{"a": 1}', ".json"),
        (b"[1]", ".json"),
    ],
)
def test_a_file_without_a_label_loses_its_example_alone(tmp_path: Path, spoilt: bytes, suffix: str) -> None:
    texts = {f"{at}": b"1" if at % 2 else b"2" for at in range(6)} | {"9": spoilt}
    data = opened(tmp_path, texts, suffix)
    assert data is not None and len(data) == 6
    assert [(one.id, one.reason) for one in data.skipped] == [("9.jpg", "no label")]


def test_shards_whose_names_tell_parts_are_parts(tmp_path: Path) -> None:
    texts = {f"{part}-{at % 2}/{at}": f"{at % 2}".encode() for part in ("train", "val") for at in range(4)}
    data = opened(tmp_path, texts)
    assert data is not None and [one.split for one in data.examples] == ["train"] * 4 + ["validation"] * 4
    assert data.layout.endswith("train from train-0, train-1, validation from val-0, val-1.")


def test_folders_of_which_some_tell_no_part_are_no_parts(tmp_path: Path) -> None:
    data = opened(tmp_path, {f"{top}/{at}": f"{at % 2}".encode() for top in ("train", "more") for at in range(4)})
    assert data is not None and {one.split for one in data.examples} == {None}


@pytest.mark.parametrize("texts", [["a"] * 6, [f"a photo of {at}" for at in range(6)]], ids=["one class", "captions"])
def test_one_class_or_captions_are_no_labels(tmp_path: Path, texts: list[str]) -> None:
    assert opened(tmp_path, {f"{at}": text.encode() for at, text in enumerate(texts)}, ".txt") is None
