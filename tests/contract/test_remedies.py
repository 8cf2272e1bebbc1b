"""What an error tells a user to do can be done, and helps: every remedy works or leads to another true error.

It cannot catch a remedy in plain words ("mend or remove them") that would not help.
"""

from __future__ import annotations

import ast
import json
import re
import shlex
import sys
from collections.abc import Callable
from functools import cache
from importlib.metadata import metadata
from pathlib import Path

import pytest

import headstart
from headstart.cli.app import SUMMARIES, command_named, main

SOURCE = Path(headstart.__file__).parent
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*[a-z0-9]")
COMMAND = re.compile(r"headstart ([a-z]+)((?: [A-Z./:{][\w./:-]*| --[a-z-]+(?: [\w:-]+)?)+)")
FOREIGN = (
    "--upgrade",
    "--editable",
    "--force-reinstall",
    "--no-deps",
    "--head",
    "--help",
    "--version",
    "--no",
    "--python",
    "--no-cache-dir",
    "--env-manager",
    *("--create-home", "--uid", "--start-period", "--rm"),
    *("--silent", "--pack-destination"),
)  # of pip, of MLflow, of Docker and what its images run, of npm, and of every command
OPTIONS = {
    name: {flag for one in command_named(name).params for flag in (*one.opts, *one.secondary_opts)}
    for name in SUMMARIES
}
TEXTS: dict[str, list[str]] = {
    "good": [
        "a lovely film",
        "what a fine day",
        "lovely and fine",
        "a fine lovely meal",
        "so fine a day",
        "lovely day",
    ],
    "bad": ["an awful film", "what a dire day", "awful and dire", "a dire awful meal", "so dire a day", "awful day"],
}


@cache
def messages() -> list[tuple[str, str]]:
    """Return every text of the package that is no docstring, with its place."""
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        documents = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        found += [
            (f"{path.relative_to(SOURCE)}:{node.lineno}", node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documents
        ]
    return found


def test_every_option_that_a_message_names_exists() -> None:
    known = set().union(*OPTIONS.values(), FOREIGN)
    unknown = [(where, option) for where, text in messages() for option in OPTION.findall(text) if option not in known]
    assert not unknown


def test_every_command_that_a_message_names_exists_and_takes_its_options() -> None:
    wrong = []
    for where, text in messages():
        for command, rest in re.findall(
            r"`?headstart ([a-z]+)((?: [A-Z./:{][\w./:-]*| --[a-z-]+(?: [\w:-]+)?)+)", text
        ):
            options = set(OPTION.findall(rest))
            if command not in SUMMARIES or not options <= OPTIONS[command]:
                wrong.append((where, command, rest))
    assert not wrong


def test_every_extra_that_a_message_names_is_one() -> None:
    extras = set(metadata("headstart").get_all("Provides-Extra") or ())
    named = {
        extra
        for _, text in messages()
        for some in re.findall(r"headstart\[([\w,]+)\]", text)
        for extra in some.split(",")
    }
    called = {
        keyword.value.value
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "missing_extra"
        for keyword in node.keywords
        if keyword.arg == "extra" and isinstance(keyword.value, ast.Constant)
    }
    assert named | called <= extras


def test_no_remedy_says_no_more_than_to_mend_it() -> None:
    vague = re.compile(r"(correct|mend|check|fix|repair|reshape|rename|change|give|name) (it|them|one|(the )?others?)")
    wrong = [
        f"{path.relative_to(SOURCE)}:{node.lineno}: {node.args[2].value}"
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and len(node.args) == 3 and str(getattr(node.func, "id", "")).endswith("Error")
        if isinstance(node.args[2], ast.Constant) and vague.fullmatch(str(node.args[2].value))
    ]
    assert not wrong


@pytest.fixture
def words(tmp_path: Path) -> Path:
    """Return word vectors for the words of `TEXTS`: a source that needs no torch."""
    vocabulary = sorted({word for texts in TEXTS.values() for text in texts for word in text.split()})
    vectors = [
        f"{word} {at % 3} {at % 5} {at % 7} {int(word in ('fine', 'lovely'))}" for at, word in enumerate(vocabulary)
    ]
    (tmp_path / "words.txt").write_text("\n".join(vectors) + "\n")
    return tmp_path / "words.txt"


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    """Run a command in this process; return its exit code and the last line that it said."""

    def call(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["headstart", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        lines = capfd.readouterr().err.splitlines()
        return int(str(end.value.code)), lines[-1] if lines else ""

    return call


def class_folders(path: Path, *, broken: int = 0, linked: bool = False) -> Path:
    for label, texts in TEXTS.items():
        folder = path.parent / f"{path.name}-elsewhere" / label if linked else path / label
        folder.mkdir(parents=True)
        for number, text in enumerate(texts):
            (folder / f"{number}.txt").write_text(text)
        for number in range(broken):
            (folder / f"broken{number}.txt").write_text("")
        if linked:
            path.mkdir(exist_ok=True)
            (path / label).symlink_to(folder)
    return path


def table(path: Path, header: str, mark: str = ",", *, quantity: bool = False) -> Path:
    pairs = [(text, label) for label, texts in TEXTS.items() for text in texts]
    cells = [
        (number % 6, text, f"{number * 1.37:.2f}" if quantity else label) for number, (text, label) in enumerate(pairs)
    ]
    rows = [mark.join(map(str, row)) for row in cells]
    path.write_text("\n".join(([header] if header else []) + rows) + "\n")
    return path


def in_names(path: Path) -> Path:
    path.mkdir()
    for label, texts in TEXTS.items():
        for number, text in enumerate(texts):
            (path / f"{label}_{number}.txt").write_text(text)
    return path


INPUTS: dict[str, Callable[[Path], Path]] = {
    "broken": lambda root: class_folders(root / "data", broken=3),
    "links": lambda root: class_folders(root / "data", linked=True),
    "names": lambda root: in_names(root / "data"),
    "columns": lambda root: table(root / "data.csv", "number,phrase,mood"),
    "no header": lambda root: table(root / "data.csv", ""),
    "quantity": lambda root: table(root / "data.csv", "number,text,label", quantity=True),
    "pipes": lambda root: table(root / "data.csv", "number|phrase|mood", "|"),
    "misspelt": lambda root: class_folders(root / "data").with_name("dada"),
}


def remedied(arguments: list[str], message: str, root: Path) -> list[str] | None:
    """Return the command with the remedy of a message; None where it is in words alone."""
    remedy = message.split("; ", 2)[-1]
    if meant := re.search(r"did you mean '([^']+)'", remedy):
        return [str(root / meant[1]) if one == arguments[1] else one for one in arguments]
    option = OPTION.search(remedy)
    if option is None:
        return None
    rest = remedy[option.end() :].lstrip(" =")
    value = shlex.split(rest)[0].rstrip(",;.") if rest.startswith(("'", '"')) else rest.partition(" ")[0].rstrip(",;.")
    field = next(one for one in command_named("fit").params if option[0] in one.opts)
    return [*arguments, option[0]] + ([] if field.is_flag else [value])


@pytest.mark.parametrize("name", INPUTS)
def test_a_remedy_works_or_leads_to_another_true_error(
    name: str, words: Path, run: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    arguments = ["fit", str(INPUTS[name](tmp_path)), "--source", f"words:{words}", "--out", str(tmp_path / "out")]
    seen: list[str] = []
    for _ in range(5):
        code, message = run(*arguments)
        if code == 0:
            break
        assert code == 2 and "; " in message, message
        assert message not in seen, f"a circle: {message}"
        seen.append(message)
        following = remedied(arguments, message, tmp_path)
        if following is None:
            break
        arguments = following
    assert seen
    if name == "quantity":
        assert code == 2 and not (tmp_path / "out").exists()
    else:
        assert code == 0, seen
        assert json.loads((tmp_path / "out" / "result.json").read_text())["classes"] == ["bad", "good"], seen
