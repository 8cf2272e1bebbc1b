"""A message for a caller from Python names arguments in place of flags, and leaves everything else as it is."""

from __future__ import annotations

import pytest

from headstart.base.arguments import as_arguments, naming_arguments, naming_own_arguments
from headstart.base.errors import MissingExtra, SourceError, UsageError
from headstart.sources.registry import open_source

ARGUMENTS = {
    "source": "sources",
    "tune": "tune",
    "long-texts": "long_texts",
    "label-column": "label_column",
    "label-from": "label_from",
    "root": "root",
    "size": "size",
    "window": "window",
    "drop-test-duplicates": "drop_test_duplicates",
    "horizontal-flip": "horizontal_flip",
}
WORDS = {"none", "chunks", "drop-test-duplicates"}


@pytest.mark.parametrize(
    ("flags", "arguments"),
    [
        ("use it frozen, with --tune none", "use it frozen, with tune='none'"),
        ("use packaged:minilm, or leave --source out", "use packaged:minilm, or leave sources= out"),
        ("--size must be at least 1", "size= must be at least 1"),
        ("--tune last:N must have a number for N", "tune='last:N' must have a number for N"),
        ("(--long-texts chunks reads them whole)", "(long_texts='chunks' reads them whole)"),
        ("name it: --label-column NAME, or below --root DIR", "name it: label_column=NAME, or below root=DIR"),
        ("such as --label-column=shape.", "such as label_column='shape'."),
        ("such as --label-column='my own'", "such as label_column='my own'"),
        ("try --label-from '(a|b)_.*'", "try label_from='(a|b)_.*'"),
        ("--window 2.5", "window=2.5"),
        ("--drop-test-duplicates leaves them out", "drop_test_duplicates=True leaves them out"),
        ("give --no-horizontal-flip.", "give horizontal_flip=False."),
        # what is no option of the function, no flag, or a command of the shell stays
        ("run: pip install --no-deps timm", "run: pip install --no-deps timm"),
        ("classify with it: headstart fit DATA --source x:y", "classify with it: headstart fit DATA --source x:y"),
        ("a file '--source' and a--size", "a file '--source' and a--size"),
    ],
)
def test_flags_become_arguments(flags: str, arguments: str) -> None:
    assert as_arguments(flags, ARGUMENTS, WORDS) == arguments


@pytest.mark.parametrize(
    ("flags", "arguments"),
    [
        ("name it: --label-column NAME", "name it: columns={'label': NAME}"),
        ("such as --text-column=review.", "such as columns={'text': 'review'}."),
        ("leave --group-column out", "leave columns={'group': NAME} out"),
        ("--columns path,label", "columns= path,label"),
    ],
)
def test_a_flag_of_one_column_becomes_an_entry_of_the_columns(flags: str, arguments: str) -> None:
    assert as_arguments(flags, {"columns": "columns"}) == arguments


def test_open_source_names_its_arguments() -> None:
    with pytest.raises(UsageError, match=r"found long='chunks'; leave long= out"):
        open_source("packaged:efficientnet-lite0", long="chunks")
    with pytest.raises(UsageError, match=r"found window=2"):
        open_source("packaged:efficientnet-lite0", window=2.0)


def test_an_error_keeps_its_kind_and_its_parts() -> None:
    for kind in (UsageError, SourceError, MissingExtra):
        with pytest.raises(kind) as caught, naming_arguments(ARGUMENTS, WORDS):
            raise kind("--size must be 1", "--tune none", "leave --size out")
        assert type(caught.value) is kind
        assert str(caught.value) == "size= must be 1; found tune='none'; leave size= out"
        assert caught.value.remedy == "leave size= out"


def test_only_a_caller_outside_the_package_reads_the_arguments_of_a_function() -> None:
    @naming_own_arguments
    def opened(data: str, *, label_from: str | None = None, allow_broken: bool = False) -> str:
        """Open it."""
        raise UsageError("labels must be in the names", data, "use --label-from '([a-z]+)', or --allow-broken")

    with pytest.raises(UsageError, match=r"use label_from='\(\[a-z\]\+\)', or allow_broken=True"):
        opened("x")
    inside: dict[str, object] = {"__name__": "headstart.cli.somewhere", "opened": opened}
    with pytest.raises(UsageError, match=r"use --label-from '\(\[a-z\]\+\)', or --allow-broken"):
        exec("opened('x')", inside)
    assert opened.__doc__ == "Open it."
