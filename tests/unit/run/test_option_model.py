"""Models of options: what cannot be is refused in one line, and what is written once is the same everywhere."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

import headstart as hs
from headstart.base.errors import UsageError
from headstart.cli.command import DisplayOptions
from headstart.cli.reference import MODELS
from headstart.comparison.options import CompareOptions
from headstart.pretraining.options import PretrainOptions
from headstart.run.option_model import GROUPS, Options, flag, metadata_of, option
from headstart.run.options import FitOptions

EVERY = [*MODELS.values(), DisplayOptions]


class Toy(Options):
    count: int = option(3, "Run", "N")
    """How many. The default is 3."""
    quick: bool = flag("Run")
    """Be quick. By default it is not."""


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"cuont": 4}, "options must be among count, quick; found 'cuont'; choose one, did you mean 'count'?"),
        ({"count": "four"}, "--count must be a whole number; found 'four'; give such a value"),
        ({"quick": "perhaps"}, "--quick must be a valid boolean; found 'perhaps'; give such a value"),
    ],
)
def test_what_cannot_be_is_one_line(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as error:
        Toy(**values)
    assert str(error.value) == message


def test_options_are_frozen_and_a_change_is_checked() -> None:
    toy = Toy(count="4")
    assert toy.count == 4 and toy.changed(quick=True) == Toy(count=4, quick=True)
    with pytest.raises(ValueError, match="frozen"):
        toy.count = 5
    with pytest.raises(UsageError, match="did you mean 'quick'"):
        toy.changed(qiuck=True)
    with pytest.raises(UsageError, match="--arch must be given"):
        PretrainOptions()


@pytest.mark.parametrize(
    ("function", "model"),
    [(hs.fit, FitOptions), (hs.compare, CompareOptions), (hs.pretrain, PretrainOptions)],
    ids=lambda value: value.__name__,
)
def test_a_function_takes_the_options_of_its_command(function: Callable[..., Any], model: type[Options]) -> None:
    parameters = inspect.signature(function).parameters
    assert parameters.keys() - {"data", "progress"} == model.model_fields.keys()
    for name, field in model.model_fields.items():
        wanted = inspect.Parameter.empty if field.is_required() else field.default
        assert parameters[name].default == wanted, name
        assert f"        {name}: {field.description}" in (function.__doc__ or ""), name
    with pytest.raises(TypeError, match="unexpected keyword"):
        function("photos/", sede=1)


@pytest.mark.parametrize("model", EVERY, ids=lambda model: model.__name__)
def test_every_description_is_whole_sentences_that_name_the_real_default(model: type[Options]) -> None:
    for name, field in model.model_fields.items():
        text = str(field.description)
        assert text[0].isupper() and text.endswith("."), name
        assert metadata_of(field)["group"] in GROUPS
        if not isinstance(field.default, bool | None) and field.default != 600.0 and not field.is_required():
            shown = f"{field.default:g}" if isinstance(field.default, float) else str(field.default)
            assert f"default is {shown}" in text, name
        elif not field.is_required() and name != "to":
            assert "default" in text, name
