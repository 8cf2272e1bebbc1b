"""What the site shows beside the pages in docs/: pages from elsewhere in the repository, and notebooks."""

from __future__ import annotations

import contextlib
import io
import json
import os
import posixpath
import re
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGES = {"bench/README.md": "figures.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
NOTEBOOKS = {
    f"examples/{path.name}": f"notebooks/{path.stem}.md" for path in sorted((ROOT / "examples").glob("*.ipynb"))
}
ORIGINS = {page: path for path, page in (PAGES | NOTEBOOKS).items()}
LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)")


def run_notebook(notebook: dict[str, Any]) -> list[str]:
    """Execute the cells of code as one Python process in a new folder, and return what each cell prints."""
    printed, names, here = [], {"__name__": "__main__"}, Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            for number, cell in enumerate(notebook["cells"]):
                with contextlib.redirect_stdout(io.StringIO()) as shown:
                    if cell["cell_type"] == "code":
                        exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)
                printed.append(shown.getvalue())
        finally:
            os.chdir(here)
    return printed


def as_markdown(notebook: dict[str, Any], printed: list[str]) -> str:
    """Return a notebook as Markdown, each cell followed by what it printed."""
    blocks = []
    for cell, shown in zip(notebook["cells"], printed, strict=True):
        text = "".join(cell["source"])
        blocks.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
        blocks += [f"```text\n{shown.rstrip()}\n```"] if shown.strip() else []
    return "\n\n".join(blocks)


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that do not stand in docs/."""
    from mkdocs.structure.files import File

    for path, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / path).read_text(encoding="utf-8")))
    for path, page in NOTEBOOKS.items():
        notebook = json.loads((ROOT / path).read_text(encoding="utf-8"))
        printed = run_notebook(notebook) if config.extra.get("run_notebooks", True) else [""] * len(notebook["cells"])
        files.append(File.generated(config, page, content=as_markdown(notebook, printed)))
        files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Let links that lead out of docs/, or come from elsewhere, lead to the page or the copy of their file."""
    from mkdocs.structure.files import File

    here = page.file.src_uri
    folder = posixpath.dirname(ORIGINS.get(here, f"docs/{here}"))

    def moved(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(folder, link[1]))
        target = path.removeprefix("docs/") if path.startswith("docs/") else (PAGES | NOTEBOOKS).get(path, path)
        if files.get_file_from_path(target) is None and (ROOT / path).is_file():
            files.append(File.generated(config, target, abs_src_path=str(ROOT / path)))
        return f"]({posixpath.relpath(target, posixpath.dirname(here) or '.')}{link[2] or ''})"

    return LINK.sub(moved, markdown)
