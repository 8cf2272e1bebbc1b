"""What the tests of reliability let run in processes that are killed, starved of room, or denied their rights.

`prepare` makes, once, two of everything that is saved; the jobs that save them, `SAVES`, are told which of the two.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from headstart.base.hashing import sha256, sha256_json
from headstart.base.progress import Progress

MADE: dict[tuple[str, int], Any] = {}


def prepare(photos: str) -> None:
    """Fit and pretrain twice, on toys."""
    from headstart.engines.environment import set_passive_omp_wait

    set_passive_omp_wait()
    import torch

    from headstart.pretraining.options import PretrainOptions
    from headstart.pretraining.pretrain import run_pretrain

    torch.set_num_threads(1)
    for which in (0, 1):
        prepare_run(photos, which)
        out = Path(photos).with_name(f"source-{which}")
        options = PretrainOptions(arch="arch:lenet5", epochs=1, force=True, seed=which, out=out)
        MADE["source", which] = run_pretrain(photos, options, Progress())


def prepare_run(photos: str, which: int = 0) -> None:
    """Fit on toys."""
    import safetensors.numpy  # noqa: F401 - so that no child has to

    from headstart.fitting.fit import run_fit
    from headstart.run.options import FitOptions

    options = FitOptions(source="arch:lenet5", weights="none", seed=which)
    MADE["run", which] = run_fit(photos, options, Progress())


def save(what: str, folder: str, which: int) -> None:
    """Save the one or the other of a run, a bundle, a source or a checkpoint."""
    SAVES[what](Path(folder), which)


def _save_run(folder: Path, which: int) -> None:
    from headstart.fitting.result import write_out
    from headstart.run.folder import check_out

    check_out(folder)
    write_out(folder, MADE["run", which])


def _save_checkpoint(folder: Path, which: int) -> None:
    from headstart.tune.training.checkpoint import Checkpoint, newest
    from headstart.tune.training.checkpoint import save as save_checkpoint

    last = newest(folder, print) if folder.is_dir() else None
    tensors = {"w": np.full((64, 256), which, np.float32), "m": np.full(9, which)}
    save_checkpoint(folder, Checkpoint(last.step + 1 if last else 1, tensors, {"which": which}))


SAVES: dict[str, Callable[[Path, int], Any]] = {
    "run": _save_run,
    "bundle": lambda folder, which: MADE["run", which].model.save(folder),
    "source": lambda folder, which: MADE["source", which].write(folder),
    "checkpoint": _save_checkpoint,
}


def state(what: str, folder: str) -> str:
    """Return which of the two a reader finds whole in a folder, `none`, or `part` of a run's folder."""
    from headstart.base.disk import restore

    path = Path(folder)
    restore(path)
    if what == "checkpoint":
        from headstart.tune.training.checkpoint import newest

        said: list[str] = []
        found = newest(path, said.append)
        assert not said, said
        assert found is None or set(found.tensors["w"].flat) == {found.state["which"]}
        return "none" if found is None else str(found.state["which"])
    if not path.exists():
        return "none"
    if what == "bundle" or (path / "bundle").exists():
        from headstart.ship.bundle import load

        load(path if what == "bundle" else path / "bundle")
    elif what == "source":
        from headstart.sources.checkpoints.source_folder import read_folder

        read_folder(path)
    content = digest(folder)
    same = [which for which in (0, 1) if content == _digest_of(what, which, path)]
    assert same or what == "run", f"neither the one nor the other is in {sorted(path.rglob('*'))}"
    return str(same[0]) if same else "part"


def settle(what: str, folder: str, which: int) -> str:
    """Say what is in a folder, save the one of the two there, and say what is there then, and what is left over."""
    before = state(what, folder)
    save(what, folder, which)
    left = [path.name for path in Path(folder).parent.rglob(".headstart*")]
    return f"{before} {state(what, folder)} {left}"


def _digest_of(what: str, which: int, beside: Path) -> str:
    """Return the digest of the folder as it must be."""
    whole = Path(os.environ["WHOLE"], f"{what}-{which}")
    if not whole.exists():
        save(what, str(whole), which)
    return digest(str(whole))


def digest(folder: str) -> str:
    """Return a hash over the names and bytes of the files in a folder."""
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return sha256_json([[str(path.relative_to(folder)), sha256(path.read_bytes())] for path in files])


# --- extraction ------------------------------------------------------------------------------------------------------


def prepare_extraction() -> None:
    """Import what extraction needs."""
    import headstart.data.readers.open
    import headstart.features.extract
    import headstart.testing  # noqa: F401


def extract(data: str, cache: str, log: str, pause: float = 0.02) -> str:
    """Extract features with an engine that notes each example in `log`.

    Returns:
        Their digest, hits, misses, notes, and whether it waited for another process.
    """
    import time

    from headstart.data.readers.open import open_dataset
    from headstart.features.extract import extract as run_extraction
    from headstart.testing import ToySource

    width = sum(block.width for block in ToySource().network().blocks)
    said: list[str] = []

    class Engine:
        name, batch = "torch-f32", 4

        def run(self, batch: Any) -> Any:
            with Path(log).open("ab", buffering=0) as file:
                file.write(b"x" * len(batch))
            time.sleep(pause)
            return batch.reshape(len(batch), -1)[:, :width].astype(np.float32)

    class Say(Progress):
        def say(self, text: str) -> None:
            said.append(text)

    found = run_extraction(open_dataset(data), ToySource(), engine=Engine(), cache=Path(cache), progress=Say())  # type: ignore[arg-type]
    content = sha256(found.x.tobytes() + found.summary.baseline_inputs.tobytes())
    return f"{content} {found.hits} {found.misses} {len(found.notes)} {any('another process' in text for text in said)}"


# --- tuning ----------------------------------------------------------------------------------------------------------


def prepare_tuning() -> None:
    """Import torch, with what its optimizers import on first use."""
    from headstart.engines.environment import set_passive_omp_wait

    set_passive_omp_wait()
    import PIL.Image  # noqa: F401
    import safetensors.numpy  # noqa: F401
    import torch._dynamo  # noqa: F401

    import headstart.tune.training.loop  # noqa: F401


def train(folder: str) -> str:
    """Train the tiny task, with all that draws at random, and return the fingerprint of its weights."""
    from dataclasses import replace

    import torch
    from tiny_task import RECIPE, fingerprint, task

    from headstart.tune.training import loop

    torch.set_num_threads(1)
    made = task(40)
    recipe = replace(RECIPE, epochs=6, patience=6)
    trained = loop.train(made, recipe, folder=Path(folder) if folder else None, seconds_between_checkpoints=0.0)
    return fingerprint(made, trained)


# --- disks -----------------------------------------------------------------------------------------------------------


def failing(library: str, under: str, nth: int, code: int, job: str, *arguments: Any) -> str:
    """Run a job whose n-th call that changes something below `under` fails, and return how many there were."""
    shim = ctypes.CDLL(library)
    shim.fail_begin(os.fsencode(under), ctypes.c_long(nth), code)
    try:
        globals()[job](*arguments)
    finally:
        shim.fail_begin(b"", ctypes.c_long(0), 0)
    return str(shim.fail_count())


def save_failing(library: str, place: str, nth: int, code: int, what: str) -> str:
    """Save the first of the two below `place`, then the other over it while the n-th call fails."""
    folder = str(Path(place, "saved"))
    save(what, folder, 0)
    return failing(library, place, nth, code, "save", what, folder, 1)


def save_full(disk: str, free: int, what: str, folder: str) -> None:
    """Save the first of the two, then the other over it with so many bytes free."""
    resize(disk, 64 << 20)
    save(what, folder, 0)
    resize(disk, free)
    save(what, folder, 1)


def settle_full(disk: str, what: str, folder: str) -> str:
    """Do what `settle` does, with room for what is saved, but none before."""
    found = state(what, folder)
    resize(disk, 64 << 20)
    return f"{found} {settle(what, folder, 1)}"


def mount(folder: str, size: int, how: str = "") -> None:
    """Mount a disk of so many bytes in memory, or with `remount,` change its size."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"{how}size={size}", "none", folder], check=True)


def resize(folder: str, more: int) -> None:
    """Leave so many bytes free on a disk in memory."""
    disk = os.statvfs(folder)
    mount(folder, (disk.f_blocks - disk.f_bfree) * disk.f_frsize + more, "remount,")
