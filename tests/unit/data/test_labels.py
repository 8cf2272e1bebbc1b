"""Labels are class names exactly as they are written; what looks odd about them is noted once."""

from __future__ import annotations

import pytest

from headstart.base.errors import DataError
from headstart.data.labels import check_classes, class_name_of, label_notes


@pytest.mark.parametrize(
    ("label", "name"),
    [(1, "1"), (1.0, "1.0"), ("01", "01"), (" cat ", " cat "), (b"owl", "owl"), ("none", "none"), ("NA", "NA")],
)
def test_a_label_keeps_its_spelling(label: object, name: str) -> None:
    assert class_name_of(label) == name


@pytest.mark.parametrize("label", [None, float("nan"), "", "  ", "NaN", "<NA>"])
def test_a_missing_label_has_no_name(label: object) -> None:
    assert class_name_of(label) is None


def test_numbers_and_near_equal_labels_are_noted() -> None:
    assert label_notes(["cat", "dog"]) == ()
    (numbers, alike) = label_notes(["1", "01", "2"])
    assert "The labels are numbers" in numbers and "'01', '1'" in alike
    assert "'Cat', 'cat '" in label_notes(["Cat", "cat ", "dog"])[0]
    assert len(label_notes(["1", "01", "2"], numbers=False)) == 1


@pytest.mark.parametrize(("classes", "received"), [([], "none"), (["cat"], "only one, 'cat'")])
def test_fewer_than_two_classes_are_refused__IMG_23(classes: list[str], received: str) -> None:
    check_classes(["cat", "dog"], where="pets", do="add one")
    with pytest.raises(DataError, match=f"pets must hold at least two classes; found {received}; add one"):
        check_classes(classes, where="pets", do="add one")
