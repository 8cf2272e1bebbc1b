"""Checkpoints are read without running anything in them, or refused by name."""

from __future__ import annotations

import io
import os
import pickle
import re
import struct
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from headstart.base.errors import SourceError
from headstart.sources.checkpoints.read import read_checkpoint

STATE = {"conv.weight": torch.arange(24.0).reshape(2, 3, 2, 2), "conv.bias": torch.ones(2)}
HARMFUL = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "exec", "socket.connect")
seen: list[str] | None = None


def watch(event: str, given: tuple[Any, ...]) -> None:
    if seen is not None and (event in HARMFUL or (event == "open" and isinstance(given[0], (str, bytes)))):
        seen.append(f"{event} {os.fsdecode(given[0]) if event == 'open' else ''}")


sys.addaudithook(watch)  # cannot be taken away again: inert unless `watched` is in use


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[list[str]]:
    """Return the events seen while the test runs that are more than the reading of its own files."""
    global seen  # noqa: PLW0603
    seen = []
    events = seen
    yield events
    seen = None


def foreign(events: list[str], folder: Path) -> list[str]:
    return [event for event in events if not event.startswith(f"open {folder}")]


class System:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch ran",)


class Evaluated:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, ("__import__('subprocess').run(['touch', 'ran'])",)


@pytest.mark.parametrize("payload", [System(), Evaluated()], ids=["os.system", "eval"])
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".ckpt", ".pkl", ".joblib", ".npy", ".npz"])
def test_a_pickle_with_code_is_refused_and_named_and_nothing_runs__CKP_01(
    payload: object, suffix: str, tmp_path: Path, watched: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    held = {**STATE, "note": payload}
    newer, older, plain = tmp_path / f"newer{suffix}", tmp_path / f"older{suffix}", tmp_path / f"plain{suffix}"
    torch.save(held, newer)
    torch.save(held, older, _use_new_zipfile_serialization=False)
    plain.write_bytes(pickle.dumps(payload))
    del watched[:]
    for path in (newer, older, plain):
        with pytest.raises(SourceError, match=re.escape(str(path))) as caught:
            read_checkpoint(path)
        if suffix in (".pt", ".pth", ".bin", ".ckpt") and path != plain:
            assert re.search(r"(posix\.system|eval), which could run code; nothing was run", str(caught.value))
    assert foreign(watched, tmp_path) == []
    assert not (tmp_path / "ran").exists()


def test_an_object_array_of_numpy_is_refused_unread__CKP_01(tmp_path: Path) -> None:
    np.save(tmp_path / "w.npy", np.array([System()], dtype=object), allow_pickle=True)
    (tmp_path / "w.npy").rename(tmp_path / "w.pth")
    with pytest.raises(SourceError, match="a NumPy file, which is not read; save the network's state_dict"):
        read_checkpoint(tmp_path / "w.pth")
    np.savez(tmp_path / "w.npz", a=np.ones(3))
    (tmp_path / "w.npz").rename(tmp_path / "w.bin")
    with pytest.raises(SourceError, match="a NumPy file"):
        read_checkpoint(tmp_path / "w.bin")


def archive(change: Callable[[str, bytes], tuple[str, bytes] | None] = lambda name, data: (name, data)) -> bytes:
    """Return a sound checkpoint's bytes, with members changed, or left out for None."""
    source, target = io.BytesIO(), io.BytesIO()
    torch.save(STATE, source)
    with zipfile.ZipFile(source) as one, zipfile.ZipFile(target, "w") as other:
        for name in one.namelist():
            if (member := change(name, one.read(name))) is not None:
                other.writestr(zipfile.ZipInfo(member[0]), member[1])
    return target.getvalue()


def with_extra(name: str, data: bytes = b"x", **how: Any) -> bytes:
    target = io.BytesIO(archive())
    with zipfile.ZipFile(target, "a") as held, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        info = zipfile.ZipInfo(name)
        for key, value in how.items():
            setattr(info, key, value)
        held.writestr(info, data)
    return target.getvalue()


def damaged_sum() -> bytes:
    data = archive()
    at = data.index(struct.pack("<f", 23.0))
    return data[:at] + struct.pack("<f", 24.0) + data[at + 4 :]


def renamed_locally() -> bytes:
    data = archive()
    at = data.index(b"archive/data.pkl")
    return data[:at] + b"archive/DATA.pkl" + data[at + 16 :]


def payload_before_broken_bytes() -> bytes:
    return pickle.dumps(System(), protocol=2)[:-1] + b"\xff\xff\xff"


def other_magic_number() -> bytes:
    return pickle.dumps(0xBAD, protocol=2) + pickle.dumps(1001, protocol=2) + pickle.dumps(System(), protocol=2)


def payload_as_member() -> bytes:
    return archive(
        lambda name, data: (name, pickle.dumps(System(), 2) + b"\xff") if name.endswith(".pkl") else (name, data)
    )


TRICKS = {
    "broken": (payload_before_broken_bytes, "a pickle of something else"),
    "magic": (other_magic_number, "a pickle of something else"),
    "member": (payload_as_member, "posix.system, which could run code"),
    "7z": (lambda: b"7z\xbc\xaf\x27\x1c\x00\x04" + b"\0" * 90, "a file that starts with b'7z"),
    "tar": (lambda: b"sys_info" + b"\0" * 2000, "neither a PyTorch archive nor its older form"),
    "sum": (damaged_sum, "fails its checksum|damaged zip archive"),
    "mismatched": (renamed_locally, "disagree about|differ"),
    "no pickle": (
        lambda: archive(lambda name, data: None if name.endswith(".pkl") else (name, data)),
        "without data.pkl",
    ),
    "empty": (lambda: b"", "neither"),
}


@pytest.mark.parametrize("trick", TRICKS)
def test_archives_that_scanners_misread_are_refused__CKP_02(
    trick: str, tmp_path: Path, watched: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make, message = TRICKS[trick]
    path = tmp_path / "w.pth"
    path.write_bytes(make())
    del watched[:]
    with pytest.raises(SourceError, match=message) as caught:
        read_checkpoint(path)
    assert str(path) in str(caught.value)
    assert foreign(watched, tmp_path) == []
    assert not (tmp_path / "ran").exists()


ODD = {
    "up": lambda: with_extra("../../outside"),
    "absolute": lambda: with_extra("/tmp/outside"),
    "drive": lambda: with_extra("C:/outside"),
    "backslash": lambda: with_extra("archive\\..\\outside"),
    "link": lambda: with_extra("archive/link", b"/etc/passwd", external_attr=0xA1ED << 16),
    "zeros": lambda: with_extra("archive/zeros", bytes(50_000_000), compress_type=zipfile.ZIP_DEFLATED),
    "twice": lambda: with_extra("archive/data.pkl"),
}


@pytest.mark.parametrize("odd", ODD)
def test_odd_members_of_an_archive_are_refused_and_nothing_is_written__CKP_10(odd: str, tmp_path: Path) -> None:
    folder = tmp_path / "inside"
    folder.mkdir()
    (folder / "w.pth").write_bytes(ODD[odd]())
    with pytest.raises(SourceError, match="a zip archive"):
        read_checkpoint(folder / "w.pth")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["w.pth"]


@pytest.mark.parametrize("cut", [1, 100, 300, -30, -1])
def test_a_truncated_pytorch_file_is_refused(cut: int, tmp_path: Path) -> None:
    for newer in (True, False):
        path = tmp_path / f"{newer}.pth"
        torch.save(STATE, path, _use_new_zipfile_serialization=newer)
        path.write_bytes(path.read_bytes()[:cut])
        with pytest.raises(SourceError, match=re.escape(str(path))):
            read_checkpoint(path)


def test_a_torchscript_program_is_refused(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(torch.nn.Linear(2, 1), torch.zeros(1, 2))
        torch.jit.save(traced, str(tmp_path / "w.pt"))
    with pytest.raises(SourceError, match=r"TorchScript|damaged|compressed"):
        read_checkpoint(tmp_path / "w.pt")


# safetensors


def test_a_sound_safetensors_file_is_read_whole(tmp_path: Path) -> None:
    save_file(
        {**STATE, "half": torch.ones(3, dtype=torch.bfloat16)}, tmp_path / "w.safetensors", metadata={"format": "pt"}
    )
    found = read_checkpoint(tmp_path / "w.safetensors")
    assert not found.ordered
    assert torch.equal(found.tensors["conv.weight"], STATE["conv.weight"])
    assert found.tensors["half"].dtype == torch.bfloat16


def test_safetensors_under_another_name_are_known_by_their_bytes(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "w.bin")
    assert set(read_checkpoint(tmp_path / "w.bin").tensors) == set(STATE)


# wrappers


@pytest.mark.parametrize(
    ("held", "said"),
    [
        (STATE, ()),
        (
            {"state_dict": STATE, "epoch": 3, "optimizer": {"lr": 0.1}},
            ("weights taken from state_dict of the checkpoint",),
        ),
        ({"model": {"state_dict": STATE}}, ("weights taken from model.state_dict of the checkpoint",)),
        (
            {"model": {"conv.weight": torch.zeros(1)}, "model_ema": STATE},
            ("weights taken from model_ema of the checkpoint",),
        ),
        (
            {"state_dict": {"a": torch.zeros(1)}, "state_dict_ema": STATE},
            ("weights taken from state_dict_ema of the checkpoint",),
        ),
    ],
)
def test_what_a_training_program_wraps_around_weights_is_taken_off_and_said(
    held: dict[str, Any], said: tuple[str, ...], tmp_path: Path
) -> None:
    torch.save(held, tmp_path / "w.ckpt")
    found = read_checkpoint(tmp_path / "w.ckpt")
    assert list(found.tensors) == list(STATE)
    assert torch.equal(found.tensors["conv.weight"], STATE["conv.weight"])
    assert found.notes == said


@pytest.mark.parametrize(
    ("held", "given"),
    [
        ([1, 2], "a list"),
        (torch.ones(3), "a Tensor"),
        ({"optimizer": {"lr": 0.1}}, "optimizer (dict)"),
        ({**STATE, "odd": 1}, "odd (int)"),
        ({}, "nothing"),
    ],
)
def test_what_holds_no_network_is_refused(held: object, given: str, tmp_path: Path) -> None:
    torch.save(held, tmp_path / "w.pth")
    with pytest.raises(SourceError, match=f"must hold named tensors; found {re.escape(given)}; save the network's"):
        read_checkpoint(tmp_path / "w.pth")


@pytest.mark.parametrize(
    ("name", "start"), [("w.h5", b"x" * 40), ("w.keras", b"PK"), ("w.pth", b"\x89HDF\r\n\x1a\n" + bytes(40))]
)
def test_keras_files_are_for_keras_architectures(name: str, start: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(start)
    with pytest.raises(SourceError, match="fit a keras: architecture; found another one; name it: --arch keras:NAME"):
        read_checkpoint(tmp_path / name)
