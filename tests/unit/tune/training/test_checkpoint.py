"""A checkpoint is there whole or not at all, and what is damaged is never used."""

from __future__ import annotations

import errno
import io
import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart.base.disk import TEMPORARY
from headstart.base.errors import UsageError
from headstart.tune.training import checkpoint as module
from headstart.tune.training.checkpoint import Checkpoint, differences, newest, save


def at(step: int, size: int = 12) -> Checkpoint:
    rng = np.random.default_rng(step)
    tensors = {
        "body.weight": rng.normal(size=(3, size)).astype(np.float32),
        "moment": rng.normal(size=size),
        "count": np.asarray(np.int64(step)),
        "order": rng.permutation(size),
        "picture": rng.integers(0, 256, (2, 3), dtype=np.uint8),
        "frozen": rng.random(5) > 0.5,
        "nothing": np.zeros((0, 4), np.float32),
    }
    return Checkpoint(step, tensors, {"seed": 0, "best": 0.1 + step, "é\n": [None, True, {"b": 1, "a": 2}]})


def same(one: Checkpoint | None, other: Checkpoint) -> bool:
    assert one is not None
    assert (one.step, one.state) == (other.step, other.state)
    assert one.tensors.keys() == other.tensors.keys()
    for name, array in other.tensors.items():
        assert one.tensors[name].dtype == array.dtype and one.tensors[name].shape == array.shape
        assert one.tensors[name].tobytes() == array.tobytes()
    return True


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def silent(text: str) -> None:
    pytest.fail(text)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with checkpoints of steps 3 and 7."""
    save(tmp_path / "run" / "checkpoints", at(3))
    save(tmp_path / "run" / "checkpoints", at(7))
    return tmp_path / "run" / "checkpoints"


def test_what_is_saved_is_found_again_bit_for_bit_and_can_be_written_to(folder: Path) -> None:
    found = newest(folder, silent)
    assert same(found, at(7))
    assert found is not None and list(found.state["é\n"][2]) == ["b", "a"]
    assert all(array.flags.writeable for array in found.tensors.values())


def test_arrays_that_are_not_contiguous_keep_their_values(tmp_path: Path) -> None:
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    save(tmp_path, Checkpoint(1, {"t": array.T, "every other": array[:, ::2]}, {}))
    found = newest(tmp_path, silent)
    assert found is not None
    assert np.array_equal(found.tensors["t"], array.T) and np.array_equal(found.tensors["every other"], array[:, ::2])


def test_the_newest_two_stay(folder: Path) -> None:
    save(folder, at(9))
    assert names(folder) == ["step-000000007.safetensors", "step-000000009.safetensors"]
    save(folder, at(1_234_567_890))
    save(folder, at(1_234_567_890))
    assert names(folder) == ["step-000000009.safetensors", "step-1234567890.safetensors"]
    assert same(newest(folder, silent), at(1_234_567_890))


def test_a_run_that_goes_on_from_an_earlier_step_replaces_the_later_ones(folder: Path) -> None:
    save(folder, at(5))
    assert names(folder) == ["step-000000003.safetensors", "step-000000005.safetensors"]


def test_same_checkpoint_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save(tmp_path / name, at(3))
    assert len({next((tmp_path / name).iterdir()).read_bytes() for name in ("a", "b")}) == 1


def test_there_is_none(tmp_path: Path) -> None:
    assert newest(tmp_path / "no folder", silent) is None
    (tmp_path / "a file").write_text("")
    assert newest(tmp_path / "a file", silent) is None
    assert newest(tmp_path, silent) is None


@pytest.mark.parametrize(
    "broken",
    [
        Checkpoint(1, {}, {}),
        Checkpoint(1, {"x": np.zeros(2, np.float16)}, {}),
        Checkpoint(1, {"x": np.zeros(2, ">f4")}, {}),
        Checkpoint(1, {"x": np.zeros(2)}, {"loss": float("nan")}),
        Checkpoint(1, {"x": np.zeros(2)}, {"long": "x" * (8 << 20)}),
    ],
)
def test_what_could_not_be_read_again_is_not_written(folder: Path, broken: Checkpoint) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - json's own text for a loss that is no number
        save(folder, broken)
    assert same(newest(folder, silent), at(7))


# --- torn files --------------------------------------------------------------------------------------------------


def flipped(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 0x10]) + data[position + 1 :]


def with_header(data: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    change(header)
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + data[8 + length :]


def swap_two_tensors(header: dict[str, Any]) -> None:
    header["moment"]["data_offsets"], header["order"]["data_offsets"] = (
        header["order"]["data_offsets"],
        header["moment"]["data_offsets"],
    )


def another_state(header: dict[str, Any]) -> None:
    text = header["__metadata__"][module.METADATA]
    header["__metadata__"][module.METADATA] = text.replace('"seed": 0', '"seed": 1')


def no_json_in_metadata(header: dict[str, Any]) -> None:
    """A file that vouches for itself, and still holds no state."""
    header["__metadata__"] = {module.METADATA: f"{module._digest('{', at(7).tensors)} {{"}


TORN: dict[str, Callable[[bytes], bytes]] = {
    "cut in half": lambda data: data[: len(data) // 2],
    "one byte short": lambda data: data[:-1],
    "cut in the header": lambda data: data[:100],
    "cut in the length": lambda data: data[:5],
    "empty": lambda data: b"",
    "only zeros": lambda data: bytes(len(data)),
    "a page of zeros": lambda data: data[:-64] + bytes(64),
    "a tail": lambda data: data + b"\0",
    "a flipped byte in the data": lambda data: flipped(data, len(data) - 20),
    "a flipped byte in a name": lambda data: flipped(data, data.index(b"body.weight")),
    "a flipped byte in the state": lambda data: flipped(data, data.index(b"best")),
    "a flipped byte in the digest": lambda data: flipped(data, data.index(b'"headstart":"') + 20),
    "a flipped byte in the braces": lambda data: flipped(data, 8),
    "two tensors swapped": lambda data: with_header(data, swap_two_tensors),
    "another state": lambda data: with_header(data, another_state),
    "no metadata": lambda data: with_header(data, lambda header: header.pop("__metadata__")),
    "metadata of another kind": lambda data: with_header(data, lambda header: header.update(__metadata__=[1])),
    "a state that is no JSON": lambda data: with_header(data, no_json_in_metadata),
    "a header of 2^63 bytes": lambda data: struct.pack("<Q", 1 << 63) + data[8:],
    "another file": lambda data: b"PK\3\4 a zip, or so it says",
    "the step before, renamed": lambda data: b"",
}


@pytest.mark.parametrize("how", TORN)
def test_a_torn_checkpoint_is_said_and_the_one_before_taken__DSK_07(folder: Path, how: str) -> None:
    path = folder / "step-000000007.safetensors"
    path.write_bytes(TORN[how](path.read_bytes()))
    if how == "the step before, renamed":
        path.write_bytes((folder / "step-000000003.safetensors").read_bytes())
    said: list[str] = []
    assert same(newest(folder, said.append), at(3))
    assert len(said) == 1 and str(path) in said[0] and "\n" not in said[0]
    save(folder, at(8))
    assert names(folder) == ["step-000000003.safetensors", "step-000000008.safetensors"]


def test_a_folder_in_its_place__DSK_07(folder: Path) -> None:
    path = folder / "step-000000007.safetensors"
    path.unlink()
    path.mkdir()
    said: list[str] = []
    assert same(newest(folder, said.append), at(3))
    assert len(said) == 1 and "no file" in said[0]
    with pytest.raises(UsageError, match="must be free for a checkpoint; found a folder; remove it"):
        save(folder, at(7))
    save(folder, at(8))
    assert same(newest(folder, said.append), at(8))


def test_a_pipe_in_its_place_is_not_opened__DSK_07(folder: Path) -> None:
    os.mkfifo(folder / "step-000000009.safetensors")
    said: list[str] = []
    assert same(newest(folder, said.append), at(7))
    assert len(said) == 1


def test_no_flipped_bit_goes_unseen__DSK_07(tmp_path: Path) -> None:
    small = Checkpoint(4, {"w": np.arange(3, dtype=np.float32), "on": np.array([True, False])}, {"seed": 0})
    save(tmp_path, small)
    path = tmp_path / "step-000000004.safetensors"
    whole = path.read_bytes()
    seen = 0
    for position in range(len(whole)):
        for bit in range(8):
            path.write_bytes(whole[:position] + bytes([whole[position] ^ 1 << bit]) + whole[position + 1 :])
            said: list[str] = []
            found = newest(tmp_path, said.append)
            if found is None:
                seen += len(said) == 1
            else:  # a space of the header became another of JSON's spaces
                assert same(found, small) and not said and whole[position] == ord(" ")
                seen += 1
    assert seen == 8 * len(whole)


def test_none_is_sound__DSK_07(folder: Path) -> None:
    for path in folder.iterdir():
        path.write_bytes(b"")
    said: list[str] = []
    assert newest(folder, said.append) is None
    assert len(said) == 2
    assert names(folder) == []


def test_what_cannot_be_read_is_said_and_left_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.open

    def failing(path: Path, *args: Any, **kwargs: Any) -> Any:
        if path.name == "step-000000007.safetensors":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", failing)
    said: list[str] = []
    assert same(newest(folder, said.append), at(3))
    assert len(said) == 1 and "(Permission denied)" in said[0]
    assert (folder / "step-000000007.safetensors").exists()


# --- failing disks -----------------------------------------------------------------------------------------------


class HalfWritten(io.FileIO):
    """A file whose n-th write of all files stops half-way."""

    fail: Callable[[], None]

    def write(self, data: Any) -> int:
        try:
            self.fail()
        except OSError:
            super().write(memoryview(data)[: len(data) // 2])
            raise
        return super().write(data)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
@pytest.mark.parametrize("call", ["write", "fsync", "replace", "open", "mkdir", "unlink"])
def test_the_nth_call_fails__DSK_13(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, call: str) -> None:
    real = getattr(os, call)
    for nth in range(1, 20):
        folder = tmp_path / f"{nth}" / "checkpoints"
        for step in (2, 3) if call != "mkdir" else ():
            save(folder, at(step))
        calls = 0

        def count(nth: int = nth) -> None:
            nonlocal calls
            calls += 1
            if calls == nth:
                raise OSError(code, os.strerror(code))

        def failing(*args: object, count: Callable[[], None] = count, **kwargs: object) -> object:
            count()
            return real(*args, **kwargs)

        with monkeypatch.context() as patch:
            if call == "write":
                patch.setattr(HalfWritten, "fail", staticmethod(count), raising=False)
                patch.setattr(Path, "open", lambda path, mode: HalfWritten(path, mode.replace("b", "")))
            else:
                patch.setattr(os, call, failing)
            try:
                save(folder, at(4))
            except (UsageError, OSError) as error:
                failed = True
                one_line = isinstance(error, UsageError) and "\n" not in str(error)
            else:
                failed = False
        assert not failed or one_line == (code != errno.EIO)
        found = newest(folder, silent)
        if found is None:
            assert failed and call == "mkdir"
        elif found.step == 3:
            assert failed and same(found, at(3))
        else:
            assert same(found, at(4))
        assert not any(name.startswith(TEMPORARY) for name in (names(folder) if folder.is_dir() else []))
        save(folder, at(5))
        assert same(newest(folder, silent), at(5))
        assert len(names(folder)) <= 2
        if calls < nth:
            assert not failed and nth > 1
            return
    pytest.fail(f"os.{call} was called too often")


def test_a_full_disk_is_said_in_one_line_and_the_previous_one_intact__DSK_02(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(UsageError, match=r"needs [\d,]+ free bytes; found [\d,]+ free bytes; free some space"):
            save(folder, at(9))
    assert names(folder) == ["step-000000003.safetensors", "step-000000007.safetensors"]
    assert same(newest(folder, silent), at(7))


# --- killed processes, wrong clocks ------------------------------------------------------------------------------

# Forks a child that saves in a tight loop, kills it at a random instant, looks at what is there, and goes on from it;
# `done` is memory that both share: the last step whose save has returned.
NURSERY = """
import mmap, os, random, signal, sys, time
from pathlib import Path
import numpy as np
from headstart.base.disk import TEMPORARY
from headstart.tune.training.checkpoint import Checkpoint, newest, save
import safetensors.numpy

folder, kills, longest = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
shared = mmap.mmap(-1, 8)

def at(step):
    return Checkpoint(step, {"w": np.full((64, 256), step, np.float32), "m": np.full(9, step)}, {"then": [step]})

def work(step):
    while True:
        step += 1
        save(folder, at(step))
        shared[:] = step.to_bytes(8, "little")

said, torn, left, old, new = [], 0, 0, 0, 0
save(folder, at(0))
for _ in range(kills):
    start = newest(folder, said.append).step
    shared[:] = start.to_bytes(8, "little")
    child = os.fork()
    if not child:
        work(start)
    time.sleep(random.uniform(0, longest))
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    done = int.from_bytes(shared[:], "little")
    left += any(path.name.startswith(TEMPORARY) for path in folder.iterdir())
    found = newest(folder, said.append)
    assert not any(path.name.startswith(TEMPORARY) for path in folder.iterdir())
    assert found.step in (done, done + 1), (found.step, done)
    expected = at(found.step)
    torn += found.state != expected.state
    torn += any(found.tensors[name].tobytes() != array.tobytes() for name, array in expected.tensors.items())
    old, new = old + (found.step == done), new + (found.step == done + 1)
save(folder, at(found.step + 1))
print(len(said), torn, left, old, new, len(list(folder.iterdir())))
"""


@pytest.mark.thorough
def test_killed_at_any_instant_old_or_new_and_whole__DSK_06(tmp_path: Path) -> None:
    kills = 80
    run = subprocess.run(
        [sys.executable, "-c", NURSERY, str(tmp_path), str(kills), "0.03"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    assert (run.returncode, run.stderr) == (0, "")
    said, torn, left, old, new, files = map(int, run.stdout.split())
    assert (said, torn, old + new, files) == (0, 0, kills, 2)
    assert left > 0, "no kill hit a write: make the loop tighter"


def test_leftovers_of_the_dead_go_and_those_of_the_living_stay__DSK_06(folder: Path) -> None:
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    ended = [f"{TEMPORARY}{pid}-step-000000009.safetensors" for pid in (int(dead.stdout), os.getpid(), 1 << 70)]
    living = f"{TEMPORARY}{os.getppid()}-step-000000009.safetensors"
    for first in (lambda: newest(folder, silent), lambda: save(folder, at(9))):
        for name in (*ended, living):
            (folder / name).write_bytes(b"half")
        first()
        assert [name for name in names(folder) if name.startswith(TEMPORARY)] == [living]


def test_the_clock_was_set_back__DSK_12(folder: Path) -> None:
    os.utime(folder / "step-000000003.safetensors", (4e9, 4e9))
    os.utime(folder / "step-000000007.safetensors", (1, 1))
    assert same(newest(folder, silent), at(7))
    save(folder, at(9))
    assert names(folder) == ["step-000000007.safetensors", "step-000000009.safetensors"]


def test_the_folder_was_moved__DSK_12(folder: Path, tmp_path: Path) -> None:
    conversion = tmp_path / "elsewhere"
    folder.rename(conversion)
    assert same(newest(conversion, silent), at(7))
    assert newest(folder, silent) is None
    save(conversion, at(8))
    assert same(newest(conversion, silent), at(8))


# --- what changed since --------------------------------------------------------------------------------------------


def test_differences_name_each_argument() -> None:
    saved = json.loads(json.dumps({"seed": 0, "rate": 1e-3, "size": (224, 224), "data": "ab", "mixup": None}))
    assert differences(saved, {"seed": 0, "rate": 1e-3, "size": (224, 224), "data": "ab", "mixup": None}) == []
    assert differences(saved, {"seed": 1, "rate": 1e-3, "size": (192, 192), "data": "ab\n", "views": 2}) == [
        "seed: 0 then, 1 now",
        "size: [224, 224] then, [192, 192] now",
        "data: ab then, ab\\n now",
        "mixup: None then, not given now",
        "views: not given then, 2 now",
    ]
