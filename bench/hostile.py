"""What the refusal of a hostile file costs beyond what is imported.

Usage: python bench/hostile.py

Each file is opened in a process of its own, which has imported what opens it and has opened a sound file of its kind.
Seconds are those of the clock, and of the processor with its children (without what a child had used before: it, too,
has imported what it needs); memory is the peak of the process above what it held before.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path


sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from forged import resign, saved, small_bundle
from hostile_pickles import archive, called

MANY = 1_000_000


def safetensors(header: bytes, length: int = 0) -> bytes:
    return struct.pack("<Q", length or len(header)) + header


def entries(count: int, key: str = "data_offsets") -> bytes:
    one = '"%d":{"dtype":"F32","shape":[0],"' + key + '":[0,0]}'
    return ("{" + ",".join(one % at for at in range(count)) + "}").encode()


def emptied() -> object:
    import torch

    empty = torch.zeros(0)
    return {str(at): empty for at in range(MANY)}


def expanded() -> object:
    import torch

    return {"w": torch.zeros(1).expand(10**5, 10**5)}


def graph(path: Path, operator: str | None = None, count: int = 1) -> None:
    import onnx
    from onnx_nets import convnet

    model = convnet(path)
    if operator is not None:
        model.graph.node[1].op_type = operator
        del model.graph.node[1].input[count:]
        onnx.save(model, path)


def bundle(folder: Path, change: Callable[[Path], object] = lambda folder: None) -> None:
    """Write a bundle, change it, and make its checksums right again, as a forger would."""
    from headstart.ship.bundle import save

    save(folder, small_bundle())
    change(folder)
    resign(folder)


def grown(folder: Path) -> None:
    with (folder / "README.md").open("r+b") as file:
        file.truncate(1_500_000_000)


FILES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "safetensors, a header of 72 PB": ("safetensors", lambda path: path.write_bytes(safetensors(b"{}", 72 * 10**15))),
    "safetensors, 1,000,000 tensors": ("safetensors", lambda path: path.write_bytes(safetensors(entries(MANY)))),
    "safetensors, 100,000 tensors, escaped keys": (
        "safetensors", lambda path: path.write_bytes(safetensors(entries(100_000, "data\\u005foffsets"))),
    ),
    "safetensors, 20,001 tensors": ("safetensors", lambda path: path.write_bytes(safetensors(entries(20_001)))),
    "PyTorch, 1,000,000 empty tensors": ("pth", lambda path: path.write_bytes(saved(emptied()))),
    "PyTorch's older form, the same": ("pth", lambda path: path.write_bytes(saved(emptied(), archived=False))),
    "PyTorch, 200,000 members": ("pth", lambda path: path.write_bytes(archive(b"\x80\x02}.", 200_000))),
    "PyTorch, a pickle of 500,000 lists": (
        "pth", lambda path: path.write_bytes(archive(b"\x80\x02" + b"]" * 500_000 + b".")),
    ),
    "PyTorch, a bytearray of 100 GB": (
        "pth", lambda path: path.write_bytes(archive(called("__builtin__.bytearray", 10**11))),
    ),
    "PyTorch, one number for 10^10": ("pth", lambda path: path.write_bytes(saved(expanded()))),
    "ONNX, 10,000,000 fields": ("onnx", lambda path: path.write_bytes(b"\x08\x00" * 10_000_000)),
    "ONNX, 1,000,000 fields of long numbers": (
        "onnx", lambda path: path.write_bytes((b"\x88" + b"\x80" * 8 + b"\x00" + b"\xff" * 9 + b"\x01") * MANY),
    ),
    "ONNX, Conv without weights": ("onnx", lambda path: graph(path, "Conv")),
    "ONNX, Pad without pads (SIGSEGV)": ("onnx", lambda path: graph(path, "Pad")),
    "bundle, a card of 1.5 GB": ("bundle", lambda path: bundle(path, grown)),
    "bundle, a card that is no UTF-8": (
        "bundle", lambda path: bundle(path, lambda folder: (folder / "README.md").write_bytes(b"\xff")),
    ),
    "bundle, 100,000 tensors in the head": (
        "bundle",
        lambda path: bundle(
            path, lambda folder: (folder / "head.safetensors").write_bytes(safetensors(entries(100_000)))
        ),
    ),
    "bundle, a report of 20,000,000 lists": (
        "bundle",
        lambda path: bundle(
            path, lambda folder: (folder / "report.json").write_bytes(b"[" + b"[]," * 20_000_000 + b"[]]")
        ),
    ),
}  # fmt: skip


def make_sound(kind: str, path: Path) -> None:
    if kind == "onnx":
        graph(path)
    elif kind == "bundle":
        bundle(path)
    else:
        import torch
        from safetensors.torch import save_file

        state = {"w": torch.ones(3)}
        save_file(state, path) if kind == "safetensors" else torch.save(state, path)


def opener(kind: str) -> Callable[[Path], object]:
    if kind == "bundle":
        from headstart.ship.bundle import load

        return load
    if kind == "onnx":
        from headstart.sources.registry import open_source

        return lambda path: open_source(f"onnx:{path}")
    from headstart.sources.checkpoints.read import read_checkpoint

    return read_checkpoint


def mebibytes(key: str) -> float:
    return int(re.search(rf"{key}:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024


def spent() -> float:
    """Return the seconds of processor of this process, of its children that ended, and of those that live."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    ticks = [Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[11:13] for child in children]
    return sum(os.times()[:4]) + sum(int(tick) for both in ticks for tick in both) / os.sysconf("SC_CLK_TCK")


def measure(kind: str, sound: Path, path: Path) -> dict[str, object]:
    from headstart.base.errors import UsageError

    work = opener(kind)
    work(sound)
    Path("/proc/self/clear_refs").write_text("5")
    before, start, already = mebibytes("VmRSS"), time.perf_counter(), spent()
    try:
        work(path)
        outcome = "NOT REFUSED"
    except UsageError as error:
        outcome = str(error)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "processor": spent() - already, "mib": mebibytes("VmHWM") - before, "outcome": outcome}


def main() -> None:
    print("| file | seconds | of processor | MiB | refused as |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, (kind, make) in FILES.items():
            sound, path = Path(folder) / f"sound.{kind}", Path(folder) / f"hostile.{kind}"
            if not sound.exists():
                make_sound(kind, sound)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                make(path)
            cache = Path(folder, "cache")  # a new one each: a graph that is remembered starts no process
            shutil.rmtree(cache, ignore_errors=True)
            done = subprocess.run(
                [sys.executable, __file__, kind, sound, path],
                capture_output=True,
                text=True,
                check=True,
                env={**os.environ, "HEADSTART_CACHE": str(cache)},
            )
            row = json.loads(done.stdout.splitlines()[-1])
            reason = row["outcome"].partition("; found ")[2].partition("; ")[0] or row["outcome"]
            print(f"| {name} | {row['seconds']:.2f} | {row['processor']:.2f} | {row['mib']:.0f} | {reason[:100]} |")
            shutil.rmtree(path) if path.is_dir() else path.unlink()


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if len(sys.argv) > 1:
        print(json.dumps(measure(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))))
    else:
        main()
