"""The splits of a comparison: the numbers of labels that the data has, more seeds for few, and none twice."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from prepared import prepared_data

from headstart.base.errors import DataError
from headstart.comparison.options import CompareOptions
from headstart.comparison.splits import ExperimentSplits


def splits_of(sizes: dict[str, int], **chosen: Any) -> ExperimentSplits:
    labels = [label for label, count in sizes.items() for _ in range(count)]
    return ExperimentSplits(prepared_data(labels), CompareOptions(**{"seeds": 2, **chosen}))


@pytest.mark.parametrize(
    ("sizes", "numbers"),
    [
        ({"a": 100, "b": 100}, (5, 10, 20, None)),
        ({"a": 20, "b": 100}, (5, 10, None)),
        ({"a": 4, "b": 100}, (None,)),
        ({"a": 28, "b": 28}, (5, 10, None)),  # 20 a class would be all
        ({"a": 28, "b": 40}, (5, 10, 20, None)),
    ],
)
def test_numbers_of_labels_are_those_that_the_smallest_class_has(sizes: dict[str, int], numbers: Any) -> None:
    splits = splits_of(sizes)
    assert splits.numbers == numbers and splits.notes == []


def test_a_number_that_was_asked_for_and_is_not_there_is_said_or_an_error() -> None:
    splits = splits_of({"a": 20, "b": 100}, labels_per_class="10,50,70,all")
    assert splits.numbers == (10, None)
    assert splits.notes == ["Left out 50, 70 labels per class: the smallest class has 14 to learn from."]
    with pytest.raises(DataError, match=r"must have 50 examples to learn from; found 14; ask for fewer"):
        splits_of({"a": 20, "b": 100}, labels_per_class=[50, 70])


def test_a_number_that_is_all_stays_where_all_was_not_asked_for() -> None:
    assert splits_of({"a": 20, "b": 20}, labels_per_class=[14]).numbers == (14,)


def test_each_class_has_as_many_labels_as_its_split_says_and_the_test_part_stays() -> None:
    splits = splits_of({"a": 40, "b": 60})
    whole = {seed: splits.parts_of(None, seed) for seed in splits.seeds}
    for one in splits.every():
        examples = one.prepared.scan.dataset.examples
        counts = Counter(examples[at].label for at in one.prepared.parts.train)
        assert set(counts.values()) == ({one.per_class} if one.per_class else {28, 42})
        if one.seed in whole:
            assert one.prepared.parts.test == whole[one.seed].test
        assert one.labels == ("all" if one.per_class is None else str(one.per_class))


def test_every_number_of_labels_has_the_seeds_that_were_asked_for_and_every_split_comes_once_by_seed() -> None:
    splits = splits_of({"a": 40, "b": 40}, labels_per_class=[5, 10, "all"], seed=7)
    assert splits.seeds == [7, 8]
    assert [(one.seed, one.per_class) for one in splits.every()] == [
        (seed, number) for seed in (7, 8) for number in (5, 10, None)
    ]
    assert [one.seed for one in splits.of_number(5)] == [7, 8]


def test_seeds_that_are_left_out_are_counted_from_how_many_there_were_to_be() -> None:
    splits = splits_of({"a": 40, "b": 40}, labels_per_class=[5, "all"], seeds=5)
    splits.keep(4, (5, None))
    assert splits.dropped == (4, 5) and splits.seeds == [0, 1, 2, 3]
    splits.keep(1, (None,))
    assert splits.dropped == (1, 5) and splits.numbers == (None,)
    assert [(one.seed, one.per_class) for one in splits.every()] == [(0, None)]


def test_a_test_part_that_the_data_brings_is_the_same_in_every_seed() -> None:
    assert not splits_of({"a": 40, "b": 40}).same_test
    parts = (["train"] * 3 + ["test"]) * 20
    brought = ExperimentSplits(prepared_data(["a", "b"] * 40, parts=parts), CompareOptions(seeds=3))
    assert brought.same_test and set(brought.parts.test) == {at for at, part in enumerate(parts) if part == "test"}
