"""The page of all options, made from their models: `python -m headstart.cli.reference > docs/options.md`."""

from __future__ import annotations

from collections.abc import Iterator

from headstart.cli.app import SUMMARIES, command_named
from headstart.cli.command import PageOptions
from headstart.run.option_model import GROUPS, Options, flag_of, metadata_of

MODELS: dict[str, type[Options]] = {name: command_named(name).options for name in SUMMARIES}
HEADER = """# Options

This page is made from the models of the options by `python -m headstart.cli.reference`; a test holds it current.
`hs.fit`, `hs.rank`, `hs.compare` and `hs.pretrain` take the options of their commands under the same names, with
underscores; the sources of `hs.rank` are its argument `sources`.
"""


def reference() -> str:
    """Return the page: for each command a table of its options, group by group."""
    shared = "\n".join(["## Options of every command", "", *_table(PageOptions)])
    return "\n\n".join([HEADER.rstrip(), *map(_section, MODELS), shared]) + "\n"


def _section(command: str) -> str:
    return "\n".join([f"## headstart {command}", "", SUMMARIES[command], "", *_table(MODELS[command])])


def _table(model: type[Options]) -> Iterator[str]:
    yield "| group | option | what it does |"
    yield "|---|---|---|"
    for group in GROUPS:
        for name, field in model.model_fields.items():
            more = metadata_of(field)
            if more["group"] == group:
                value = f" {more['metavar']}" if more["metavar"] else ""
                yield f"| {group} | `{flag_of(name, field)}{value}` | {field.description} |"


if __name__ == "__main__":
    print(reference(), end="")
