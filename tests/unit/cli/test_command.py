"""Commands made from models of options: their help in groups, and the values that they pass on."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from headstart.cli.app import SUMMARIES, app, command_named
from headstart.cli.command import DisplayOptions, command_of
from headstart.cli.reference import MODELS, reference
from headstart.run.option_model import GROUPS, Options, flag, flag_of, option

COMMANDS = ["", *SUMMARIES]


@lru_cache
def help_of(*command: str) -> str:
    return CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "80"}).stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_at_most_80_columns_wide(command: str) -> None:
    assert max(map(len, help_of(*command.split()).splitlines())) <= 80


@pytest.mark.parametrize("command", SUMMARIES)
def test_help_shows_groups_in_order_every_option_and_three_examples(command: str) -> None:
    text = help_of(command)
    headings = [line.rstrip(":") for line in text.splitlines() if line.endswith(":") and not line.startswith(" ")]
    shown = [heading for heading in headings if heading in GROUPS]
    assert shown == [group for group in GROUPS if group in shown] and headings[-1] == "Examples"
    assert SUMMARIES[command] in text
    for name, field in MODELS[command].model_fields.items():
        assert flag_of(name, field) in text
    examples = text.partition("Examples:\n")[2].splitlines()
    assert len(examples) == 3 and all(line.startswith(f"  headstart {command}") for line in examples)


def test_the_page_of_options_is_current() -> None:
    page = Path(__file__).parents[3] / "docs" / "options.md"
    assert page.read_text() == reference(), "run: python -m headstart.cli.reference > docs/options.md"


class Toy(Options):
    count: int = option(3, "Run", "N")
    """How many. The default is 3."""
    source: str | None = option(None, "Source", "URI", several=True)
    """Which one. The default is none."""
    mirrored: bool | None = option(None, "Run", None, either=True)
    """Whether mirrored. By default it depends."""
    quick: bool = flag("Run")
    """Be quick. By default it is not."""


@pytest.mark.parametrize(
    ("words", "given", "shown"),
    [
        (["a"], {"quick": False}, DisplayOptions()),
        (["a", "--count", "4", "-q"], {"count": "4", "quick": False}, DisplayOptions(quiet=True)),
        (["a", "--source", "x", "--source", "y"], {"source": ["x", "y"], "quick": False}, DisplayOptions()),
        (["a", "--no-mirrored", "--quick", "--json"], {"mirrored": False, "quick": True}, DisplayOptions(as_json=True)),
    ],
)
def test_only_what_is_given_is_passed_on(words: list[str], given: dict[str, Any], shown: DisplayOptions) -> None:
    calls: list[tuple[Any, ...]] = []
    arguments = [("data", str, "DATA", "What to use.")]
    toy = command_of("toy", lambda *values: calls.append(values), Toy, arguments=arguments, examples=["headstart toy"])
    toy(words, standalone_mode=False)
    assert calls == [("a", given, shown)]


def test_commands_are_imported_when_they_are_called() -> None:
    code = (
        "import sys, headstart.cli.app as cli\n"
        "try: cli.app(['--help'], standalone_mode=False)\n"
        "finally: print([name for name in ('pydantic', 'numpy', 'rich', 'headstart.run') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_help_of_a_command_loads_no_numpy() -> None:
    code = "import sys, headstart.cli.app as cli\nfor one in cli.SUMMARIES: cli.command_named(one)\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "headstart.cli.fit" in loaded and "numpy" not in loaded


def test_a_shell_is_told_the_commands_and_the_options() -> None:
    environment = {**os.environ, "_HEADSTART_COMPLETE": "complete_bash", "COMP_CWORD": "1"}
    for words, at, wanted in (("headstart com", "1", "compare"), ("headstart fit --labels", "2", "--labels-per-class")):
        environment |= {"COMP_WORDS": words, "COMP_CWORD": at}
        code = "from headstart.cli.app import app; app(prog_name='headstart')"
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment
        )
        assert wanted in done.stdout.split(), done


def test_a_command_has_its_summary() -> None:
    assert command_named("fit").help == SUMMARIES["fit"]
    assert app.info.name == "headstart"


def test_garbage_is_collected_once_the_modules_of_a_command_are_loaded() -> None:
    code = (
        "import gc; from headstart.cli.command import DisplayOptions, prepare_display; gc.disable();"
        "prepare_display(DisplayOptions()); print(gc.isenabled(), gc.get_freeze_count() > 1000)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True True\n"
