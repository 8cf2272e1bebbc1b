"""The outcomes of a comparison on disk: one folder an arm, number of labels and seed, whole or not there."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from headstart.base.disk import write_atomic
from headstart.base.hashing import canonical_json
from headstart.judge.benefit.results import Outcome
from headstart.tune.training.checkpoint import Checkpoint, check_same, newest, save, storable

IDENTITY = "comparison.json"


class Outcomes:
    """Outcomes on disk, each written as soon as it is there, so that a stopped comparison continues behind them.

    Without a folder they are kept in memory alone. `say` is called with a sentence about a damaged outcome.
    """

    def __init__(self, folder: Path | None, say: Callable[[str], None]) -> None:
        self.folder, self._say = folder, say
        self._outcomes: dict[str, Outcome] = {}

    def begin(self, identity: Mapping[str, Any]) -> None:
        """Prove that what lies there is of the same comparison, or begin one.

        Raises:
            UsageError: it is another one; or the folder cannot be written.
        """
        if self.folder is None:
            return
        path = self.folder / IDENTITY
        if path.exists():
            check_same(json.loads(path.read_text(encoding="utf-8")), storable(dict(identity)))
            return
        write_atomic(path, canonical_json(storable(dict(identity))))

    def remembered(self, name: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return plain values that were computed before, so that an arm continues as it began; else compute them.

        Raises:
            UsageError: the disk is full or cannot be written.
        """
        path = None if self.folder is None else self.folder / f"{name}.json"
        if path is not None and path.exists():
            stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return stored
        values = compute()
        if path is not None:
            write_atomic(path, canonical_json(values))
        return values

    def kept(self) -> str:
        """Return how many outcomes are on disk, as a clause; empty where none is."""
        return f"{len(self._outcomes):,} runs are kept" if self.folder is not None and self._outcomes else ""

    def get(self, arm: str, labels: str, seed: int) -> Outcome | None:
        """Return an outcome, or None where it is not there yet."""
        name = _name(arm, labels, seed)
        if name not in self._outcomes and self.folder is not None:
            checkpoint = newest(self.folder / name, self._say)
            if checkpoint is not None:
                arrays, state = checkpoint.tensors, checkpoint.state
                epochs, right, loss, seconds = (arrays[part] for part in ("epochs", "right", "loss", "seconds"))
                self._outcomes[name] = Outcome(
                    epochs, right, loss, seconds, cut=bool(state["cut"]), note=str(state["note"])
                )
        return self._outcomes.get(name)

    def put(self, arm: str, labels: str, seed: int, outcome: Outcome) -> None:
        """Keep an outcome; raise UsageError where the disk is full or cannot be written."""
        name = _name(arm, labels, seed)
        self._outcomes[name] = outcome
        if self.folder is not None:
            tensors = {
                "epochs": outcome.epochs.astype(np.int64),
                "right": outcome.right,
                "loss": outcome.loss.astype(np.float32),
                "seconds": outcome.seconds.astype(np.float64),
            }
            save(self.folder / name, Checkpoint(0, tensors, {"cut": outcome.cut, "note": outcome.note}))


def _name(arm: str, labels: str, seed: int) -> str:
    return f"{arm}-{labels}-seed{seed}"
