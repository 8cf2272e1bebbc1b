"""What the models of options are made of.

Options are written once: the command line, the Python functions and docs/options.md are made from the models. A model
is a frozen pydantic class. `option` gives each of its fields the group that it stands in and its metavar on the command
line; the docstring below the field is the help, in whole sentences that name the real default.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo

from headstart.base.errors import UsageError, check_at_least, check_choice, did_you_mean

GROUPS = ("Data", "Source", "Tuning", "Training", "Output", "Run")
"""The groups that options stand in, in the order of the help."""


def option(default: Any, group: str, metavar: str | None, **more: Any) -> Any:
    """Return a field of a model of options.

    Args:
        default: the value where none is given; `...` for an option that must be given.
        metavar: what stands for the value in the help; None for a flag, which has no value.
        more: `choices` and `least`, which bound a value that is not None; `flag`, where the flag is not the name of the
            field with hyphens; `several=True`, where it may be given again; `either=True`, where a flag also has its
            opposite, `--no-…`; `short`, a second flag of one letter.
    """
    assert group in GROUPS
    return Field(default, json_schema_extra={"group": group, "metavar": metavar, **more})


def flag(group: str, **more: Any) -> Any:
    """Return a field that is False unless its flag is given; the arguments are those of `option`."""
    return option(False, group, None, **more)  # noqa: FBT003


def flag_of(name: str, field: FieldInfo) -> str:
    """Return the flag of a field, such as `--labels-per-class`."""
    return str(metadata_of(field).get("flag", f"--{name.replace('_', '-')}"))


def metadata_of(field: FieldInfo) -> dict[str, Any]:
    """Return the group, the metavar and whatever else `option` was told about a field."""
    assert isinstance(field.json_schema_extra, dict)
    return field.json_schema_extra


@cache
def _sentences(module: str) -> dict[str, dict[str, str]]:
    """Return class by class the sentences below its fields; a module is parsed once, by pydantic for every class."""
    parsed = ast.parse(inspect.getsource(sys.modules[module]))
    sentences: dict[str, dict[str, str]] = {}
    for written in (part for part in parsed.body if isinstance(part, ast.ClassDef)):
        for field, below in pairwise(written.body):
            match field, below:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(text))),
                ):
                    sentences.setdefault(written.name, {})[name] = " ".join(text.split())
    return sentences


class Options(BaseModel):
    """Options of a command: frozen, and every one that is not known is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        sentences = _sentences(cls.__module__).get(cls.__qualname__, {})
        for name in cls.model_fields.keys() & sentences.keys():
            cls.model_fields[name].description = sentences[name]

    def __init__(self, **values: Any) -> None:
        """Check the values. UsageError: an option is unknown or missing, or cannot have its value."""
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise self._usage_error(error) from None

    @model_validator(mode="after")
    def _check_bounds(self) -> Self:
        for name, field in type(self).model_fields.items():
            more, value, shown = metadata_of(field), getattr(self, name), flag_of(name, field)
            if "choices" in more and value is not None:
                check_choice(shown, value, more["choices"])
            for number in value if isinstance(value, tuple) else (value,):
                if "least" in more and number is not None:
                    check_at_least(shown, number, more["least"])
        return self

    @classmethod
    def _usage_error(cls, error: ValidationError) -> UsageError:
        first = error.errors(include_url=False)[0]
        cause = first.get("ctx", {}).get("error")
        if isinstance(cause, UsageError):
            return cause
        name = str(first["loc"][0])
        if first["type"] == "extra_forbidden":
            known = ", ".join(cls.model_fields)
            return UsageError(
                f"options must be among {known}", repr(name), f"choose one{did_you_mean(name, known.split(', '))}"
            )
        shown = flag_of(name, cls.model_fields[name])
        if first["type"] == "missing":
            return UsageError(f"{shown} must be given", "nothing", f"add {shown}")
        must = first["msg"].removeprefix("Input should be ").partition(",")[0].replace("valid integer", "whole number")
        return UsageError(f"{shown} must be {must}", repr(first["input"]), "give such a value")

    def changed(self, **changes: Any) -> Self:
        """Return the same options with some of them changed, checked anew."""
        return type(self)(**{**dict(self), **changes})

    @classmethod
    def taken_from(cls, arguments: Mapping[str, Any]) -> Self:
        """Return the options among the arguments of a function, by their names."""
        return cls(**{name: arguments[name] for name in cls.model_fields if name in arguments})
