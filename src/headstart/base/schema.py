"""Plain values from a file, made into a dataclass, or refused at the first one that does not fit."""

from __future__ import annotations

import math
from dataclasses import MISSING, fields, is_dataclass
from types import UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from headstart.base.errors import did_you_mean

T = TypeVar("T")


class SchemaError(ValueError):
    """A value that does not fit; the message says where it stands and what it must be."""


def build_dataclass(kind: type[T], value: object, where: str = "") -> T:
    """Return `value` as `kind`, every field of exactly its type.

    pydantic is no shorter way here: its strict mode takes no dict for a nested dataclass, its lax mode takes "1" for
    1.0, and its strings refuse lone surrogates, which class names from file names outside UTF-8 hold.

    Args:
        kind: a dataclass whose fields are str, int, float, bool, literal texts, Any, dataclasses (or None), or lists
            and dicts of these.

    Raises:
        SchemaError: a key is unknown or missing, or a value is of another type or no finite number.
    """
    if not isinstance(value, dict):
        raise SchemaError(f"{where or 'it'} must be an object, not {_name(value)}")
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    place = f"{where}." if where else ""
    for key in value:
        if key not in known:
            raise SchemaError(f"{place}{key} is no known key{did_you_mean(key, known)}")
    for name, field in known.items():
        if name not in value and field.default is MISSING and field.default_factory is MISSING:
            raise SchemaError(f"{place}{name} is missing")
    types = get_type_hints(kind)
    return kind(**{key: _fit(types[key], item, f"{place}{key}") for key, item in value.items()})


def _fit(kind: Any, value: Any, where: str) -> Any:
    if kind is Any or (isinstance(kind, UnionType) and value is None):
        return value
    kind = get_args(kind)[0] if isinstance(kind, UnionType) and value is not None else kind
    if is_dataclass(kind):
        return build_dataclass(kind, value, where)  # type: ignore[arg-type]
    if get_origin(kind) is list and isinstance(value, list):
        (inner,) = get_args(kind)
        return [_fit(inner, one, f"{where}[{position}]") for position, one in enumerate(value)]
    if get_origin(kind) is dict and isinstance(value, dict):
        inner = get_args(kind)[1]
        return {key: _fit(inner, one, f"{where}.{key}") for key, one in value.items()}
    if kind is float and type(value) in (int, float) and math.isfinite(value):
        return float(value)
    options = get_args(kind) if get_origin(kind) is Literal else ()
    if (type(value) is kind and kind is not float) or (isinstance(value, str) and value in options):
        return value
    expected = getattr(get_origin(kind) or kind, "__name__", str(kind))
    raise SchemaError(f"{where} must be {'a finite number' if kind is float else expected}, not {_name(value)}")


def _name(value: object) -> str:
    return repr(value) if isinstance(value, float) else type(value).__name__
