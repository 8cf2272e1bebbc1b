"""What came of `pretrain`: the network, its gate, `result.json`, and the folder that `file:FOLDER` opens."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.atomic import write_folder
from headstart.base.errors import UsageError
from headstart.base.hashing import canonical_json, sha256
from headstart.data.audio.spectrogram import AudioPreprocessing
from headstart.data.audit import Scan
from headstart.fitting.findings import SCHEMA
from headstart.judge.gate import Gate
from headstart.judge.metrics import METRICS, calibration_bins, evaluate
from headstart.judge.report.fit_page import Note, Report
from headstart.pretraining.options import PretrainOptions
from headstart.run.clock import Clock
from headstart.run.folder import RESULT
from headstart.sources.checkpoints.source_folder import DESCRIPTION, LIBRARY, UNGATED
from headstart.sources.checkpoints.source_folder import SCHEMA as FOLDER_SCHEMA

if TYPE_CHECKING:
    from headstart.tune.from_scratch import UntrainedNetwork
    from headstart.tune.training.task import TrainResult

WEIGHTS, CARD, PAGE = "weights.safetensors", "README.md", "report.html"


@dataclass(frozen=True)
class RunInputs:
    """What a run was given.

    Attributes:
        data: as it was named.
        options: how it was to go.
        scan: the data, read.
        examples: how many are for what, as `result.json` says it.
        notes: what was noticed about it, one sentence each.
    """

    data: Any
    options: PretrainOptions
    scan: Scan
    examples: dict[str, int]
    notes: tuple[str, ...]

    @property
    def command(self) -> str:
        """The command line that does the same."""
        return self.options.command(self.data)


@dataclass(frozen=True)
class TestResult:
    """What a network answers on the test pictures, and how it stands.

    Attributes:
        probabilities: float32 of shape (n, c).
        y: class ids, int64 of shape (n,).
        gate: how it stands against both naive baselines.
    """

    probabilities: NDArray[np.float32]
    y: NDArray[np.int64]
    gate: Gate


@dataclass(frozen=True)
class PretrainResult:
    """A network that was trained from random weights, and how it stands against the naive baselines.

    Attributes:
        facts: what the run was given.
        network: the network, its weights those of the best epoch.
        trained: what came of the run.
        measured: its answers on the test pictures.
        result: what goes into `result.json`.
    """

    facts: RunInputs
    network: UntrainedNetwork
    trained: TrainResult
    measured: TestResult
    result: dict[str, Any]

    @property
    def gate(self) -> Gate:
        """How it stands against both naive baselines."""
        return self.measured.gate

    @property
    def simple(self) -> str:
        """What the simple baseline is."""
        return self.facts.scan.dataset.modality.baseline

    @property
    def verdict(self) -> str:
        """How it stands, in one sentence."""
        return self.gate.sentence(self.facts.scan.dataset.items, len(self.measured.y), self.simple)

    def write(self, out: Path) -> None:
        """Write the source as a folder that `file:OUT` opens, in one step; what a stopped run left there is gone.

        Raises:
            UsageError: it did not pass the gate and is not forced; or the disk is full, and what stood there is intact.
        """
        if not self.gate.passed and not self.facts.options.force:
            raise UsageError(
                "a developed source must beat both naive baselines beyond the interval",
                self.verdict,
                "train longer or on more data, or write it as it is, marked as ungated: the same command with "
                "--resume --force",
            )
        write_folder(out, self.members())

    def members(self) -> dict[str, bytes]:
        """Return the files of the folder and their bytes."""
        from headstart.judge.report.fit_page import render
        from headstart.ship.card import source_card

        weights = self.weights()
        parameters = sum(weight.numel() for weight in self.network.body.parameters())
        card = source_card(self.result, parameters=parameters, size=len(weights))
        return {
            WEIGHTS: weights,
            PAGE: render(self.page()).encode("utf-8", "backslashreplace"),
            CARD: card.encode("utf-8", "backslashreplace"),
            RESULT: json.dumps(self.result, indent=1, allow_nan=False).encode(),
            DESCRIPTION: canonical_json(self.described(sha256(weights))),
        }

    def weights(self) -> bytes:
        """Return the weights as the bytes of a safetensors file, in half precision where that was asked for."""
        import torch
        from safetensors.torch import save

        kind = torch.float16 if self.facts.options.fp16 else torch.float32
        state = self.network.body.state_dict()
        kept = {name: tensor for name, tensor in state.items() if tensor.is_floating_point()}
        return save({name: tensor.detach().cpu().to(kind).contiguous() for name, tensor in kept.items()})

    def page(self) -> Report:
        """Return what the HTML page shows."""
        told = self.measured.probabilities
        provenance = {
            "Architecture": self.network.arch,
            "Licence": self.result["licence"],
            "Seed": str(self.result["seed"]),
            "Fingerprint of the data": self.facts.scan.fingerprint,
            "Command": self.facts.command,
        }
        return Report(
            title=self.result["data"]["name"],
            result=self.result,
            verdict=self.verdict,
            confusion=np.array(self.result["confusion"], dtype=np.int64),
            reliability=calibration_bins(told.max(axis=1), told.argmax(axis=1) == self.measured.y),
            skipped=self.facts.scan.dataset.skipped,
            notes=tuple(Note(text) for text in self.result["warnings"]),
            provenance=tuple(provenance.items()),
        )

    def described(self, digest: str) -> dict[str, Any]:
        """Return the content of `source.json`, given the sha256 of the weights."""
        network, dataset = self.network, self.facts.scan.dataset
        return {
            "schema": FOLDER_SCHEMA,
            "graph": LIBRARY,
            "arch": network.arch,
            "origin": f"{dataset.name}, fingerprint {self.facts.scan.fingerprint}",
            "weights": WEIGHTS,
            "preprocessing": asdict(network.preprocessing),
            "classes": list(dataset.classes),
            "licence": self.facts.options.licence or "not stated",
            "trained_on": f"{len(dataset.classes)} classes of {dataset.name}, from random weights",
            "members": {WEIGHTS: digest},
            "taps": [asdict(tap) for tap in network.taps],
            "more": [asdict(tap) for tap in network.extra_taps],
            "gate": self.gate.as_dict(),
            "command": self.facts.command,
        }


def build_pretrain_result(
    facts: RunInputs, network: UntrainedNetwork, trained: TrainResult, measured: TestResult, clock: Clock
) -> PretrainResult:
    """Gather everything worth telling."""
    dataset, options = facts.scan.dataset, facts.options
    told = evaluate(measured.probabilities, measured.y, dataset.classes, seed=options.seed)
    gate = measured.gate
    spectrogram = (
        {"spectrogram": asdict(network.preprocessing.spectrogram)}
        if isinstance(network.preprocessing, AudioPreprocessing)
        else {}
    )
    result: dict[str, Any] = {
        "schema": SCHEMA,
        "task": dataset.modality.task,
        "arch": options.arch,
        "source": f"file:{options.folder}",
        "size": list(network.preprocessing.size),
        **spectrogram,
        "seed": options.seed,
        "gate": gate.as_dict(),
        "examples": facts.examples,
        "classes": list(dataset.classes),
        "test": {name: told[name] for name in METRICS},
        "baselines": {"majority": gate.majority, "simple": gate.simple},
        "per_class": told["per_class"],
        "confusion": told["confusion"],
        "training": training(trained),
        "data": {"name": dataset.name, "fingerprint": facts.scan.fingerprint},
        "licence": options.licence or "not stated",
        "command": facts.command,
        "warnings": list(dict.fromkeys((*facts.notes, *ungated(gate)))),
        "seconds": clock.read(),
    }
    return PretrainResult(facts, network, trained, measured, result)


def training(trained: TrainResult) -> dict[str, Any]:
    """Return what came of training as plain values, ready for JSON."""
    return {
        "epochs": len(trained.history) - 1,
        "planned": trained.planned,
        "best": trained.best,
        "why": trained.stop_reason,
        "images_per_second": round(trained.images_per_second, 1),
        "images": trained.images,
        "history": [epoch.as_dict() for epoch in trained.history],
    }


def ungated(gate: Gate) -> tuple[str, ...]:
    """Return what a user must be told of a source that did not pass the gate; nothing where it did."""
    return () if gate.passed else (UNGATED,)
