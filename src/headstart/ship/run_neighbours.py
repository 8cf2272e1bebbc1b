"""The training examples that a run keeps beside its bundle, so that a prediction can name the nearest of them.

They hold names of files, and do not leave with the bundle: whoever ships or pushes it ships nothing of them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from headstart.base.disk import write_atomic
from headstart.base.errors import BundleError, UsageError, refusing
from headstart.base.hashing import sha256
from headstart.base.own_folders import MANIFEST
from headstart.judge.neighbours import Neighbours, checked_neighbours

FILE = "neighbours.safetensors"
MOST = 1 << 30  # bytes of it that are read


def write_neighbours(out: Path, neighbours: Neighbours | None) -> None:
    """Write the training examples beside `out / "bundle"`, whose manifest they name; without any, remove older ones."""
    from safetensors.numpy import save

    if neighbours is None:
        (out / FILE).unlink(missing_ok=True)
    else:
        arrays = {name: np.asarray(array, order="C") for name, array in neighbours.to_arrays().items()}
        write_atomic(out / FILE, save({**arrays, "bundle": _digest(out / "bundle")}))


def read_neighbours(bundle: Path | None, shape: tuple[int, ...]) -> Neighbours:
    """Return the training examples that stand beside a bundle.

    Args:
        bundle: its folder; None for one of a hub, or a model that was never saved.
        shape: of the weights of its head, features by classes.

    Raises:
        UsageError: none stand there, as beside a bundle that was moved away from its run.
        BundleError: they are damaged, or of another bundle.
    """
    from safetensors.numpy import load

    if bundle is None or not (path := bundle.parent / FILE).is_file():
        raise UsageError(
            f"the nearest training examples must stand in {FILE} beside the bundle, where `headstart fit` writes it",
            "no such file" if bundle is None else f"no such file in {bundle.parent}",
            f"name the output folder of the fit, or copy {FILE} from there",
        )

    def damaged(fault: str) -> BundleError:
        return BundleError(f"{path} must be as it was written", fault, "fit the model again")

    if path.stat().st_size > MOST:
        raise damaged(f"{path.stat().st_size:,} bytes, more than the {MOST:,} that are read")
    with refusing(lambda reason: damaged(f"bytes that are no safetensors ({reason})")):
        arrays = load(path.read_bytes())
    digest = arrays.pop("bundle", None)
    if digest is None or digest.tobytes() != _digest(bundle).tobytes():
        raise damaged("the examples of another bundle")
    return checked_neighbours(arrays, shape, damaged)


def _digest(bundle: Path) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.frombuffer(bytes.fromhex(sha256((bundle / MANIFEST).read_bytes())), np.uint8)
