"""The documents are true: their Python runs, their commands run, their links lead somewhere."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest
from recordings import tones
from toy_texts import sentences, write_csv

from headstart.cli.app import main
from headstart.testing import toy_photos

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "bench").glob("*.md"),
    ]
)
OPTIONS = (ROOT / "docs" / "options.md").read_text()


def fenced(document: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", document.read_text(), flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warm_cache: Path) -> Path:
    """A folder with the photos that the documents speak of."""
    toy_photos(tmp_path / "photos", classes=["daisy", "rose"], per_class=32, seed=0)
    first = next((tmp_path / "photos" / "rose").iterdir())
    (tmp_path / "photos" / "rose" / "c.jpg").write_bytes(first.read_bytes())
    first.unlink()
    toy_photos(tmp_path / "new-photos", classes=["daisy"], per_class=3, seed=1)
    toy_photos(tmp_path / "later-photos", classes=["daisy", "rose"], per_class=3, seed=2)
    toy_photos(tmp_path / "cats-and-dogs", classes=["cat", "dog"], per_class=6, seed=3)
    (tmp_path / "photo.jpg").write_bytes((tmp_path / "photos" / "rose" / "c.jpg").read_bytes())
    tones(tmp_path / "recordings", count=8)
    write_csv(tmp_path / "questions.csv", sentences(16))
    write_csv(tmp_path / "new-questions.csv", sentences(2, seed=1))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEADSTART_CACHE", str(warm_cache))
    return tmp_path


QUICK = {"sources.md"}
"""Documents whose examples take little, and stand for all others in the test suite."""


def mark(name: str) -> list[pytest.MarkDecorator]:
    """Return the mark of a document; the textbook's builds seven large networks."""
    if name in QUICK:
        return []
    return [pytest.mark.slow if name == "textbook.md" else pytest.mark.thorough]


def running(language: str) -> pytest.MarkDecorator:
    """Return a case for each document that has examples in `language`."""
    return pytest.mark.parametrize(
        "document",
        [
            pytest.param(document, id=document.name, marks=mark(document.name))
            for document in DOCUMENTS
            if fenced(document, language)
        ],
    )


@running("python")
def test_python_examples_run(document: Path, workplace: Path) -> None:
    for number, example in enumerate(fenced(document, "python")):
        exec(compile(example, f"{document.name}, example {number}", "exec"), {"__name__": "__main__"})


@running("console")
def test_commands_run(
    document: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    lines = [line[2:] for text in fenced(document, "console") for line in text.splitlines() if line.startswith("$ ")]
    if any("OUT" in line for line in lines):
        lines = ["headstart fit photos/ --out OUT", *lines]
    for line in lines:
        name, *arguments = shlex.split(line)
        assert name == "headstart", "examples of other commands are not fenced as console"
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == 0, f"{line}: {capfd.readouterr().err}"


def anchors(document: Path) -> set[str]:
    """Return the names by which a document's headings are linked."""
    text = re.sub(r"^```.*?^```", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = (heading.replace("`", "").lower() for heading in re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE))
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", heading)).strip("-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#\s]*)#?([^)\s]*)\)", document.read_text()):
        if "://" not in target:
            page = document.parent / target if target else document
            assert page.exists(), target
            assert not anchor or anchor in anchors(page), f"{target}#{anchor}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_in_the_text_have_only_options_that_exist(document: Path) -> None:
    """Those that are not run, too: of tables, of sources that are not here, of minutes."""
    sections = dict(re.findall(r"^## headstart (\w+)\n(.*?)(?=^## |\Z)", OPTIONS, flags=re.MULTILINE | re.DOTALL))
    everywhere = OPTIONS.partition("## Options of every command")[2]
    blocks = "\n".join(re.findall(r"^```\w*\n(.*?)^```", document.read_text(), flags=re.MULTILINE | re.DOTALL))
    prose = re.sub(r"^```.*?^```", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    commands = re.findall(r"^(?:\$ )?headstart ([a-z]+)(.*)$", blocks, flags=re.MULTILINE)
    for command, rest in [*commands, *re.findall(r"`headstart ([a-z]+)([^`]*)`", prose)]:
        assert command in sections, f"headstart {command}"
        for flag in re.findall(r" (--[a-z][a-z-]*)", rest.partition("#")[0]):
            assert f"`{flag}" in sections[command] + everywhere, f"headstart {command} {flag}"


def test_the_layout_names_every_package() -> None:
    layout, package = (ROOT / "docs" / "layout.md").read_text(), ROOT / "src" / "headstart"
    for folder in (path.parent.relative_to(package) for path in package.rglob("__init__.py")):
        assert folder == Path() or f"  {folder.name}/" in layout, f"docs/layout.md does not name {folder}"


def test_make_targets_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for document in (ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        for target in re.findall(r"^make ([\w-]+)", document.read_text(), flags=re.MULTILINE):
            assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
