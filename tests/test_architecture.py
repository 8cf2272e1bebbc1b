"""The layers hold: imports point one way, also inside each wing, files and functions stay short, importing is light."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "headstart"
ORDER = {
    "": "base data engines sources features scale heads judge tune ship model sklearn testing run ranking fitting"
    " evaluating comparison pretraining serving classifier cli __main__",
    "base": "errors arguments interrupts extras schema own_folders disk hashing cache config memory mapped processes"
    " prefetch progress log threads",
    "data": "modality dataset groups file_tree images text shingles audio labels audit readers split",
    "data.readers": "archives containers name_labels tables arrays folders inputs open",
    "data.readers.tables": "table delimited json_tables read named_files label_column roles time_column manifest"
    " parquet opener",
    "data.readers.arrays": "pictures in_memory array_files pixel_tables python_data",
    "data.readers.folders": "layout lists joined_lists file_kinds text_lines class_names class_folders sidecars"
    " listing_tables mounts",
    "data.images": "formats jpeg deep pillow alignment preprocessing value_range",
    "data.audio": "formats limits lengths decoding spectrogram preview",
    "engines": "base environment openvino torch select conversion_process",
    "sources": "sizes package_files layers imagenet base speed checkpoints hub keras networks uri registry graphs"
    " text providers catalogue",
    "sources.checkpoints": "align keras_file safetensors index pickled storages read load parts subtree source_folder",
    "sources.hub": "client repository",
    "sources.networks": "size_bound bert efficientnet_lite image_processor resnet9 tapped source stages"
    " transformers_networks sound_networks two_step",
    "sources.graphs": "checks traversal openvino_graph from_arrays speech voice source",
    "sources.text": "source word_index word_arrays word_vectors word_network word_source",
    "sources.keras": "applications layers network",
    "sources.providers": "arch keras file timm huggingface_sounds huggingface graph packaged_sounds packaged simple"
    " spectrogram mean mirrored torchvision words",
    "features": "modality features store extraction_pass extract relatives",
    "scale": "remote shards worker schedule elsewhere ray_workers ray_cluster",
    "heads": "folds linear principal_axes convex closed_form cross_validation select layer_choice tfidf stacking",
    "judge": "intervals crossed metrics novelty neighbours prediction evaluation scores baselines related report"
    " benefit gate",
    "judge.report": "page charts notebook fit_page comparison_page ranking_page",
    "judge.benefit": "results gains sentence benefit",
    "tune": "settings network training problem inputs frozen_checks from_scratch result trial attempt search",
    "tune.training": "checkpoint task run_state schedule signals trackers loop",
    "tune.network": "readers classifier frozen_prefix fused_batchnorm lora param_groups",
    "tune.inputs": "augment row_store base images texts by_modality contrastive stream",
    "ship": "bundle_words bundle_novelty bundle run_neighbours reopening card upload hub_bundle space docker export",
    "ship.export": "numbers networks int8 resize pictures texts sounds graph onnx_graph scripts parity licence"
    " web_runtime write",
    "run": "clock folder losses shown option_model from_python options prepare baseline",
    "fitting": "words predictor defaults folds tuning novelty result page fit",
    "evaluating": "options evaluate",
    "comparison": "options curve arms budget bar tuned_arm outcome_store splits experiment result compare",
    "pretraining": "options result pretrain",
    "serving": "mlflow_model options payload batching open_model site metrics guard connections page app serve",
    "ranking": "options candidates probe measuring combining likeness result rank auto",
    "cli": "messages command fit evaluate rank compare pretrain predicted_table predict_blocks predict export serve"
    " push space sources doctor demo app reference",
}
"""The children of each package, bottom up: a child imports only those before it."""

LINES_OF_A_FILE = 400
LINES_OF_A_FUNCTION = 40
"""Without its docstring, and its parameters as one line: a command of forty options is no long function."""

VAGUE = {"said", "told", "held", "found", "given", "one", "at", "how", "wanted", "other"}


def name_of(path: Path) -> str:
    """Return the dotted name of a file below the package; empty for the package itself."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


@functools.cache
def tree_of(path: Path) -> ast.Module:
    """Return the syntax tree of a file, parsed once for all tests."""
    return ast.parse(path.read_text(encoding="utf-8"))


def imports_of(path: Path) -> Iterator[str]:
    """Yield the dotted names below the package that a file imports, wherever in it the import stands."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "headstart":
            module = node.module.partition(".")[2]
            for name in node.names:
                below = f"{module}.{name.name}".lstrip(".")
                yield below if below in FILES else module
        if isinstance(node, ast.Import):
            yield from (
                name.name.partition(".")[2] for name in node.names if name.name.partition(".")[0] == "headstart"
            )


def parting(one: str, other: str) -> tuple[str, str, str]:
    """Return the package in which two files part ways, and the child of it that each belongs to."""
    mine, theirs = one.split("."), other.split(".")
    shared = 0
    while shared < min(len(mine), len(theirs)) and mine[shared] == theirs[shared]:
        shared += 1
    return (
        ".".join(mine[:shared]),
        *((parts[shared] if shared < len(parts) else "__init__") for parts in (mine, theirs)),
    )


@pytest.mark.parametrize("package", ORDER)
def test_every_child_has_its_place_in_the_order(package: str) -> None:
    folder = PACKAGE.joinpath(*package.split(".")) if package else PACKAGE
    children = {path.stem for path in folder.glob("*.py")} | {path.parent.name for path in folder.glob("*/__init__.py")}
    assert children - {"__init__"} == set(ORDER[package].split())


def test_every_package_has_an_order() -> None:
    assert {name for name, path in FILES.items() if path.stem == "__init__"} == set(ORDER)


@pytest.mark.parametrize("name", [name for name in FILES if name])
def test_imports_point_down(name: str) -> None:
    upward = []
    for imported in imports_of(FILES[name]):
        package, mine, theirs = parting(name, imported)
        order = [*ORDER[package].split(), "__init__"] if package in ORDER else []
        if imported and mine != theirs and order.index(mine) <= order.index(theirs):
            upward.append(imported)
    assert not upward, f"{name} imports {sorted(upward)}, which stand above it"


def test_no_cycles() -> None:
    graph = {name: set(imports_of(path)) for name, path in FILES.items()}
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, f"cycle: {' -> '.join([*trail, module])}"
        if module in graph and module not in done:
            for imported in sorted(graph[module] - {""}):
                visit(imported, (*trail, module))
            done.add(module)

    for module in sorted(graph):
        if module:
            visit(module, ())


def test_importing_the_package_is_light() -> None:
    heavy = "torch timm transformers openvino sklearn pyarrow rich jinja2 scipy numpy"
    code = f"import headstart, sys; print([name for name in {heavy.split()!r} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize("name", FILES)
def test_files_stay_readable(name: str) -> None:
    lines = len(FILES[name].read_text(encoding="utf-8").splitlines())
    assert lines <= LINES_OF_A_FILE, f"{name} has {lines} lines: one file, one subject"


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the lines of a function without its docstring, and with its parameters as one line."""
    first = function.body[0]
    start = first.lineno if ast.get_docstring(function) is None else (first.end_lineno or 0) + 1
    return (function.end_lineno or 0) - start + 2


@pytest.mark.parametrize("name", FILES)
def test_functions_stay_readable(name: str) -> None:
    for node in ast.walk(tree_of(FILES[name])):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines, full = code_lines(node), f"{name}.{node.name}"
            assert lines <= LINES_OF_A_FUNCTION, f"{full} has {lines} lines"


def test_every_module_is_imported_by_a_test() -> None:
    every = "\n".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.rglob("*.py"))
    imported = set(re.findall(r"^ *import headstart\.([\w.]+)", every, re.MULTILINE))
    for module, names in re.findall(r"^ *from headstart\.?([\w.]*) import (\([^)]*\)|.*)", every, re.MULTILINE):
        imported |= {module, *(f"{module}.{name}".lstrip(".") for name in re.findall(r"\w+", names))}
    modules = {name for name, path in FILES.items() if path.stem not in ("__init__", "__main__")}
    assert not modules - imported, f"no test imports {sorted(modules - imported)}: write one in its mirror"


def names_bound_in(function: ast.AST) -> Iterator[str]:
    """Yield the parameters and variables of a function, those of its comprehensions and lambdas left out."""
    for node in ast.iter_child_nodes(function):
        if isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        if not isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp | ast.Lambda):
            yield from names_bound_in(node)


@pytest.mark.parametrize("name", FILES)
def test_variables_are_named_by_what_they_hold(name: str) -> None:
    for node in tree_of(FILES[name]).body:
        if vague := VAGUE & set(names_bound_in(node)):
            pytest.fail(f"{name}.{getattr(node, 'name', '')} has variables {sorted(vague)}: name what they hold")


def test_the_top_level_has_few_modules() -> None:
    assert len([path for path in PACKAGE.glob("*.py") if not path.stem.startswith("__")]) <= 4


def test_the_public_names_are_sorted_and_all_there() -> None:
    import headstart

    assert list(headstart.__all__) == sorted(headstart.__all__)
    assert len(headstart.__all__) <= 25
    for name in headstart.__all__:
        assert getattr(headstart, name) is not None
