"""The pickle inside a PyTorch checkpoint, read for its containers, its numbers and where its tensors lie; nothing else.

No name that a pickle holds is looked up, imported or called, so nothing that it says can run. What is neither a
container nor a tensor (an `argparse.Namespace`, a `Path`, settings of a training program) becomes an empty `Record`,
unread. torch's own reader (`weights_only`) refuses a whole file for one such record, and calls some functions. A pickle
that calls what is no record, such as `os.system`, was made to do harm, and is refused.
"""

from __future__ import annotations

import pickletools
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from headstart.sources.checkpoints.safetensors import UnsoundFile

RECORDS = re.compile(
    r"(argparse|array|collections|copyreg|datetime|decimal|enum|fractions|ipaddress|logging|pathlib|uuid|zoneinfo)\..*"
    r"|builtins\.(bool|bytearray|bytes|complex|dict|float|frozenset|int|list|object|range|set|slice|str|tuple)"
    r"|_codecs\.encode|functools\.partial|re\._compile|types\.(SimpleNamespace|MappingProxyType)"
    r"|numpy(\.\w+)*\.(dtype|ndarray|scalar|_reconstruct|_frombuffer)"
    r"|torch\.(device|_utils\._rebuild\w*|_tensor\._rebuild\w*|serialization\._get_layout)"
)
"""Functions, and classes of Python itself, by which pickles make data; classes of other packages are records, too."""
RENAMED = {"__builtin__": "builtins", "copy_reg": "copyreg"}  # by Python 3
TENSORS = {f"torch._utils._rebuild_tensor{version}" for version in ("", "_v2", "_v3")}
PARAMETERS = {f"torch._utils._rebuild_parameter{more}" for more in ("", "_with_state")}
SUBCLASS = "torch._tensor._rebuild_from_type_v2"
NUMBERS = {
    "Float": "float32", "Half": "float16", "BFloat16": "bfloat16", "Double": "float64", "Long": "int64", "Int": "int32",
    "Short": "int16", "Char": "int8", "Byte": "uint8", "Bool": "bool", "ComplexFloat": "complex64",
    "ComplexDouble": "complex128", "Untyped": "uint8", "_Untyped": "uint8",
}  # fmt: skip
"""torch's kinds of number by the names of its storages."""


@dataclass(frozen=True)
class Name:
    """A class or function that a pickle refers to, by its name alone."""

    full: str


class Record(dict[Any, Any]):
    """An object that was not made: the name of its class, and its items where it is a container."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind


@dataclass(frozen=True)
class Storage:
    """Where numbers lie in a checkpoint: under `key`, so many of a kind."""

    key: str
    numbers: int
    kind: str  # as torch names it, such as float32


@dataclass(frozen=True)
class Stored:
    """A tensor that has not been read: its shape and kind of number, and where its file keeps it."""

    shape: tuple[int, ...]
    kind: str
    place: Any  # the Storage of a PyTorch file, or the path of a safetensors file
    offset: int = 0  # in numbers, and so are the strides
    strides: tuple[int, ...] = ()

    @property
    def floating(self) -> bool:
        """Whether its numbers are real ones, as weights are."""
        return "float" in self.kind


class _Machine:
    """What a pickle is read into: a stack, the stacks below its marks, and what it wants remembered."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, Storage] = {}

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def mark(self) -> None:
        self.below.append(self.stack)
        self.stack = []

    def since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.below.pop()
        return items

    def take(self, count: int) -> list[Any]:
        if count > len(self.stack):
            raise UnsoundFile("a pickle that takes more than it has")
        items = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return items

    def drop(self, items: list[Any]) -> None:
        """Leave what was taken unread."""

    def extend(self, items: list[Any]) -> None:
        """Add to the list on top; what another object would make of them is left unread."""
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(items)

    def update(self, items: list[Any]) -> None:
        """Put values by name into the container on top; a key that is no text, as optimisers have, is left unread."""
        if isinstance(self.stack[-1], dict):
            pairs = zip(items[::2], items[1::2], strict=True)
            self.stack[-1].update((key, value) for key, value in pairs if isinstance(key, str))

    def call(self, name: Any, arguments: Any) -> None:
        self.push(_made(name, arguments))


def read_pickle(file: BinaryIO) -> tuple[Any, dict[str, Storage]]:
    """Return what the pickle at the place of `file` holds, and every storage by key; the file is left behind it.

    Containers are lists, tuples and dicts, and tensors `Stored`; UnsoundFile: it calls what could run code.
    ValueError, LookupError or TypeError: it is damaged.
    """
    machine = _Machine()
    for step, argument, _ in pickletools.genops(file):
        if step.name == "STOP":
            return machine.stack.pop(), machine.storages
        if step.name in STEPS:
            STEPS[step.name](machine, argument)
        elif step.name in CONSTANTS:
            machine.push(argument)
        else:
            raise UnsoundFile(f"a pickle with the step {step.name}")
    raise UnsoundFile("a pickle without an end")


def _name(module: Any, name: Any) -> Name:
    return Name(f"{RENAMED.get(module, module)}.{name}")


def _made(name: Any, arguments: Any) -> Any:
    """Return what stands for the call of a name: a tensor that is not read yet, a dict, or a Record."""
    while isinstance(name, Name) and name.full == SUBCLASS:
        name, arguments = arguments[0], arguments[2]
    if not isinstance(name, Name):
        raise UnsoundFile("a call of what is no name")
    if name.full in TENSORS:
        return _tensor(*arguments)
    if name.full in PARAMETERS:
        return arguments[0]
    if name.full == "collections.OrderedDict":
        pairs = arguments[0] if arguments and isinstance(arguments[0], list) else []
        return {key: value for key, value in pairs if isinstance(key, str)}
    return _record(name)


def _record(name: Any, *_: Any, called: bool = True) -> Record:
    """Return the object of a class, unread; UnsoundFile where it is no class, but a function that is called."""
    if not isinstance(name, Name):
        raise UnsoundFile("an object of what is no class")
    own = name.full.rpartition(".")[2]
    foreign = name.full.partition(".")[0] not in sys.stdlib_module_names
    if not (RECORDS.fullmatch(name.full) or (foreign and (not called or own.lstrip("_")[:1].isupper()))):
        raise UnsoundFile(f"GLOBAL {name.full.removeprefix('builtins.')}")
    return Record(name.full)


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *more: Any) -> Stored:
    """Return where a tensor lies, once its place is seen to be one."""
    kind = storage.kind if isinstance(storage, Storage) else None
    if len(more) > 2 and isinstance(more[2], Name) and more[2].full.startswith("torch."):
        kind = more[2].full.removeprefix("torch.")  # torch's third form names the kind of number, and counts bytes
    sizes: tuple[Any, ...] = (offset, *shape, *strides)
    if kind is None or len(shape) != len(strides) or any(type(size) is not int or size < 0 for size in sizes):
        raise UnsoundFile("a tensor without a place")
    return Stored(tuple(shape), kind, storage, offset, tuple(strides))


def _storage(machine: _Machine, _: Any) -> None:
    """Push the storage, or the class beside its program, that a checkpoint keeps outside its pickle."""
    place: Any = machine.take(1)[0]
    if isinstance(place, tuple) and len(place) > 1 and place[0] == "module":
        machine.push(place[1])
        return
    named = isinstance(place, tuple) and len(place) > 4 and isinstance(place[1], Name)
    kind = NUMBERS.get((place[1].full if named else "").rpartition(".")[2].removesuffix("Storage"), "")
    if not kind or type(place[4]) is not int or place[4] < 0 or (len(place) > 5 and place[5] is not None):
        raise UnsoundFile("a place that is no storage of plain numbers")
    storage = machine.storages[str(place[2])] = Storage(str(place[2]), place[4], kind)
    machine.push(storage)


def _build(machine: _Machine, _: Any) -> None:
    """Leave the state of an object unread, but for that of the older tensors, which is their place."""
    (state,) = machine.take(1)
    if isinstance(machine.stack[-1], Record) and isinstance(state, tuple) and state and isinstance(state[0], Storage):
        machine.stack[-1] = _tensor(*state[:4])


def _remember(machine: _Machine, place: Any) -> None:
    machine.memo[len(machine.memo) if place is None else int(place)] = machine.stack[-1]


def _dict(items: list[Any]) -> dict[str, Any]:
    return {key: value for key, value in zip(items[::2], items[1::2], strict=True) if isinstance(key, str)}


CONSTANTS = {step.name for step in pickletools.opcodes if step.arg is not None and not step.stack_before} - {
    *("GLOBAL", "INST", "PERSID", "PROTO", "FRAME", "GET", "BINGET", "LONG_BINGET", "EXT1", "EXT2", "EXT4"),
    *("PUT", "BINPUT", "LONG_BINPUT"),
}
STEPS: Mapping[str, Callable[[_Machine, Any], None]] = {
    "PROTO": lambda machine, _: None,
    "FRAME": lambda machine, _: None,
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(bool(1)),
    "NEWFALSE": lambda machine, _: machine.push(bool(0)),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "EMPTY_SET": lambda machine, _: machine.push(Record("builtins.set")),
    "MARK": lambda machine, _: machine.mark(),
    "POP": lambda machine, _: machine.drop(machine.take(1)),
    "POP_MARK": lambda machine, _: machine.drop(machine.since_mark()),
    "DUP": lambda machine, _: machine.push(machine.stack[-1]),
    "LIST": lambda machine, _: machine.push(machine.since_mark()),
    "DICT": lambda machine, _: machine.push(_dict(machine.since_mark())),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.since_mark())),
    "TUPLE1": lambda machine, _: machine.push(tuple(machine.take(1))),
    "TUPLE2": lambda machine, _: machine.push(tuple(machine.take(2))),
    "TUPLE3": lambda machine, _: machine.push(tuple(machine.take(3))),
    "FROZENSET": lambda machine, _: machine.push(_record(Name("builtins.frozenset"), machine.since_mark())),
    "APPEND": lambda machine, _: machine.extend(machine.take(1)),
    "APPENDS": lambda machine, _: machine.extend(machine.since_mark()),
    "ADDITEMS": lambda machine, _: machine.drop(machine.since_mark()),
    "SETITEM": lambda machine, _: machine.update(machine.take(2)),
    "SETITEMS": lambda machine, _: machine.update(machine.since_mark()),
    "GET": lambda machine, place: machine.push(machine.memo[int(place)]),
    "BINGET": lambda machine, place: machine.push(machine.memo[place]),
    "LONG_BINGET": lambda machine, place: machine.push(machine.memo[place]),
    "PUT": _remember,
    "BINPUT": _remember,
    "LONG_BINPUT": _remember,
    "MEMOIZE": _remember,
    "GLOBAL": lambda machine, name: machine.push(_name(*name.split(" ", 1))),
    "STACK_GLOBAL": lambda machine, _: machine.push(_name(*machine.take(2))),
    "REDUCE": lambda machine, _: machine.call(*machine.take(2)),
    "NEWOBJ": lambda machine, _: machine.push(_record(*machine.take(2), called=False)),
    "NEWOBJ_EX": lambda machine, _: machine.push(_record(*machine.take(3), called=False)),
    "OBJ": lambda machine, _: machine.push(_record(*machine.since_mark())),
    "INST": lambda machine, name: machine.call(_name(*name.split(" ", 1)), machine.since_mark()),
    "BUILD": _build,
    "BINPERSID": _storage,
}
