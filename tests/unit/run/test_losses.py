"""What `result.json` says of examples that were lost: all of them, and in a file of their own where they are many."""

from __future__ import annotations

import json

import pytest

from headstart.data.dataset import Dataset, Example, Skipped
from headstart.data.split import Parts
from headstart.run.losses import LOSSES, account, losses_file, losses_note


def dataset_with(skipped: int, examples: int = 10) -> Dataset:
    return Dataset(
        "photos",
        "image",
        tuple(Example(f"{at}.jpg", "ab"[at % 2]) for at in range(examples)),
        ("a", "b"),
        read=lambda position: b"",
        skipped=tuple(Skipped(f"a/broken {at}.jpg", "a", "truncated") for at in range(skipped)),
        ignored=2,
        entries=examples + skipped + 2,
    )


def test_every_loss_is_listed_with_its_reason__f16() -> None:
    dataset = dataset_with(400)
    books = account(dataset, Parts((0, 1, 2), (), (4, 5), ()))
    assert books["examples"] == {"train": 3, "validation": 0, "test": 2, "skipped": 400, "ignored": 2}
    assert sum(books["examples"].values()) + books["unused"] == dataset.entries
    assert [loss["id"] for loss in books["losses"]] == [loss.id for loss in dataset.skipped]
    assert books["losses"][0] == {"id": "a/broken 0.jpg", "label": "a", "reason": "truncated"}
    assert losses_file(books, dataset.skipped) == {}


@pytest.mark.thorough
def test_many_losses_are_listed_in_a_file_of_their_own() -> None:
    dataset = dataset_with(60_000)
    books = account(dataset, Parts((0, 1, 2), (), (4, 5), ()))
    assert books["losses_file"] == LOSSES
    assert len(json.dumps(books)) < 5 << 20
    (lines,) = losses_file(books, dataset.skipped).values()
    listed = [json.loads(line) for line in lines.splitlines()]
    assert len(listed) == 60_000 and listed[: len(books["losses"])] == books["losses"]


@pytest.mark.parametrize("train", [(0, 1), (0, 0), (0, 10), (0, -1)])
def test_parts_that_do_not_add_up_are_a_bug(train: tuple[int, ...]) -> None:
    with pytest.raises(RuntimeError, match="at most once"):
        account(dataset_with(1), Parts(train, (), (1,), ()))


def test_a_reader_that_loses_a_row_is_a_bug() -> None:
    with pytest.raises(RuntimeError, match="of the 13 files or rows of photos"):
        Dataset("photos", "image", (Example("a", "b"),) * 10, (), read=lambda position: b"", ignored=2, entries=13)


@pytest.mark.parametrize(
    ("count", "note"),
    [
        (0, []),
        (1, ["1 broken example was skipped; result.json lists it."]),
        (1200, ["1,200 broken examples were skipped; result.json lists them."]),
    ],
)
def test_what_was_skipped_is_counted_in_one_sentence(count: int, note: list[str]) -> None:
    skipped = tuple(Skipped(f"{number}.jpg", "cat", "cut") for number in range(count))
    assert losses_note(Dataset("data", "image", (), (), lambda position: b"", skipped)) == note
