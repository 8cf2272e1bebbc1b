"""The documents are true: their Python runs, their commands run, their links lead somewhere."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest
from toy_texts import sentences, write_csv

from headstart.cli.app import main
from headstart.testing import toy_photos

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "bench").glob("*.md")]
)


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
    (tmp_path / "photo.jpg").write_bytes((tmp_path / "photos" / "rose" / "c.jpg").read_bytes())
    write_csv(tmp_path / "questions.csv", sentences(16))
    write_csv(tmp_path / "new-questions.csv", sentences(2, seed=1))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEADSTART_CACHE", str(warm_cache))
    return tmp_path


THOROUGH = {"compare.md", "pretrain.md", "rank.md", "sounds.md", "tables.md", "texts.md", "tuning.md"}
"""Documents whose examples train networks, or measure many."""


RUN = pytest.mark.parametrize(
    "document",
    [
        pytest.param(document, id=document.name, marks=[pytest.mark.thorough] if document.name in THOROUGH else [])
        for document in DOCUMENTS
    ],
)


@RUN
def test_python_examples_run(document: Path, workplace: Path) -> None:
    for number, example in enumerate(fenced(document, "python")):
        exec(compile(example, f"{document.name}, example {number}", "exec"), {"__name__": "__main__"})


@RUN
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


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", document.read_text()):
        if "://" not in target:
            assert (document.parent / target).exists(), target


def test_the_layout_names_every_package() -> None:
    layout, package = (ROOT / "docs" / "layout.md").read_text(), ROOT / "src" / "headstart"
    for folder in (path.parent.relative_to(package) for path in package.rglob("__init__.py")):
        assert folder == Path() or f"  {folder.name}/" in layout, f"docs/layout.md does not name {folder}"


def test_make_targets_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for document in (ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        for target in re.findall(r"^make ([\w-]+)", document.read_text(), flags=re.MULTILINE):
            assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
