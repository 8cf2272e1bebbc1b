"""The result of `pretrain`: the network, its gate, `result.json`, and the folder that `file:FOLDER` opens."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.disk import write_atomic, write_folder
from headstart.base.errors import UsageError
from headstart.base.hashing import sha256
from headstart.base.own_folders import DESCRIPTION, RESULT
from headstart.data.audio.spectrogram import AudioPreprocessing
from headstart.data.audit import Scan
from headstart.judge.gate import Gate
from headstart.judge.metrics import METRICS, calibration_bins, evaluate
from headstart.judge.related import relatives_entry
from headstart.judge.report.fit_page import Report
from headstart.pretraining.options import PretrainOptions
from headstart.run.clock import Clock
from headstart.run.folder import PAGE, SCHEMA, writing
from headstart.run.losses import losses_file
from headstart.sources.checkpoints.source_folder import LIBRARY, UNGATED, SourceDescription, to_json

if TYPE_CHECKING:
    from headstart.tune.from_scratch import UntrainedNetwork
    from headstart.tune.training.task import TrainResult

WEIGHTS, CARD = "weights.safetensors", "README.md"
DIVERGED = "The training diverged: its loss grew without bound. A lower --learning-rate prevents that."


@dataclass(frozen=True)
class RunInputs:
    """The data and the options of a run."""

    data: Any  # a path or examples, as they were passed
    options: PretrainOptions
    scan: Scan
    books: dict[str, Any]  # what became of every example, as `result.json` holds it
    notes: tuple[str, ...]  # what was noticed about the data, one sentence each
    related: tuple[int, ...] = ()  # the test examples that have a copy or near copy in the train part

    @property
    def command(self) -> str:
        """The command line that does the same."""
        return self.options.command(self.data)


@dataclass(frozen=True)
class TestResult:
    """The predictions of a network on the test examples, and its comparison with both naive baselines."""

    probabilities: NDArray[np.float32]  # float32 of shape (n, c)
    y: NDArray[np.int64]  # class ids, int64 of shape (n,)
    gate: Gate
    clusters: NDArray[np.intp]  # of each example, see `data.split.clusters`; of shape (n,)


@dataclass(frozen=True)
class PretrainResult:
    """A network that was trained from random weights, compared with the naive baselines."""

    inputs: RunInputs
    network: UntrainedNetwork
    trained: TrainResult
    test: TestResult
    result: dict[str, Any]

    @property
    def gate(self) -> Gate:
        """The comparison with both naive baselines."""
        return self.test.gate

    @property
    def gate_sentence(self) -> str:
        """The comparison with both baselines in one sentence."""
        dataset = self.inputs.scan.dataset
        return self.gate.sentence(dataset.items, len(self.test.y), dataset.modality.baseline)

    @property
    def verdict(self) -> str:
        """The same, after what it means where the gate was not passed."""
        return self.gate_sentence if self.gate.passed else f"It did not pass the gate: {self.gate_sentence}"

    @property
    def refusal(self) -> UsageError | None:
        """Why the source may not be used: it did not pass the gate and is not forced. None where it may."""
        if self.gate.passed or self.inputs.options.force:
            return None
        out = self.inputs.options.folder
        return UsageError(
            "a source must beat both naive baselines beyond the interval",
            f"{self.gate_sentence.removesuffix('.')} (see {out / PAGE})",
            "train longer or on more data, with another --out; or accept it as it is: the same command with --out "
            f"{out} --force, which does not train again",
        )

    def write(self, out: Path) -> None:
        """Write the source as a folder that `file:OUT` opens, in one step; what a stopped run left there is gone.

        One that did not pass the gate and is not forced is written beside the checkpoints of its training.

        Raises:
            UsageError: the disk is full, and what stood there is intact.
        """
        from headstart.judge.report.fit_page import render
        from headstart.ship.card import source_card

        weights = self._weights()
        parameters = sum(weight.numel() for weight in self.network.body.parameters())
        card = source_card(self.result, parameters=parameters, size=len(weights))
        members = {
            WEIGHTS: weights,
            PAGE: render(self._page()).encode("utf-8", "backslashreplace"),
            CARD: card.encode("utf-8", "backslashreplace"),
            RESULT: json.dumps(self.result, indent=1, allow_nan=False).encode(),
            **losses_file(self.result, self.inputs.scan.dataset.skipped),
            DESCRIPTION: to_json(self._description(sha256(weights))),
        }
        if self.refusal is None:
            write_folder(out, members)
            return
        with writing(out):
            for name, data in members.items():
                write_atomic(out / name, data)

    def _weights(self) -> bytes:
        import torch
        from safetensors.torch import save

        kind = torch.float16 if self.inputs.options.fp16 else torch.float32
        state = self.network.body.state_dict()
        weights = {name: tensor for name, tensor in state.items() if tensor.is_floating_point()}
        return save({name: tensor.detach().cpu().to(kind).contiguous() for name, tensor in weights.items()})

    def _page(self) -> Report:
        probabilities = self.test.probabilities
        provenance = {
            "Architecture": self.network.arch,
            "Licence": self.result["licence"],
            "Seed": str(self.result["seed"]),
            "Fingerprint of the data": self.inputs.scan.fingerprint,
            "Command": self.inputs.command,
        }
        return Report(
            title=self.result["data"]["name"] + ("" if self.gate.passed else ": not better than both baselines"),
            result=self.result,
            verdict=self.verdict,
            confusion=np.array(self.result["confusion"], dtype=np.int64),
            reliability=calibration_bins(probabilities.max(axis=1), probabilities.argmax(axis=1) == self.test.y),
            skipped=self.inputs.scan.dataset.skipped,
            provenance=tuple(provenance.items()),
        )

    def _description(self, digest: str) -> SourceDescription:
        network, dataset = self.network, self.inputs.scan.dataset
        return SourceDescription(
            graph=LIBRARY,
            arch=network.arch,
            origin=f"{dataset.name}, fingerprint {self.inputs.scan.fingerprint}",
            weights=WEIGHTS,
            licence=self.inputs.options.licence or "not stated",
            trained_on=f"{len(dataset.classes)} classes of {dataset.name}, from random weights",
            members={WEIGHTS: digest},
            preprocessing=network.preprocessing,
            classes=tuple(dataset.classes),
            settings={
                "taps": [asdict(tap) for tap in network.taps],
                "more": [asdict(tap) for tap in network.extra_taps],
                "gate": self.result["gate"],
                "confidence": float(self.test.probabilities.max(axis=1).mean()),
                "command": self.inputs.command,
            },
        )


def build_pretrain_result(
    inputs: RunInputs, network: UntrainedNetwork, trained: TrainResult, test: TestResult, clock: Clock
) -> PretrainResult:
    """Build the result, with everything that `result.json` holds."""
    dataset, options = inputs.scan.dataset, inputs.options
    metrics = evaluate(test.probabilities, test.y, dataset.classes, seed=options.seed, clusters=test.clusters)
    gate, diverged = test.gate, (DIVERGED,) if trained.stop_reason == "exploded" else ()
    preprocessing = network.preprocessing
    result: dict[str, Any] = {
        "schema": SCHEMA,
        "task": dataset.modality.task,
        "arch": options.arch,
        "source": f"file:{options.folder}",
        "size": list(preprocessing.size),
        **({"spectrogram": asdict(preprocessing.spectrogram)} if isinstance(preprocessing, AudioPreprocessing) else {}),
        "seed": options.seed,
        "gate": {**gate.as_dict(), "forced": options.force},
        **inputs.books,
        "classes": list(dataset.classes),
        "test": {name: metrics[name] for name in METRICS},
        "baselines": {"majority": gate.majority, "simple": gate.simple},
        "relatives": relatives_entry(
            dataset.examples, inputs.related, None if gate.without is None else gate.without.as_dict()
        ),
        "per_class": metrics["per_class"],
        "confusion": metrics["confusion"],
        "training": {
            "epochs": len(trained.history) - 1,
            "planned": trained.planned,
            "best": trained.best,
            "why": trained.stop_reason,
            "images_per_second": round(trained.images_per_second, 1),
            "images": trained.images,
            "history": [epoch.as_dict() for epoch in trained.history],
        },
        "data": {"name": dataset.name, "fingerprint": inputs.scan.fingerprint},
        "licence": options.licence or "not stated",
        "command": inputs.command,
        "warnings": list(dict.fromkeys((*inputs.notes, *diverged, *(() if gate.passed else (UNGATED,))))),
        "seconds": clock.read(),
    }
    return PretrainResult(inputs, network, trained, test, result)
