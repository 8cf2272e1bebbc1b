"""What rests on copies of training examples bears no claim (field f31)."""

from __future__ import annotations

from headstart.data.dataset import Example
from headstart.judge.related import SHOWN, relatives_entry, without_related

ALL = {"value": 0.9, "low": 0.8, "high": 0.95}


def test_the_entry_counts_clusters_and_names_some_related_examples() -> None:
    examples = [Example(str(at), "a", relatives=str(at // 2) if at < 60 else None) for at in range(70)]
    entry = relatives_entry(examples, range(40), ALL)
    assert (entry["examples"], entry["clusters"], entry["test"]) == (60, 30, 40)
    assert entry["ids"] == [str(at) for at in range(SHOWN)] and entry["accuracy_without"] == ALL


def test_a_claim_stands_only_where_both_accuracies_agree__f31() -> None:
    assert without_related(ALL, None) == without_related(ALL, {"test": 0, "accuracy_without": None}) == ("", True)
    near, far = ({"value": value, "low": 0.4, "high": 0.9} for value in (0.82, 0.5))
    text, believable = without_related(ALL, {"test": 1200, "accuracy_without": near})
    assert believable and text.startswith(" (82.0 % [40.0, 90.0] without the 1,200 that have a copy")
    assert "without the 1 that has a copy" in without_related(ALL, {"test": 1, "accuracy_without": near})[0]
    text, believable = without_related(ALL, {"test": 3, "accuracy_without": far})
    assert not believable and text.endswith("; the two differ by more than the interval")
    text, believable = without_related(ALL, {"test": 3, "accuracy_without": None})
    assert not believable and "every one of them" in text
