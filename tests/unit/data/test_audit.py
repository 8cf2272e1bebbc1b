"""The pass over every example: what it skips, counts and refuses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from headstart.base.errors import DataError
from headstart.base.hashing import sha256
from headstart.base.progress import Progress
from headstart.data.audit import check_bad, scan
from headstart.data.dataset import BadExample, Dataset, Example, Skipped
from headstart.data.readers.open import open_dataset


def dataset(*rows: tuple[str, bytes], skipped: int = 0) -> Dataset:
    """Return examples of (label, bytes); b"!reason" stands for one that cannot be read."""

    def read(position: int) -> bytes:
        data = rows[position][1]
        if data.startswith(b"!"):
            raise BadExample(data[1:].decode())
        return data

    examples = tuple(Example(f"{label}/{n}.jpg", label) for n, (label, _) in enumerate(rows))
    classes = tuple(sorted({label for label, _ in rows}))
    return Dataset("toy", "image", examples, classes, read, tuple(Skipped(str(n), "", "x") for n in range(skipped)))


def jpeg(number: object) -> bytes:
    return b"\xff\xd8\xff" + str(number).encode()


def good(count: int, label: str = "a") -> list[tuple[str, bytes]]:
    return [(label, jpeg(f"{label}{n}")) for n in range(count)]


class Counted(Progress):
    """Progress that counts."""

    def __init__(self) -> None:
        self.done = 0
        self.total: int | None = None

    @contextmanager
    def step(self, name: str, total: int | None = None, unit: str = "items", *, done: int = 0) -> Iterator[Counted]:
        self.total = total
        yield self

    def advance(self, count: int = 1) -> None:
        self.done += count


def test_every_readable_example_is_hashed_in_order():
    rows = [*good(100), *good(100, "b")]
    progress = Counted()
    found = scan(dataset(*rows), progress=progress, workers=3)
    assert found.hashes == tuple(sha256(data) for _, data in rows)
    assert (progress.done, progress.total) == (200, 200)
    assert (found.duplicates, found.conflicts, found.notes) == (0, (), ())


def test_what_cannot_be_read_is_skipped_and_positions_follow():
    rows = [*good(3), ("a", b""), ("b", b"!permission"), *good(3, "b"), ("b", b"<html>")]
    found = scan(dataset(*rows), progress=Progress()).dataset
    assert [item.reason.split(" (")[0] for item in found.skipped] == ["empty", "permission", "not an accepted image"]
    assert [item.label for item in found.skipped] == ["a", "b", "b"]
    assert [found.read(at) for at in range(len(found))] == [data for _, data in rows if data.startswith(b"\xff")]
    assert found.total == len(rows)


def test_a_picture_named_as_another_format_is_used_and_said__IMG_03():
    found = scan(dataset(*good(3), ("b", b"\x89PNG\r\n\x1a\nxxxx")), progress=Progress())
    assert len(found.dataset) == 4
    assert found.notes == ("PNG named .jpg, read by content: 1 (b/3.jpg).",)


def test_copies_in_a_class_are_counted__IMG_20():
    found = scan(dataset(*good(5), *good(3), *good(5, "b")), progress=Progress())
    assert found.duplicates == 3
    assert len(found.dataset) == 13
    assert "3 examples are exact copies" in found.notes[0]


def test_a_few_conflicts_are_listed__IMG_21():
    found = scan(dataset(*good(39), ("b", jpeg("a7")), *good(20, "b")), progress=Progress())
    (conflict,) = found.conflicts
    assert (conflict.ids, conflict.labels) == (("a/7.jpg", "b/39.jpg"), ("a", "b"))
    assert "a/7.jpg = b/39.jpg" in found.notes[0]
    assert len(found.dataset) == 60


def test_many_conflicts_stop_the_run__IMG_21():
    with pytest.raises(DataError, match=r"at most 5%.*found 4 of 44 \(9%\): a/0.jpg = b/2.jpg"):
        scan(dataset(*good(2), ("b", jpeg("a0")), ("b", jpeg("a1")), *good(40, "b")), progress=Progress())


def test_the_fingerprint_is_of_the_data_not_its_order():
    rows = [*good(5), *good(5, "b")]
    data = dataset(*rows)
    first = scan(data, progress=Progress()).fingerprint
    turned = replace(data, examples=data.examples[::-1], read=lambda at: data.read(9 - at))
    assert scan(turned, progress=Progress()).fingerprint == first
    parts = tuple(replace(example, split="train") for example in data.examples)
    for other in (dataset(*rows[:-1]), dataset(*rows[:-1], ("b", jpeg("new"))), replace(data, examples=parts)):
        assert scan(other, progress=Progress()).fingerprint != first


def test_names_that_are_not_utf8_have_a_fingerprint__IMG_18():
    data = replace(dataset(*good(1)), examples=(Example("\udcff\n.jpg", "\udce4"),))
    assert len(scan(data, progress=Progress()).fingerprint) == 64


def test_an_interruption_ends_the_pass():
    class Stop(Progress):
        @contextmanager
        def step(self, name: str, total: int | None = None, unit: str = "items", *, done: int = 0) -> Iterator[Stop]:
            yield self

        def advance(self, count: int = 1) -> None:
            raise KeyboardInterrupt

    reads: list[int] = []
    data = replace(dataset(*good(5000)), read=lambda at: reads.append(at) or jpeg(at))
    with pytest.raises(KeyboardInterrupt):
        scan(data, progress=Stop())
    assert len(reads) < 1000


def bad(of_a: int, a: int, of_b: int, b: int) -> Dataset:
    rows = [*[("a", b"!cut")] * of_a, *good(a - of_a), *[("b", b"")] * of_b, *good(b - of_b, "b")]
    return scan(dataset(*rows), progress=Progress()).dataset


@pytest.mark.parametrize("allow", [False, True])
def test_no_usable_example_gives_the_first_three_reasons__IMG_24(allow):
    with pytest.raises(DataError) as error:
        check_bad(bad(2, 2, 3, 3), allow_broken=allow)
    assert "0 of 5 usable (3 × empty: 2.jpg, 3.jpg and 1 more; 2 × cut: 0.jpg, 1.jpg)" in str(error.value)


def test_a_fifth_may_be_bad_and_no_more__IMG_25():
    check_bad(bad(10, 50, 10, 50), allow_broken=False)
    with pytest.raises(DataError, match=r"found 21 of 100 \(21%\) unusable.*--allow-broken"):
        check_bad(bad(10, 50, 11, 50), allow_broken=False)
    check_bad(bad(10, 50, 11, 50), allow_broken=True)


def test_less_than_half_of_a_class_may_be_bad__IMG_25():
    check_bad(bad(4, 9, 0, 91), allow_broken=False)
    with pytest.raises(DataError, match=r"5 of 10 \(50%\) unusable in 'a'"):
        check_bad(bad(5, 10, 0, 90), allow_broken=False)
    check_bad(bad(5, 10, 0, 90), allow_broken=True)


def test_a_class_without_a_usable_example_cannot_be_allowed__IMG_25():
    with pytest.raises(DataError, match="0 of 3 usable in 'a'"):
        check_bad(bad(3, 3, 0, 97), allow_broken=True)


def test_examples_without_labels_are_checked_as_a_whole():
    data = dataset(*good(8), skipped=2)
    check_bad(data, allow_broken=False)
    with pytest.raises(DataError, match="3 of 11"):
        check_bad(dataset(*good(8), skipped=3), allow_broken=False)


def test_several_frames_are_noted__IMG_12(tmp_path: Path) -> None:
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        frames = [Image.new("RGB", (8, 8), (shade, 0, ord(label))) for shade in (10, 200)]
        frames[0].save(tmp_path / label / f"{label}.gif", save_all=True, append_images=frames[1:])
        Image.new("RGB", (9, 9), (0, ord(label), 0)).save(tmp_path / label / "still.gif")
    notes = scan(open_dataset(tmp_path), progress=Progress()).notes
    assert any(note.startswith("Several frames or pages, the first is used: 2 (") for note in notes)
