"""Prepared data: rows, labels and copies of a part belong together; sources that cannot learn or read are refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from prepared import prepared_data

from headstart.base.errors import SourceError, UsageError
from headstart.heads.linear import LinearHead
from headstart.heads.select import fit_ridge
from headstart.run.options import FitOptions
from headstart.run.prepare import PreparedData, as_network, source_for
from headstart.testing import ToySource


def with_copies(labels: str, contents: list[int]) -> PreparedData:
    """Return examples of which some have one content: its row is that of `contents`."""
    data = prepared_data(list(labels))
    extraction = data.extraction
    digests = tuple(extraction.scan.hashes[at] for at in contents)
    scan = replace(extraction.scan, hashes=digests)
    return replace(data, extraction=replace(extraction, scan=scan, row_of=np.array(contents)))


def test_features_of_a_part_are_its_own_rows_labels_and_ids() -> None:
    data = prepared_data(["a", "b", "a", "c"] * 5)
    found = data.features("pool", (7, 2, 5))
    assert found.ids == ("7", "2", "5") and found.y.tolist() == [2, 0, 1] and found.classes == ("a", "b", "c")
    assert (found.x == data.extraction.x[[7, 2, 5], :24]).all() and [block.name for block in found.blocks] == ["pool"]
    joined = data.features("stage1.avg", (3,))
    assert (joined.x == data.extraction.x[[3], 32:48]).all()


def test_copies_of_one_label_are_one_example_that_counts_as_often_as_it_comes() -> None:
    data = with_copies("aabab", [0, 0, 2, 0, 2])
    distinct = data.distinct((0, 1, 2, 3, 4))
    assert (
        distinct.positions == (0, 2)
        and distinct.counts.tolist() == [3, 2]
        and distinct.row_of.tolist() == [0, 0, 1, 0, 1]
    )
    torn = with_copies("abab", [0, 0, 2, 2]).distinct((0, 1, 2, 3))
    assert len(torn.positions) == 4, "a content under two labels is two pairs"
    part = data.distinct((4, 1))
    assert [part.positions[row] for row in part.row_of] == [4, 1] and part.counts.tolist() == [1, 1]


def test_predictions_of_copies_are_equal_and_in_the_order_of_the_part() -> None:
    data = with_copies("aabab", [0, 0, 2, 0, 2])
    head: LinearHead = fit_ridge(data.features("pool", (0, 2, 3, 4)))
    found = data.predict_proba(head, "pool", (4, 0, 1, 2))
    assert (found[1] == found[2]).all() and (found[0] == found[3]).all()
    assert found.argmax(axis=1).tolist() == [1, 0, 0, 1]
    assert found == pytest.approx(head.predict_proba(data.features("pool", (4, 0, 1, 2)).x))


def test_pixels_of_a_part_are_those_of_its_contents() -> None:
    data = with_copies("abab", [0, 1, 0, 1])
    pixels: Any = data.extraction.summary
    assert (data.baseline_inputs((3, 2)) == pixels.baseline_inputs[[1, 0]]).all()


def test_groups_are_named_only_where_more_than_copies_belong_together() -> None:
    data = prepared_data(["a", "b"] * 4)
    assert data.groups((0, 1, 2)) is None and data.clusters((0, 1, 2)).tolist() == [0, 1, 2]
    dataset = data.scan.dataset
    examples = tuple(replace(one, group=f"{at // 2}") for at, one in enumerate(dataset.examples))
    scan = replace(data.scan, dataset=replace(dataset, examples=examples))
    grouped = replace(data, extraction=replace(data.extraction, scan=scan))
    names = grouped.groups((0, 1, 2, 3))
    assert names is not None and names[0] == names[1] != names[2] == names[3]
    assert grouped.clusters((1, 0, 3)).tolist() in ([0, 0, 3], [1, 1, 3])


def test_notes_come_from_source_data_scan_split_and_features_in_this_order() -> None:
    data = prepared_data(["a", "b"] * 4)
    scan = replace(data.scan, dataset=replace(data.scan.dataset, notes=("of data",)), notes=("of scan",))
    extraction = replace(data.extraction, scan=scan, notes=("of features",))
    noted = replace(data, extraction=extraction, parts=replace(data.parts, notes=("of parts",)))
    assert noted.notes == (*data.source.info.notes, "of data", "of scan", "of parts", "of features")


class Graph(ToySource):
    """A source that only computes."""

    def as_trainable(self, *texts: Any) -> Any:
        return None


def test_a_source_that_cannot_learn_is_refused_with_others_that_can() -> None:
    data = prepared_data(["a", "b"] * 4)
    assert as_network(data, "training") is data.source
    with pytest.raises(
        SourceError, match=r"tuning needs a source that is a torch network; found toy:convnet@0, a graph"
    ):
        as_network(data, "tuning", Graph())


def test_a_source_of_another_kind_is_refused_before_any_work() -> None:
    dataset = replace(prepared_data(["a", "b"] * 2).scan.dataset, kind="text")
    with pytest.raises(UsageError) as failure:
        source_for(dataset, FitOptions(source=ToySource()))
    assert "toy:convnet@0" in str(failure.value)
