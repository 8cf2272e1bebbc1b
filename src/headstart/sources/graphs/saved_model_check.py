"""A TensorFlow SavedModel, looked into before an engine opens it: its files, and operators that run programs.

Field numbers are those of saved_model.proto, meta_graph.proto, graph.proto and function.proto of TensorFlow.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from headstart.base.errors import SourceError
from headstart.sources.graphs.protobuf import Damaged, messages, text, view

GRAPH = "saved_model.pb"
VARIABLES = "variables"
PROGRAMS = ("PyFunc", "PyFuncStateless", "EagerPyFunc", "ReadFile", "WriteFile")
"""Operators that run Python, or read and write files that the model names."""
GET_IT_AGAIN = "get the folder again from where it came, or save the model again"
META_GRAPH, GRAPH_DEF = 2, 2
GRAPH_NODE, GRAPH_LIBRARY = 1, 2
LIBRARY_FUNCTION, FUNCTION_NODE = 1, 3
NODE_OP = 2


def check_saved_model(folder: Path) -> tuple[Path, ...]:
    """Return the files of a SavedModel that an engine reads: its graph, and its variables.

    Raises:
        SourceError: it is no SavedModel, damaged, linked to files elsewhere, or runs programs.
    """
    graph = folder / GRAPH
    if not graph.is_file():
        raise SourceError(
            f"{folder} must be the folder of a SavedModel", f"no {GRAPH} in it", "name the folder that holds it"
        )
    files = (graph, *sorted(path for path in (folder / VARIABLES).glob("*") if not path.is_dir()))
    for path in (folder / VARIABLES, *files):
        if path.is_symlink():
            raise SourceError(
                f"a SavedModel must be made of plain files, {folder} is not",
                f"the link {path.relative_to(folder)}",
                "copy the files themselves into the folder",
            )
    try:
        operators = set(_operators(view(graph)))
    except Damaged as damaged:
        raise SourceError(f"{graph} must be a sound SavedModel", damaged, GET_IT_AGAIN) from damaged
    for operator in PROGRAMS:
        if operator in operators:
            raise SourceError(
                f"{folder} must be a network and no program",
                f"the operator {operator}, which runs code or opens files",
                "save the model without it: such operators are never run",
            )
    return files


def _operators(data: memoryview) -> Iterator[str]:
    for meta in messages(data, META_GRAPH):
        for graph in messages(meta, GRAPH_DEF):
            yield from _kinds(graph, GRAPH_NODE)
            for library in messages(graph, GRAPH_LIBRARY):
                for function in messages(library, LIBRARY_FUNCTION):
                    yield from _kinds(function, FUNCTION_NODE)


def _kinds(data: memoryview, number: int) -> Iterator[str]:
    for node in messages(data, number):
        for kind in messages(node, NODE_OP):
            yield text(kind)
