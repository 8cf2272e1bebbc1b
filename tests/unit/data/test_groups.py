"""Groups in names: taken by a pattern, and noticed where names fall into them (field f31)."""

from __future__ import annotations

import pytest

from headstart.base.errors import UsageError
from headstart.data.dataset import Dataset, Example
from headstart.data.groups import group_by, suggested_groups


def dataset(*names: str) -> Dataset:
    return Dataset("toy", "image", tuple(Example(name, "a") for name in names), ("a",), lambda position: b"")


@pytest.mark.parametrize(
    ("name", "group"),
    [("scan{}_view{}.jpg", "scan{}"), ("patient_00{}_slice_{}.png", "patient_00{}"), ("IMG_{}_burst{}.jpg", "IMG_{}")],
)
def test_names_of_usual_forms_fall_into_groups(name: str, group: str) -> None:
    names = [f"train/cat/{name.format(subject, view)}" for subject in range(1, 9) for view in range(3)]
    pattern, groups = next(suggested_groups(names))
    assert groups == [group.format(subject) for subject in range(1, 9) for _ in range(3)]
    assert [example.group for example in group_by(dataset(*names), pattern).examples] == groups


@pytest.mark.parametrize("name", ["cat/IMG_{}.jpg", "cat/{}.jpg", "cat.{}.jpg"])
def test_names_that_only_count_fall_into_none(name: str) -> None:
    assert not list(suggested_groups([name.format(1000 + at) for at in range(50)]))


def test_the_whole_match_is_the_group_where_a_pattern_has_none_and_ids_without_are_counted() -> None:
    grouped = group_by(dataset("a1_x", "a1_y", "b"), r"\w\d")
    assert [example.group for example in grouped.examples] == ["a1", "a1", None]
    assert grouped.notes == ("--group-by made 1 groups.", "1 photos match no --group-by and are in no group.")


@pytest.mark.parametrize("pattern", ["(", "zzz"])
def test_a_pattern_that_is_none_or_matches_nothing_is_refused(pattern: str) -> None:
    with pytest.raises(UsageError, match="--group-by must be a regular expression"):
        group_by(dataset("a", "b"), pattern)
