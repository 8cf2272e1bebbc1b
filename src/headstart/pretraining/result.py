"""What came of `pretrain`: the network, its gate, `result.json`, and the folder that `file:FOLDER` opens."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headstart.base.atomic import write_folder
from headstart.base.checks import at_least, one_of
from headstart.base.errors import SourceError, UsageError
from headstart.base.hashing import canonical_json, sha256
from headstart.data.audio.spectrogram import AudioPreprocessing
from headstart.data.audit import Scan
from headstart.fitting.findings import METRICS, SCHEMA
from headstart.judge.gate import Gate
from headstart.judge.metrics import evaluate
from headstart.judge.report.fit_page import Note, Report, bins_of
from headstart.run.clock import Clock
from headstart.run.folder import RESULT
from headstart.sources.checkpoints.source_folder import DESCRIPTION, LIBRARY, UNGATED
from headstart.sources.checkpoints.source_folder import SCHEMA as FOLDER_SCHEMA
from headstart.sources.uri import parse

if TYPE_CHECKING:
    from headstart.tune.from_scratch import UntrainedNetwork
    from headstart.tune.training.task import Trained

VIEWS = ("none", "light")
WEIGHTS, CARD, PAGE = "weights.safetensors", "README.md", "report.html"


@dataclass(frozen=True)
class PretrainOptions:
    """How `pretrain` goes about its work.

    Attributes:
        arch: URI of the architecture.
        size: of its input in pixels; 0 for its own. Of recordings, mel bands.
        seconds: of a recording that are heard; 0 for what 95 in 100 last, at most 10.
        budget: seconds for training; None for as many as the epochs need.
        epochs: at most.
        rate: the full learning rate; 0 for the recipe's.
        batch: examples a step; 0 for the recipe's.
        augment: how pictures vary: `none` or `light`.
        mirror: whether a mirrored picture keeps its label; None for yes unless the network reads grey pictures, which
            are often digits or letters.
        classes: a text file of the classes to take; None takes all.
        licence: of the weights.
        fp16: store weights in half precision.
        push_to_hub: `ORG/NAME` of the repository to upload the source to; None for none.
        force: write the source even where it is no better than the baselines.
        seed: of weights, split, order and intervals.
        allow_bad: go on although more than a fifth of the data, or half of a class, is broken.
        root: a folder outside the data's own that paths in a table may point into.
        checkpoints: folder for what a run that is stopped goes on from; None keeps nothing.
        tensorboard: folder for TensorBoard's files.
        track: `mlflow` or `wandb`.
    """

    arch: str
    size: int = 0
    seconds: float = 0.0
    budget: float | None = None
    epochs: int = 30
    rate: float = 0.0
    batch: int = 0
    augment: str = "light"
    mirror: bool | None = None
    classes: Path | None = None
    licence: str = ""
    fp16: bool = False
    push_to_hub: str | None = None
    force: bool = False
    seed: int = 0
    allow_bad: bool = False
    root: Path | None = None
    checkpoints: Path | None = None
    tensorboard: Path | None = None
    track: str | None = None

    def check(self) -> None:
        """Raise UsageError for a value that cannot be, before any work starts."""
        one_of("--augment", self.augment, VIEWS)
        for name in ("seed", "size", "seconds", "rate", "batch"):
            at_least(f"--{name}", getattr(self, name), 0)
        at_least("--epochs", self.epochs, 1)
        if (at := parse(self.arch)).provider == "file":
            raise SourceError("--arch must name an architecture", at.uri, "name one, such as timm:resnet18")

    def command(self, data: Any, out: Path) -> str:
        """Return the command line that does the same."""
        words = ["headstart", "pretrain", str(data) if isinstance(data, (str, Path)) else "DATA", "--arch", self.arch]
        plain = {
            name: getattr(self, name) for name in ("size", "seconds", "epochs", "rate", "batch", "augment", "seed")
        }
        usual = {name: getattr(PretrainOptions(self.arch), name) for name in plain}
        for name, value in plain.items():
            if value != usual[name]:
                words += [f"--{name}", str(value)]
        words += ["--budget", f"{self.budget:g}s"] if self.budget is not None else []
        words += ["--classes", str(self.classes)] if self.classes is not None else []
        words += ["--licence", self.licence] if self.licence else []
        words += [f"--{'' if self.mirror else 'no-'}mirror"] if self.mirror is not None else []
        words += [f"--{name}" for name in ("fp16", "force") if getattr(self, name)]
        return shlex.join([*words, "--out", str(out)])


@dataclass(frozen=True)
class RunInputs:
    """What a run was given.

    Attributes:
        data: as it was named.
        options: how it was to go.
        out: the folder for the source.
        scan: the data, read.
        examples: how many are for what, as `result.json` says it.
        notes: what was noticed about it, one sentence each.
    """

    data: Any
    options: PretrainOptions
    out: Path
    scan: Scan
    examples: dict[str, int]
    notes: tuple[str, ...]

    @property
    def command(self) -> str:
        """The command line that does the same."""
        return self.options.command(self.data, self.out)


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
    trained: Trained
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
        gate, over = self.gate, self.gate.over_simple
        return (
            f"{gate.accuracy.value:.1%} [{gate.accuracy.low:.1%}, {gate.accuracy.high:.1%}] of "
            f"{len(self.measured.y):,} test {self.facts.scan.dataset.items} are named right, "
            f"{100 * over.value:+.1f} points [{100 * over.low:+.1f}, {100 * over.high:+.1f}] against {self.simple} "
            f"({gate.simple:.1%}); always naming the commonest class gives {gate.majority:.1%}."
        )

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
        from headstart.ship.source_card import source_card

        weights = self.weights()
        parameters = sum(weight.numel() for weight in self.network.body.parameters())
        card = source_card(self.result, parameters=parameters, size=len(weights), simple=self.simple)
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
            reliability=bins_of(told.max(axis=1), told.argmax(axis=1) == self.measured.y),
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
            "preprocessing": asdict(network.how),
            "classes": list(dataset.classes),
            "licence": self.facts.options.licence or "not stated",
            "trained_on": f"{len(dataset.classes)} classes of {dataset.name}, from random weights",
            "members": {WEIGHTS: digest},
            "taps": [asdict(tap) for tap in network.taps],
            "more": [asdict(tap) for tap in network.more],
            "gate": self.gate.as_dict(),
            "command": self.facts.command,
        }


def build_pretrain_result(
    facts: RunInputs, network: UntrainedNetwork, trained: Trained, measured: TestResult, clock: Clock
) -> PretrainResult:
    """Gather everything worth telling."""
    dataset, options = facts.scan.dataset, facts.options
    told = evaluate(measured.probabilities, measured.y, dataset.classes, seed=options.seed)
    gate = measured.gate
    spectrogram = (
        {"spectrogram": asdict(network.how.spectrogram)} if isinstance(network.how, AudioPreprocessing) else {}
    )
    result: dict[str, Any] = {
        "schema": SCHEMA,
        "task": dataset.modality.task,
        "arch": options.arch,
        "source": f"file:{facts.out}",
        "size": list(network.how.size),
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


def training(trained: Trained) -> dict[str, Any]:
    """Return what came of training as plain values, ready for JSON."""
    return {
        "epochs": len(trained.history) - 1,
        "planned": trained.planned,
        "best": trained.best,
        "why": trained.why,
        "images_per_second": round(trained.images_per_second, 1),
        "images": trained.images,
        "history": [epoch.as_dict() for epoch in trained.history],
    }


def ungated(gate: Gate) -> tuple[str, ...]:
    """Return what a user must be told of a source that did not pass the gate; nothing where it did."""
    return () if gate.passed else (UNGATED,)
