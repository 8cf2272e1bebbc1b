"""The pickle of a checkpoint is read for its tensors; records beside them are left unread, and calls are refused."""

from __future__ import annotations

import argparse
import collections
import datetime
import io
import pickle
import pickletools
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from headstart.sources.checkpoints.pickled import Record, read_pickle
from headstart.sources.checkpoints.safetensors import UnsoundFile


def read(data: bytes) -> Any:
    return read_pickle(io.BytesIO(data))[0]


class Settings:
    """A record of a program's own; it would be a mistake to make one."""

    made = 0

    def __init__(self) -> None:
        self.rate, self.path = 0.1, Path("runs")

    def __setstate__(self, state: object) -> None:
        Settings.made += 1

    def __new__(cls) -> Settings:
        cls.made += 1
        return super().__new__(cls)


RECORDS = [
    argparse.Namespace(lr=0.1, data=Path("photos")), SimpleNamespace(a=1), Path("a/b"), np.float64(0.7), np.ones(3),
    np.dtype("f4"), datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC), collections.deque([1]), {1, 2}, frozenset("a"),
    partial(print, 1), Settings(), b"bytes", bytearray(b"ab"), complex(1, 2),
]  # fmt: skip


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_records_beside_containers_are_left_unread(protocol: int) -> None:
    Settings.made = 0
    held = {"weights": {"a": [1, (2, "three", None, True)]}, **{f"r{n}": one for n, one in enumerate(RECORDS)}}
    found = read(pickle.dumps(held, protocol))
    assert found["weights"] == held["weights"]
    assert all(isinstance(found[f"r{n}"], (Record, bytes, str, bytearray)) for n in range(len(RECORDS)))
    assert Settings.made == 0


def test_dicts_of_other_kinds_keep_what_is_in_them() -> None:
    held = {"a": collections.OrderedDict(x=1), "b": collections.defaultdict(list, y=2), "c": collections.Counter("z")}
    found = read(pickle.dumps(held, 2))
    assert (found["a"], dict(found["b"])) == ({"x": 1}, {"y": 2})


@pytest.mark.parametrize(
    "name",
    ["posix system", "builtins eval", "__builtin__ getattr", "subprocess Popen", "runpy _run_code", "numpy load",
     "torch.hub load", "pickle loads", "importlib import_module", "some.package run"],
)  # fmt: skip
def test_a_call_of_what_is_no_record_is_refused__CKP_01(name: str) -> None:
    with pytest.raises(UnsoundFile, match=name.rpartition(" ")[2]):
        read(b"\x80\x02}X\x01\0\0\0ac" + name.replace(" ", "\n").encode() + b"\nX\x02\0\0\0ls\x85Rs.")


def test_a_function_that_is_named_and_not_called_is_a_setting() -> None:
    assert set(read(pickle.dumps({"activation": print, "x": 1}, 2))) == {"activation", "x"}


@pytest.mark.parametrize(
    "data", [b"", b".", b"(", b"\x85.", b"t.", b"]a.", b"h\x05.", b"}(K\x01u.", b"\x82\x01.", b"Px\n."]
)
def test_damaged_pickles_are_errors_of_their_kind(data: bytes) -> None:
    with pytest.raises((ValueError, LookupError, TypeError)):
        read(data)


def test_every_step_is_known_or_refused() -> None:
    from headstart.sources.checkpoints.pickled import CONSTANTS, STEPS

    others = {step.name for step in pickletools.opcodes} - CONSTANTS - STEPS.keys()
    assert others == {"STOP", "PERSID", "EXT1", "EXT2", "EXT4", "NEXT_BUFFER", "READONLY_BUFFER"}
