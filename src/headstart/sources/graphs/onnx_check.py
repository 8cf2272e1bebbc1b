"""An ONNX file, looked into before an engine opens it: where its weights lie, and whose operators it asks for.

Field numbers are those of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from headstart.base.errors import SourceError
from headstart.sources.graphs.protobuf import DEEPEST, Damaged, fields, messages, text, view

KNOWN_DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft", "org.openvinotoolkit")
"""Whose operators an engine may know; those of any other domain are custom code that is not in the file."""
GET_IT_AGAIN = "get the file again from where it came, or export it again"
EXTERNAL = 1  # TensorProto.DataLocation
MODEL_GRAPH, MODEL_FUNCTIONS = 7, 25
GRAPH_NODE, GRAPH_INITIALIZER, GRAPH_SPARSE = 1, 5, 15
NODE_OP, NODE_ATTRIBUTE, NODE_DOMAIN = 4, 5, 7
FUNCTION_NODE = 7
ATTRIBUTE_TENSORS, ATTRIBUTE_GRAPHS, ATTRIBUTE_SPARSES = (5, 10), (6, 11), (22, 23)
SPARSE_TENSORS = (1, 2)
TENSOR_NAME, TENSOR_EXTERNAL, TENSOR_LOCATION = 8, 13, 14


@dataclass(frozen=True)
class External:
    """A tensor whose numbers lie in another file: its name, and what it says of where."""

    tensor: str
    entries: tuple[tuple[str, str], ...]


@dataclass
class Contents:
    """What matters of a model: its tensors outside the file, and its operators by domain."""

    external: list[External] = field(default_factory=list)
    operators: set[tuple[str, str]] = field(default_factory=set)
    graphs: int = 0


def check_onnx(path: Path) -> tuple[Path, ...]:
    """Return the files that a sound model is made of, itself first.

    Raises:
        SourceError: it is damaged, asks for operators of its own, or for weights that are not plain files beside it.
    """
    try:
        contents = _contents(view(path))
    except Damaged as damaged:
        raise SourceError(f"{path} must be a sound ONNX file", damaged, GET_IT_AGAIN) from damaged
    if not contents.graphs:
        raise SourceError(f"{path} must be an ONNX file", "no graph in it", GET_IT_AGAIN)
    for domain, operator in sorted(contents.operators):
        if domain not in KNOWN_DOMAINS:
            raise SourceError(
                f"{path} must use operators of ONNX alone",
                f"the custom operator {domain}.{operator}",
                "export the network without it: no code is loaded for it (a function of the file's own can be put in "
                "its place with onnx.inliner.inline_local_functions)",
            )
    data_files = dict.fromkeys(_data_file(path, tensor) for tensor in contents.external)
    return (path, *data_files)


def _contents(data: memoryview) -> Contents:
    contents = Contents()
    for number, value in fields(data):
        if number == MODEL_GRAPH and isinstance(value, memoryview):
            contents.graphs += 1
            _graph(value, contents, 0)
        elif number == MODEL_FUNCTIONS and isinstance(value, memoryview):
            for node in messages(value, FUNCTION_NODE):
                _node(node, contents, 0)
    return contents


def _graph(data: memoryview, contents: Contents, depth: int) -> None:
    if depth > DEEPEST:
        raise Damaged(f"graphs more than {DEEPEST} deep")
    for number, value in fields(data):
        if not isinstance(value, memoryview):
            continue
        if number == GRAPH_NODE:
            _node(value, contents, depth)
        elif number == GRAPH_INITIALIZER:
            _tensor(value, contents)
        elif number == GRAPH_SPARSE:
            _sparse(value, contents)


def _node(data: memoryview, contents: Contents, depth: int) -> None:
    domain = operator = ""
    for number, value in fields(data):
        if not isinstance(value, memoryview):
            continue
        if number == NODE_ATTRIBUTE:
            _attribute(value, contents, depth)
        elif number == NODE_OP:
            operator = text(value)
        elif number == NODE_DOMAIN:
            domain = text(value)
    contents.operators.add((domain, operator))


def _attribute(data: memoryview, contents: Contents, depth: int) -> None:
    for number, value in fields(data):
        if not isinstance(value, memoryview):
            continue
        if number in ATTRIBUTE_TENSORS:
            _tensor(value, contents)
        elif number in ATTRIBUTE_GRAPHS:
            _graph(value, contents, depth + 1)
        elif number in ATTRIBUTE_SPARSES:
            _sparse(value, contents)


def _sparse(data: memoryview, contents: Contents) -> None:
    for number in SPARSE_TENSORS:
        for tensor in messages(data, number):
            _tensor(tensor, contents)


def _tensor(data: memoryview, contents: Contents) -> None:
    name, entries, outside = "", [], False
    for number, value in fields(data):
        if number == TENSOR_LOCATION:
            outside = outside or value == EXTERNAL
        elif number == TENSOR_NAME and isinstance(value, memoryview):
            name = text(value)
        elif number == TENSOR_EXTERNAL and isinstance(value, memoryview):
            entries.append((_text_of(value, 1), _text_of(value, 2)))
    if outside or entries:
        contents.external.append(External(name, tuple(entries)))


def _text_of(data: memoryview, number: int) -> str:
    """Return the last value of a string field, as protobuf does; empty where there is none."""
    last = ""
    for value in messages(data, number):
        last = text(value)
    return last


def _data_file(path: Path, tensor: External) -> Path:
    """Return the file that holds a tensor: a plain one in the model's folder that is long enough."""

    def refused(received: str) -> SourceError:
        return SourceError(
            f"weights of {path} outside it must be a plain file in its folder",
            f"{received} (tensor {tensor.tensor!r})",
            "do not trust this file; get it from another place, or save it with its weights inside",
        )

    entries = dict(tensor.entries)
    location = entries.get("location", "")
    if len(entries) < len(tensor.entries):
        raise refused("one thing said twice of where they lie")
    if not location or location in (".", "..") or any(char in location for char in "/\\\0"):
        raise refused(f"the location {location!r}")
    data = path.parent / location
    if data.is_symlink():
        raise refused(f"the link {location!r}")
    if not data.is_file():
        raise refused(f"no such file as {location!r}" if not data.exists() else f"{location!r}, which is no file")
    status = data.stat()
    if status.st_nlink > 1:
        raise refused(f"{location!r}, which has {status.st_nlink - 1} more names (hard links)")
    offset, length = (_whole(entries.get(key, "0")) for key in ("offset", "length"))
    if offset is None or length is None or offset + length > status.st_size:
        span = ", ".join(f"{key} {entries[key]}" for key in ("offset", "length") if key in entries)
        raise refused(f"{location!r} of {status.st_size:,} bytes, read at {span}")
    return data


def _whole(number: str) -> int | None:
    return int(number) if number.isascii() and number.isdecimal() and len(number) < 20 else None
