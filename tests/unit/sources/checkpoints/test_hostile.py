"""Checkpoints made to cost time or memory, or to end in a traceback, are refused before torch obeys them."""

from __future__ import annotations

import io
import random
import resource
import zipfile
from pathlib import Path

import pytest
import torch
from forged import saved
from hostile_pickles import archive, called

import headstart as hs
from headstart.base.errors import SourceError, one_line
from headstart.sources.checkpoints.read import MAX_PICKLE_BYTES, read_checkpoint


def legacy(pickled: bytes) -> bytes:
    whole = saved({}, archived=False)
    return whole.replace(b"\x80\x02}q\x00.", pickled, 1) if b"\x80\x02}q\x00." in whole else whole[:60] + pickled


SHARED = torch.zeros(1 << 16)
HOSTILE = {
    "many members": lambda: archive(b"\x80\x02}.", members=22_000),
    "many tensors": lambda: saved({str(at): SHARED[:0] for at in range(8_000)}),
    "many tensors in the older form": lambda: saved({str(at): SHARED[:0] for at in range(30_000)}, archived=False),
    "lists": lambda: archive(b"\x80\x02" + b"]" * (MAX_PICKLE_BYTES - 10) + b"."),
    "bytes of zeros": lambda: archive(called("__builtin__.bytearray", 10**11)),
    "bytes of zeros in the older form": lambda: legacy(called("__builtin__.bytearray", 10**11)),
    "a slow codec": lambda: archive(called("_codecs.encode", 1)),
    "an empty tensor": lambda: archive(called("torch.FloatTensor", 10**9)),
    "one number everywhere": lambda: saved({"w": torch.zeros(1).expand(10**5, 10**5)}),
    "one tensor everywhere": lambda: saved({str(at): SHARED for at in range(5)}),
    "sparse": lambda: saved({"w": torch.zeros(3).to_sparse()}),
    "on no device": lambda: saved({"w": torch.zeros(3, device="meta")}),
    "a long name": lambda: saved({"9" * 5_000: SHARED}),
    "many axes": lambda: saved({"w": SHARED[:1].reshape([1] * 17)}),
    "a place that is no tuple": lambda: archive(b"\x80\x02K\x01Q."),
    "a number cut off": lambda: archive(b"\x80\x02J\x01"),
}


@pytest.mark.filterwarnings("ignore:Sparse invariant checks:UserWarning")
@pytest.mark.parametrize("kind", HOSTILE)
def test_it_is_refused_in_one_line_within_100_MiB__CKP_04(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(HOSTILE[kind]())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(SourceError) as caught:
        read_checkpoint(path)
    assert str(path) in str(caught.value)
    assert one_line(caught.value, 2_000) == str(caught.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10


def test_the_older_form_and_shared_tensors_are_read(tmp_path: Path) -> None:
    state = {"a": SHARED, "b": SHARED, "c": torch.nn.Parameter(SHARED[:3].half())}
    for archived in (True, False):
        (tmp_path / "w.pth").write_bytes(saved({"state_dict": state, "epoch": 3}, archived=archived))
        assert read_checkpoint(tmp_path / "w.pth").tensors.keys() == state.keys()


def mutated(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        at, size = rng.randrange(len(changed)), rng.choice((1, 2, 4, 64))
        changed[at : at + rng.choice((0, size))] = rng.choice((rng.randbytes(size), b"\xff" * size, b"", b"\0" * size))
    return bytes(changed)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_mutants_are_read_or_refused__CKP_03(seed: int, tmp_path: Path) -> None:
    state = hs.open_source("arch:lenet5", weights="none").module().state_dict()
    whole = {archived: saved(state, archived=archived) for archived in (True, False)}
    with zipfile.ZipFile(io.BytesIO(whole[True])) as reader:
        members = {name: reader.read(name) for name in reader.namelist()}
    (pickled,) = (name for name in members if name.endswith("data.pkl"))
    rng, path = random.Random(seed), tmp_path / "w.pth"
    for _ in range(5_000 if seed else 150):
        data = mutated(rng, whole[rng.random() < 0.5])
        if rng.random() < 0.6:  # a pickle in a sound archive
            file = io.BytesIO()
            with zipfile.ZipFile(file, "w") as writer:
                for name, content in members.items():
                    writer.writestr(name, mutated(rng, content) if name == pickled else content)
            data = file.getvalue()
        path.write_bytes(data)
        try:
            read_checkpoint(path)
        except SourceError as error:
            assert str(path) in str(error)  # noqa: PT017
