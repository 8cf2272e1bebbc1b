"""The layers hold: imports point one way, there are no cycles, and importing the package stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "headstart"
LAYERS = [
    {"base"},
    {"data"},
    {"engines"},
    {"sources"},
    {"features"},
    {"heads"},
    {"judge"},
    {"tune"},
    {"ship"},
    {"model"},
    {"sklearn", "testing", "wording"},
    {"findings", "predictions", "listing", "demo", "arguments"},
    {"adapting", "choosing", "leaning", "networks"},
    {"pipeline", "output", "developed", "pretraining"},
    {"arms", "learners", "affording", "outcomes", "contest", "compared", "several", "comparing"},
    {"cli", "__main__", "__init__"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def group_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imports_of(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("headstart"):
            found.add(node.module)
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names if name.name.startswith("headstart")}
    return found


FILES = sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_point_down(path: Path) -> None:
    own = group_of(name_of(path))
    above = {module for module in imports_of(path) if LEVEL[group_of(module)] > LEVEL[own]}
    assert not above, f"{name_of(path)} imports {sorted(above)}, which stand above it"


def test_no_cycles() -> None:
    graph = {name_of(path): imports_of(path) for path in FILES}
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, f"cycle: {' -> '.join([*trail, module])}"
        if module in graph and module not in done:
            for imported in sorted(graph[module]):
                visit(imported, (*trail, module))
            done.add(module)

    for module in sorted(graph):
        if module != "headstart":
            visit(module, ())


def test_importing_the_package_is_light() -> None:
    heavy = "torch timm transformers openvino sklearn pyarrow rich jinja2 scipy numpy"
    code = f"import headstart, sys; print([name for name in {heavy.split()!r} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_stay_readable(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 420, f"{path.name} has grown too long: one file, one subject"


def test_the_public_names_are_sorted_and_all_there() -> None:
    import headstart

    assert list(headstart.__all__) == sorted(headstart.__all__)
    assert len(headstart.__all__) <= 20
    for name in headstart.__all__:
        assert getattr(headstart, name) is not None
