"""ONNX files and SavedModels, looked into before an engine opens them: their files, and whose operators they ask for.

Field numbers are those of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto), and of
saved_model.proto, meta_graph.proto, graph.proto and function.proto of TensorFlow.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path

from headstart.base.errors import SourceError
from headstart.sources.uri import SAVED_GRAPH

VARINT, EIGHT_BYTES, COUNTED, FOUR_BYTES = 0, 1, 2, 5
DEEPEST = 100
"""Graphs inside graphs; protobuf itself refuses more messages inside messages."""
ONNX_DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft", "org.openvinotoolkit")
"""Whose operators an engine may know; those of any other domain are custom code that is not in the file."""
ONNX_PARTS = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 10: "tensor", 6: "graph", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
"""The fields of each message that hold further ones in which nodes or tensors can be."""
ONNX_GRAPH, ONNX_INPUT, ONNX_OPERATOR, ONNX_DOMAIN = 7, 1, 4, 7
LEAST_INPUTS = {
    **dict.fromkeys(("Constant", "RandomNormal", "RandomUniform", "SequenceEmpty", "Loop"), 0),
    **dict.fromkeys(("Conv", "ConvTranspose", "Gemm", "MatMul"), 2),
}
"""Of operators that need more inputs than one, or none."""
TENSOR_NAME, TENSOR_EXTERNAL, TENSOR_LOCATION = 8, 13, 14
EXTERNAL = 1  # TensorProto.DataLocation
VARIABLES = "variables"
SAVED_PARTS = {
    "model": {2: "meta"},
    "meta": {2: "graph"},
    "graph": {1: "node", 2: "library"},
    "library": {1: "function"},
    "function": {3: "node"},
}
SAVED_OPERATOR = 2
PROGRAMS = ("PyFunc", "PyFuncStateless", "EagerPyFunc", "ReadFile", "WriteFile")
"""Operators that run Python, or read and write files that the model names."""
MAX_FIELDS = 500_000
"""That are looked at in a file; a network of 10,000 operators has most of that."""
MAX_TEXT = 1 << 16


class Damaged(ValueError):
    """Bytes that are no message."""


def check_onnx(path: Path) -> tuple[Path, ...]:
    """Return the files that a sound model is made of, itself first.

    SourceError: it is damaged, asks for operators of its own, or for weights that are not plain files beside it.
    """
    again = "get the file again from where it came, or export it again"
    external: list[tuple[str, list[tuple[str, str]]]] = []
    operators: set[tuple[str, str]] = set()
    try:
        data, wire = view(path), Wire()
        for kind, message in wire.parts(data, "model", ONNX_PARTS):
            if kind == "node":
                operators.add(_operator(wire, message))
            elif kind == "tensor":
                external += _external(wire, message)
        graphs = list(wire.messages(data, ONNX_GRAPH))
    except Damaged as damaged:
        raise SourceError(f"{path} must be a sound ONNX file", damaged, again) from damaged
    if not graphs:
        raise SourceError(f"{path} must be an ONNX file", "no graph in it", again)
    for domain, operator in sorted(operators):
        if domain not in ONNX_DOMAINS:
            raise SourceError(
                f"{path} must use operators of ONNX alone",
                f"the custom operator {domain}.{operator}",
                "export the network without it: no code is loaded for it (a function of the file's own can be put in "
                "its place with onnx.inliner.inline_local_functions)",
            )
    return (path, *dict.fromkeys(_data_file(path, tensor, entries) for tensor, entries in external))


def _operator(wire: Wire, node: memoryview) -> tuple[str, str]:
    """Return domain and name of a node's operator; Damaged where it has too few inputs: some readers die of that."""
    domain, name = wire.last_text(node, ONNX_DOMAIN), wire.last_text(node, ONNX_OPERATOR)
    inputs = sum(1 for _ in wire.messages(node, ONNX_INPUT))
    least = LEAST_INPUTS.get(name, min(len(name), 1)) if domain in ONNX_DOMAINS[:2] else 0
    if inputs < least:
        raise Damaged(f"the operator {name} with {inputs} inputs, which needs {least} or more")
    return domain, name


def check_saved_model(folder: Path) -> tuple[Path, ...]:
    """Return the files of a SavedModel that an engine reads: its graph, and its variables.

    SourceError: it is no SavedModel, damaged, linked to files elsewhere, or runs programs.
    """
    graph = folder / SAVED_GRAPH
    if not graph.is_file():
        raise SourceError(
            f"{folder} must be the folder of a SavedModel", f"no {SAVED_GRAPH} in it", "name the folder that holds it"
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
        wire = Wire()
        nodes = [message for kind, message in wire.parts(view(graph), "model", SAVED_PARTS) if kind == "node"]
        operators = {text(name) for node in nodes for name in wire.messages(node, SAVED_OPERATOR)}
    except Damaged as damaged:
        raise SourceError(
            f"{graph} must be a sound SavedModel",
            damaged,
            "get the folder again from where it came, or save the model again",
        ) from damaged
    if program := next((name for name in PROGRAMS if name in operators), None):
        raise SourceError(
            f"{folder} must be a network and no program",
            f"the operator {program}, which runs code or opens files",
            "save the model without it: such operators are never run",
        )
    return files


def _external(wire: Wire, data: memoryview) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return the name of a tensor and what it says of where its numbers lie; nothing where they are in the file."""
    name, entries, outside = "", [], False
    for number, value in wire.fields(data):
        if number == TENSOR_LOCATION:
            outside = outside or value == EXTERNAL
        elif number == TENSOR_NAME and isinstance(value, memoryview):
            name = text(value)
        elif number == TENSOR_EXTERNAL and isinstance(value, memoryview):
            entries.append((wire.last_text(value, 1), wire.last_text(value, 2)))
    return [(name, entries)] if outside or entries else []


def _data_file(path: Path, tensor: str, stated: list[tuple[str, str]]) -> Path:
    """Return the file that holds a tensor: a plain one in the model's folder that is long enough."""

    def refused(received: str) -> SourceError:
        return SourceError(
            f"weights of {path} outside it must be a plain file in its folder",
            f"{received} (tensor {tensor!r})",
            "do not trust this file; get it from another place, or save it with its weights inside",
        )

    entries = dict(stated)
    location = entries.get("location", "")
    if len(entries) < len(stated):
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


def view(path: Path) -> memoryview:
    """Return the bytes of a file without reading those that nobody looks at; Damaged where there are none."""
    with path.open("rb") as file:
        if not path.stat().st_size:
            raise Damaged("an empty file")
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


class Wire:
    """Messages of protobuf, of whose fields `MAX_FIELDS` are looked at: each is a step of Python, as are its bytes."""

    def __init__(self) -> None:
        self._left = 2 * MAX_FIELDS  # bytes of their numbers, of which nearly every field has two or more

    def parts(
        self, data: memoryview, kind: str, fields_of: Mapping[str, Mapping[int, str]], depth: int = 0
    ) -> Iterator[tuple[str, memoryview]]:
        """Yield kind and bytes of every message below one of `kind`, each before those in it.

        Damaged: one is none.
        """
        if depth > DEEPEST + 1:
            raise Damaged(f"graphs more than {DEEPEST} deep")
        for number, value in self.fields(data):
            if number in fields_of[kind] and isinstance(value, memoryview):
                inner = fields_of[kind][number]
                yield inner, value
                if inner in fields_of:
                    yield from self.parts(value, inner, fields_of, depth + (inner == "graph"))

    def messages(self, data: memoryview, number: int) -> Iterator[memoryview]:
        """Yield the values of the counted field `number`: messages, strings or bytes, in order."""
        for field, value in self.fields(data):
            if field == number and isinstance(value, memoryview):
                yield value

    def last_text(self, data: memoryview, number: int) -> str:
        """Return the last value of a string field, as protobuf does; empty where there is none."""
        return ["", *map(text, self.messages(data, number))][-1]

    def fields(self, data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
        """Yield number and value of each field of a message: a view of counted bytes, or a whole number.

        Damaged: a field ends beyond the message, or is of a kind that protobuf no longer has.
        """
        position, end = 0, len(data)
        while position < end:
            start = position
            key = data[position]
            if key < 0x80:
                position += 1
            else:
                key, position = _varint(data, position)
            number, kind = key >> 3, key & 7
            if number == 0:
                raise Damaged("a field without a number")
            if kind in (VARINT, COUNTED):
                size, position = _varint(data, position)
            elif kind in (EIGHT_BYTES, FOUR_BYTES):
                size = 8 if kind == EIGHT_BYTES else 4
            else:
                raise Damaged(f"a field of the unknown kind {kind}")
            self._left -= position - start
            if self._left < 0:
                raise Damaged(f"more than {MAX_FIELDS:,} fields")
            if kind == VARINT:
                yield number, size
                continue
            if position + size > end:
                raise Damaged("it ends in the middle of a field")
            piece = data[position : position + size]
            yield number, piece if kind == COUNTED else int.from_bytes(piece, "little")
            position += size


def text(data: memoryview) -> str:
    """Return a string field; Damaged where it is no UTF-8, or no name any more."""
    if len(data) > MAX_TEXT:
        raise Damaged(f"a name of {len(data):,} bytes")
    try:
        return bytes(data).decode()
    except UnicodeDecodeError as error:
        raise Damaged("a name that is no UTF-8") from error


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    if position < len(data) and (byte := data[position]) < 0x80:
        return byte, position + 1  # nearly all of them
    value = 0
    for place in range(10):
        if position >= len(data):
            raise Damaged("it ends in the middle of a field")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, position
    raise Damaged("a number of more than 10 bytes")
