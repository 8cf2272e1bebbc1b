"""safetensors files whose headers lie, or are hostile, are refused by name."""

from __future__ import annotations

import json
import re
import resource
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from headstart.base.errors import SourceError
from headstart.sources.checkpoints.safetensors import MAX_TENSORS, check_safetensors, read_safetensors


def safetensors(header: Any, body: bytes = b"", length: int | None = None) -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + body


def entry(start: int, stop: int, shape: list[int], dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


TWICE = b'{"a": %s, "a": %s}' % ((json.dumps(entry(0, 8, [2])).encode(),) * 2)
TWO = {"a": entry(0, 8, [2]), "b": entry(8, 16, [2])}
UNSOUND = {
    "truncated": (safetensors(TWO, bytes(12)), "file not fully covered"),
    "in its header": (safetensors(TWO)[:40], "of which 32 are there"),
    "too short": (b"\x05\0\0", "of which 0 are there"),
    "tailed": (safetensors(TWO, bytes(20)), "file not fully covered"),
    "overlap": (safetensors({"a": entry(0, 8, [2]), "b": entry(4, 12, [2])}, bytes(12)), "offset for tensor `b`"),
    "gap": (safetensors({"a": entry(0, 8, [2]), "b": entry(12, 20, [2])}, bytes(20)), "offset for tensor `b`"),
    "late": (safetensors({"a": entry(4, 12, [2])}, bytes(12)), "offset for tensor `a`"),
    "overflow": (safetensors({"a": entry(0, 0, [1 << 62, 4])}), "overflow"),
    "beyond": (safetensors({"a": entry(0, 1 << 64, [1 << 62])}), "invalid JSON"),
    "backwards": (safetensors({"a": entry(8, 0, [2])}, bytes(8)), "offset for tensor `a`"),
    "negative": (safetensors({"a": entry(0, 8, [-2])}, bytes(8)), "integer `-2`"),
    "true": (safetensors({"a": entry(0, 4, [True])}, bytes(4)), "boolean `true`"),
    "wide": (safetensors({"a": entry(0, 12, [2])}, bytes(12)), "invalid shape"),
    "unknown": (safetensors({"a": entry(0, 8, [2], "F33")}, bytes(8)), "unknown variant `F33`"),
    "twice": (safetensors(TWICE, bytes(8)), "a name twice"),
    "no object": (safetensors(b"[]"), "no JSON object"),
    "no entry": (safetensors({"a": 3}), "'a' without a shape"),
    "no JSON": (safetensors(b"\xff\xfe"), "Expecting value"),
    "deep": (safetensors(b"[" * 300_000), "nested too deep"),
    "long name": (safetensors({"a" * 1_001: entry(0, 4, [1])}, bytes(4)), "a name of 1,001 letters"),
    "nothing": (safetensors({"__metadata__": {"format": "pt"}}), "no tensor"),
    "many axes": (safetensors({"a": entry(0, 4, [1] * 17)}, bytes(4)), "'a' of more than 16 axes"),
    "72 PB": (safetensors(b"{}", length=72 * 10**15), "a header of 72,000,000,000,000,000 bytes"),
}


@pytest.mark.parametrize("kind", UNSOUND)
def test_unsound_safetensors_are_refused_and_named__CKP_03(kind: str, tmp_path: Path) -> None:
    data, message = UNSOUND[kind]
    path = tmp_path / "w.safetensors"
    path.write_bytes(data)
    with pytest.raises(SourceError, match=message) as caught:
        read_safetensors(path)
    assert str(path) in str(caught.value)


def many(count: int) -> bytes:
    one = '"layer.%d.weight":{"dtype":"F32","shape":[1],"data_offsets":[%d,%d]}'
    return ("{" + ",".join(one % (at, 4 * at, 4 * at + 4) for at in range(count)) + "}").encode()


def test_a_hostile_header_costs_neither_time_nor_memory__CKP_04(tmp_path: Path) -> None:
    million, hundred = tmp_path / "million.safetensors", tmp_path / "hundred.safetensors"
    million.write_bytes(safetensors(many(1_000_000)))
    assert million.stat().st_size > 56 << 20
    short = many(MAX_TENSORS + 1).replace(b"layer.", b"").replace(b".weight", b"")
    hundred.write_bytes(safetensors(short))
    assert len(short) < 8 << 20
    escaped = tmp_path / "escaped.safetensors"  # what a limit must see, written so that its letters are not there
    escaped.write_bytes(safetensors(short.replace(b"data_offsets", b"data\\u005foffsets")))
    vast = tmp_path / "vast.safetensors"
    vast.write_bytes(UNSOUND["72 PB"][0])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for path in (million, hundred, escaped, vast):
        with pytest.raises(SourceError, match=re.escape(str(path))):
            check_safetensors(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10


def test_a_sound_file_is_read_whole_in_the_order_of_its_header(tmp_path: Path) -> None:
    state = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.ones(3, dtype=torch.bfloat16)}
    save_file(state, tmp_path / "w.safetensors", metadata={"format": "pt"})
    found = read_safetensors(tmp_path / "w.safetensors")
    assert list(found) == check_safetensors(tmp_path / "w.safetensors")
    assert torch.equal(found["b"], state["b"])
    assert found["a"].dtype == torch.bfloat16
