"""The site: every page has its place, every public name is on it, notebooks run, and the built pages fit a phone."""

from __future__ import annotations

import html
import importlib
import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote

import pytest
import yaml
from browser import BROWSER, measured

import headstart

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
TRAINS = "your-own-source"
"""The notebook that trains a network."""
WIDTHS = """onload = () => {
document.body.textContent = JSON.stringify([...document.querySelectorAll("iframe")].map(frame => {
  const page = frame.contentDocument, width = page.documentElement.clientWidth;
  return [frame.title, page.documentElement.scrollWidth - width, page.querySelectorAll("h1").length,
    [...page.images].filter(one => !one.alt).length]; })); };"""


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("site_hooks", ROOT / "docs" / "hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pages(entry: object) -> list[str]:
    """Return the pages of a part of the navigation."""
    if isinstance(entry, str):
        return [entry]
    parts = entry.values() if isinstance(entry, dict) else entry
    return [page for part in parts for page in pages(part)]  # type: ignore[attr-defined]


def test_every_page_has_its_place(hooks: ModuleType) -> None:
    shown = pages(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    written = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")]
    assert {*written, *hooks.ORIGINS} <= set(shown), "the navigation in mkdocs.yml lacks a page"


def test_every_public_name_is_on_the_page_of_the_interface() -> None:
    written = re.findall(r"^### hs\.(\w+)\n\n::: (\S+)$", (ROOT / "docs" / "api.md").read_text(), flags=re.MULTILINE)
    assert dict(written) == {name: f"{home}.{name}" for name, home in headstart._HOME.items()}


def test_links_of_pages_from_elsewhere_lead_to_their_place_on_the_site(hooks: ModuleType) -> None:
    """By a stand-in for mkdocs' files: a page of bench/, one of docs/ideas/, and a file that is copied."""

    class Files(list):  # type: ignore[type-arg]
        def get_file_from_path(self, path: str) -> str | None:
            return path

    class Page:
        def __init__(self, src_uri: str) -> None:
            self.file = type("File", (), {"src_uri": src_uri})

    pytest.importorskip("mkdocs")
    markdown = "[a](../docs/data.md#odd) [b](https://x.org/y.md)"
    moved = hooks.on_page_markdown(markdown, Page("figures.md"), None, Files())
    assert moved == "[a](data.md#odd) [b](https://x.org/y.md)"
    markdown = "[a](../../bench/README.md#x) [b](gate.md)"
    moved = hooks.on_page_markdown(markdown, Page("ideas/gate.md"), None, Files())
    assert moved == "[a](../figures.md#x) [b](gate.md)"


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_have_no_outputs_in_git(notebook: Path, hooks: ModuleType) -> None:
    book = json.loads(notebook.read_text())
    assert (book["nbformat"], book["nbformat_minor"]) == (4, 5)
    assert all(not cell["outputs"] for cell in book["cells"] if cell["cell_type"] == "code")
    assert len({cell["id"] for cell in book["cells"]}) == len(book["cells"])


def test_a_notebook_is_shown_with_what_its_cells_print(hooks: ModuleType) -> None:
    cells = [("markdown", "# Two"), ("code", "two = 1 + 1"), ("code", "print(two)")]
    notebook = {"cells": [{"cell_type": kind, "source": [text]} for kind, text in cells]}
    shown = hooks.as_markdown(notebook, hooks.run_notebook(notebook))
    assert shown == "# Two\n\n```python\ntwo = 1 + 1\n```\n\n```python\nprint(two)\n```\n\n```text\n2\n```"


@pytest.mark.parametrize(
    "notebook",
    [
        pytest.param(path, id=path.stem, marks=pytest.mark.slow if path.stem == TRAINS else pytest.mark.thorough)
        for path in NOTEBOOKS
    ],
)
def test_notebooks_run(notebook: Path, hooks: ModuleType, warm_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(warm_cache))
    assert "".join(hooks.run_notebook(json.loads(notebook.read_text()))).strip()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # those of mkdocs and its plugins
def test_the_site_is_built_without_a_broken_link_or_an_asset_from_elsewhere(tmp_path: Path) -> None:
    """Strict, so that a page, link or anchor that is absent fails; then looked at in a browser, where there is one."""
    pytest.importorskip("material", reason="mkdocs-material is absent: pip install '.[docs]'")
    pytest.importorskip("mkdocstrings")
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    build(load_config(str(ROOT / "mkdocs.yml"), strict=True, site_dir=str(tmp_path), extra={"run_notebooks": False}))
    built = sorted(tmp_path.rglob("*.html"))
    texts = {path: path.read_text(encoding="utf-8") for path in built}
    for path, text in texts.items():
        assert not re.findall(r"<(?:script|img|link|iframe)[^>]+(?:src|href)=[\"']?(?:https?:)?//", text), path
        for target, anchor in re.findall(r"<a[^>]+href=\"(?!\w+:)([^\"#?]*)#?([^\"]*)\"", text):
            page = (path.parent / unquote(target)).resolve() if target else path
            assert page.exists() or path.name == "404.html", f"{path.name}: {target}"
            named = not anchor or page not in texts or f'id="{html.unescape(unquote(anchor))}"' in texts[page]
            assert named, f"{path.name}: {target}#{anchor}"
    if BROWSER:
        ours = [path for path in built if path.name != "404.html"]
        for name, over, headings, without_alt in looked_at(tmp_path, ours):
            assert over <= 0, f"{name} is {over} pixels wider than its window"
            assert headings == 1, f"{name}: {headings} headings of the first order"
            assert without_alt == 0, f"{name}: pictures without a text for those who cannot see them"


def looked_at(site: Path, built: list[Path]) -> list[tuple[str, int, int, int]]:
    """Return what Chromium says of each page at the width of a phone and of a desk."""
    frames = [
        f'<iframe src="{name}" title="{name} {width}" style="width:{width}px"></iframe>'
        for name in (path.relative_to(site) for path in built)
        for width in (390, 1280)
    ]
    page = site / "all-pages.html"
    page.write_text(f"<body>{''.join(frames)}<script>{WIDTHS}</script></body>")
    return [tuple(row) for row in measured(page)]


def test_documentation_may_import_the_module_that_is_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    importlib.import_module("headstart.__main__")
    assert capsys.readouterr() == ("", "")
