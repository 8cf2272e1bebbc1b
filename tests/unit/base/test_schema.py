"""Plain values become dataclasses only when every one of them fits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from headstart.base.schema import SchemaError, build_dataclass


@dataclass(frozen=True)
class Inner:
    size: float


@dataclass(frozen=True)
class Outer:
    name: str
    inners: list[Inner]
    free: dict[str, Any]
    on: bool = True
    notes: dict[str, str] = field(default_factory=dict)


GOOD: dict[str, Any] = {"name": "\udc80", "inners": [{"size": 1}], "free": {"a": [None]}, "notes": {"b": "c"}}


def test_what_fits() -> None:
    assert build_dataclass(Outer, GOOD) == Outer("\udc80", [Inner(1.0)], {"a": [None]}, notes={"b": "c"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nmae": 1}, "nmae is no known key, did you mean 'name'?"),
        ({"name": 1}, "name must be str, not int"),
        ({"name": None}, "name must be str, not NoneType"),
        ({"on": 1}, "on must be bool, not int"),
        ({"inners": {}}, "inners must be list, not dict"),
        ({"inners": [{"size": "1"}]}, r"inners\[0\].size must be a finite number, not str"),
        ({"inners": [{"size": True}]}, r"inners\[0\].size must be a finite number, not bool"),
        ({"inners": [{"size": float("nan")}]}, r"inners\[0\].size must be a finite number, not nan"),
        ({"inners": [{}]}, r"inners\[0\].size is missing"),
        ({"inners": [3]}, r"inners\[0\] must be an object, not int"),
        ({"notes": {"a": 1}}, "notes.a must be str, not int"),
    ],
)
def test_what_does_not(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SchemaError, match=message.replace("?", r"\?")):
        build_dataclass(Outer, GOOD | change)


def test_missing_and_no_object() -> None:
    with pytest.raises(SchemaError, match="name is missing"):
        build_dataclass(Outer, {"inners": [], "free": {}})
    with pytest.raises(SchemaError, match="it must be an object, not list"):
        build_dataclass(Outer, [])
