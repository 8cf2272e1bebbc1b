"""The table of a ranking fits 80 columns whatever candidates are called, and the sentence names what decided."""

from __future__ import annotations

from typing import Any

import pytest

from headstart.ranking.result import RankResult, as_table

INTERVAL = {"value": 0.912, "low": 0.894, "high": 0.93}
GAP = {"value": -0.123, "low": -0.154, "high": -0.101}


def candidate(source: str, **more: Any) -> dict[str, Any]:
    return {
        "source": source,
        "layer": "joined",
        "accuracy": INTERVAL,
        "difference": GAP,
        "tied": False,
        "ms_per_example": 123.4,
        "parameters": 123_456_789,
        "licence": "CC-BY-NC-SA-4.0",
        "error": None,
        **more,
    }


def plain(*candidates: dict[str, Any]) -> dict[str, Any]:
    baseline = {"name": "raw pixels with logistic regression", "accuracy": INTERVAL, "difference": GAP}
    return {
        "candidates": list(candidates),
        "baseline": baseline,
        "recommended": "a:b",
        "sentence": "Use a:b.",
        "target": {"sentence": "It is small."},
    }


@pytest.mark.parametrize(
    "name",
    [
        "a:b",
        "hf:org/a-name-of-a-model-that-goes-on-and-on-for-more-than-a-line@01234567",
        "x\x1b[2J:y",
    ],
)
def test_no_line_is_longer_than_eighty_columns_and_nothing_drives_a_terminal(name: str) -> None:
    table = as_table(plain(candidate(name, tied=True), candidate("c:d", layer="stage4.avg+stage6.max")))
    assert max(len(line) for line in table.splitlines()) <= 80 and "\x1b" not in table
    assert "best" in table and "-12.3 [-15, -10]" in table and "91.2 [89, 93]" in table


def test_what_is_tied_is_marked_and_what_failed_stands_below() -> None:
    failed = {"source": "e:f", "accuracy": None, "error": "no such file", "tied": False}
    table = as_table(plain(candidate("a:b", tied=True), candidate("c:d"), failed))
    assert [line[0] for line in table.splitlines() if line[2:5] in ("a:b", "c:d")] == ["=", " "]
    assert "not ranked: e:f: no such file" in table


def test_scores_stand_in_the_order_of_the_candidates() -> None:
    rows = candidate("a:b", scores={"logme": 0.5, "leep": None}), candidate("c:d", scores={"logme": 0.25, "leep": -1.0})
    table = as_table(plain(*rows))
    assert "logme, in that order: 0.500, 0.250" in table and "leep, in that order: none, -1.000" in table


def test_the_verdict_is_the_table_and_the_sentence() -> None:
    result = RankResult("photos", plain(candidate("a:b")))
    assert (
        result.recommended == "a:b"
        and result.verdict.endswith("\n\nUse a:b.\nIt is small.")
        and len(result.candidates) == 1
    )
