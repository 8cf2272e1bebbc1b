"""The newest 30 % are the test part, and no time stands on both sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.base.errors import DataError
from headstart.data.dataset import Example
from headstart.data.readers.tables.time_column import split_by_time


def parts(times: Sequence[float]) -> tuple[list[str | None], str]:
    examples, note = split_by_time([Example(f"{at}", "a") for at in range(len(times))], times, "t.csv")
    assert [one.id for one in examples] == [f"{at}" for at in range(len(times))]
    return [one.split for one in examples], note


def test_the_newest_three_of_ten_are_tested_in_whatever_order_they_come() -> None:
    found, note = parts([5, 1, 9, 2, 8, 3, 7, 4, 6, 0])
    assert [at for at, part in enumerate(found) if part == "test"] == [2, 4, 6]
    assert note == "The newest 30% of the examples, from time 7 on, are the test part."


def test_the_border_moves_to_the_nearest_change_of_time() -> None:
    assert parts([1, 1, 1, 1, 2, 2, 2, 2, 2, 2])[0] == ["train"] * 4 + ["test"] * 6
    found, note = parts([1] * 8 + [2] + [3])
    assert found == ["train"] * 8 + ["test"] * 2
    assert "newest 20%" in note


@given(st.lists(st.integers(0, 20), min_size=2, max_size=60).filter(lambda times: len(set(times)) > 1))
def test_training_is_all_before_testing(times: list[int]) -> None:
    found, _ = parts(times)
    before = [time for time, part in zip(times, found, strict=True) if part == "train"]
    after = [time for time, part in zip(times, found, strict=True) if part == "test"]
    assert before and after and max(before) < min(after)
    others = [sum(time >= border for time in times) / len(times) for border in sorted(set(times))[1:]]
    assert abs(len(after) / len(times) - 0.3) == pytest.approx(min(abs(share - 0.3) for share in others))


def test_a_date_is_shown_as_one_and_a_number_as_it_is() -> None:
    days = [datetime(2024, 1, day, tzinfo=UTC).timestamp() for day in range(1, 11)]
    assert "from time 2024-01-08 on" in parts(days)[1]
    assert "from time 2024-01-08 06:30:00 on" in parts([day + 6.5 * 3600 for day in days])[1]
    assert "from time 0.7 on" in parts([at / 10 for at in range(10)])[1]
    assert "from time 7e+300 on" in parts([at * 1e300 for at in range(10)])[1]


def test_one_time_alone_and_parts_beside_times_are_refused() -> None:
    with pytest.raises(DataError, match=r"times of t\.csv must differ; found one in all 3 rows; .*--time-column"):
        parts([4, 4, 4])
    one = Example("0", "a")
    with pytest.raises(DataError, match="by its times or by its parts; found both"):
        split_by_time([one, replace(one, id="1", split="test")], [1, 2], "t.csv")
