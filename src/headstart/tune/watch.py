"""Watchers: who is told how tuning goes; TensorBoard, MLflow and Weights & Biases are three of them.

Each library is imported where it is asked for and nowhere else (extra `tracking`).
"""

from __future__ import annotations

import importlib
import json
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from headstart.base.checks import one_of
from headstart.base.errors import MissingExtra, UsageError
from headstart.base.files import check_writable, said_when_full

TRACKERS = ("mlflow", "wandb")
"""What `--track` knows."""

NAME = "headstart"
"""The experiment (MLflow) or project (Weights & Biases) that runs are filed under."""


class Watcher(Protocol):
    """Someone who is told how tuning goes; nothing that it does changes the result."""

    def started(self, facts: Mapping[str, Any]) -> None:
        """Hear what is about to run: arguments, counts, names; once, before the first epoch."""

    def epoch(self, numbers: Mapping[str, float], *, epoch: int) -> None:
        """Hear the numbers of an epoch, such as `train/loss`, `validation/accuracy` and `rate/head`."""

    def finished(self, facts: Mapping[str, Any]) -> None:
        """Hear how it ended; once, also where it was interrupted."""


def open_watchers(*, tensorboard: Path | None, track: str | None) -> list[Watcher]:
    """Return the watchers that are asked for, before any costly work: what they lack is said at once.

    Args:
        tensorboard: folder of TensorBoard's event files.
        track: one of `TRACKERS`.

    Raises:
        UsageError: an unknown tracker, or a folder that cannot be written.
        MissingExtra: a library is not installed.
    """
    watchers: list[Watcher] = []
    if tensorboard is not None:
        watchers.append(TensorBoard(tensorboard))
    if track is not None:
        one_of("track", track, TRACKERS)
        watchers.append(MLflow(NAME) if track == "mlflow" else WandB(NAME))
    return watchers


class TensorBoard:
    """Writes TensorBoard's event files; each epoch is on the disk before the next one starts.

    torch's own `SummaryWriter` imports TensorFlow wherever that is installed, and the two never share a process: so the
    records are written here, with TensorBoard's formats.
    """

    def __init__(self, folder: Path) -> None:
        """Make a new event file in `folder`, beside those of earlier runs.

        Raises:
            MissingExtra: tensorboard is not installed.
            UsageError: the folder cannot be made or written.
        """
        records = _imported("tensorboard.summary.writer.record_writer", "--tensorboard")
        self._events = importlib.import_module("tensorboard.compat.proto.event_pb2")
        self._summaries = importlib.import_module("tensorboard.compat.proto.summary_pb2")
        check_writable(folder, what="--tensorboard")
        now = time.time_ns()
        # TensorBoard reads a folder's files in the order of their names.
        name = f"events.out.tfevents.{now // 10**9:010d}.{socket.gethostname()}.{os.getpid()}.{now % 10**9:09d}"
        self._path = folder / name
        with said_when_full(folder, 0):
            self._records = records.RecordWriter(self._path.open("xb"))
        self._write(file_version="brain.Event:2")

    def started(self, facts: Mapping[str, Any]) -> None:
        """Show the facts under TEXT."""
        self._tell("run/started", facts)

    def epoch(self, numbers: Mapping[str, float], *, epoch: int) -> None:
        """Show the numbers under SCALARS."""
        value = self._summaries.Summary.Value
        summary = self._summaries.Summary(
            value=[value(tag=tag, simple_value=number) for tag, number in numbers.items()]
        )
        self._write(summary=summary, step=epoch)

    def finished(self, facts: Mapping[str, Any]) -> None:
        """Show the facts under TEXT and close the file."""
        self._tell("run/finished", facts)
        self._records.close()

    def _tell(self, tag: str, facts: Mapping[str, Any]) -> None:
        tensor = importlib.import_module("tensorboard.compat.proto.tensor_pb2").TensorProto
        strings = importlib.import_module("tensorboard.compat.proto.types_pb2").DT_STRING
        table = "\n".join(["| | |", "|-|-|", *(f"| {key} | {_shown(value)} |" for key, value in facts.items())])
        metadata = self._summaries.SummaryMetadata
        told = self._summaries.Summary.Value(
            tag=tag,
            metadata=metadata(plugin_data=metadata.PluginData(plugin_name="text")),
            tensor=tensor(dtype=strings, string_val=[table.encode()]),
        )
        self._write(summary=self._summaries.Summary(value=[told]))

    def _write(self, **what: Any) -> None:
        with said_when_full(self._path, 0):
            self._records.write(self._events.Event(wall_time=time.time(), **what).SerializeToString())
            self._records.flush()


class MLflow:
    """Files a run with MLflow, where `MLFLOW_TRACKING_URI` says; no other run of this process is touched."""

    def __init__(self, experiment: str) -> None:
        """Look for MLflow; nothing is filed before `started`.

        Raises:
            MissingExtra: mlflow is not installed.
        """
        self._mlflow = _imported("mlflow", "--track mlflow")
        self._entities = importlib.import_module("mlflow.entities")
        self._experiment = experiment

    def started(self, facts: Mapping[str, Any]) -> None:
        """Open a run with the facts as its parameters.

        Raises:
            UsageError: MLflow refuses it.
        """
        try:
            self._client = self._mlflow.MlflowClient()
            found = self._client.get_experiment_by_name(self._experiment)
            where = found.experiment_id if found else self._client.create_experiment(self._experiment)
            self._run = self._client.create_run(where).info.run_id
            params = [self._entities.Param(key, _shown(value)) for key, value in facts.items()]
            self._client.log_batch(self._run, params=params)
        except self._mlflow.MlflowException as error:
            raise UsageError(
                "MLflow must take the run", error, "set MLFLOW_TRACKING_URI to a store, such as sqlite:///runs.db"
            ) from error

    def epoch(self, numbers: Mapping[str, float], *, epoch: int) -> None:
        """Log the numbers, with the epoch as their step."""
        now = time.time_ns() // 10**6
        self._client.log_batch(
            self._run, metrics=[self._entities.Metric(key, number, now, epoch) for key, number in numbers.items()]
        )

    def finished(self, facts: Mapping[str, Any]) -> None:
        """Close the run, with the facts as its tags."""
        tags = [self._entities.RunTag(key, _shown(value)) for key, value in facts.items()]
        self._client.log_batch(self._run, tags=tags)
        self._client.set_terminated(self._run)


class WandB:
    """Files a run with Weights & Biases, as its own settings say (`WANDB_MODE=offline` keeps it on this computer)."""

    def __init__(self, project: str) -> None:
        """Look for wandb; nothing is filed before `started`.

        Raises:
            MissingExtra: wandb is not installed.
        """
        self._wandb = _imported("wandb", "--track wandb")
        self._project = project

    def started(self, facts: Mapping[str, Any]) -> None:
        """Open a run with the facts as its configuration.

        Raises:
            UsageError: Weights & Biases refuses it.
        """
        try:
            # Its console capture would garble the progress lines.
            settings = self._wandb.Settings(console="off")
            self._run = self._wandb.init(project=self._project, config=dict(facts), settings=settings)
        except self._wandb.Error as error:
            raise UsageError(
                "Weights & Biases must take the run", error, "run: wandb login, or set WANDB_MODE=offline"
            ) from error

    def epoch(self, numbers: Mapping[str, float], *, epoch: int) -> None:
        """Log the numbers, with the epoch as their step."""
        self._run.log(dict(numbers), step=epoch)

    def finished(self, facts: Mapping[str, Any]) -> None:
        """Close the run, with the facts in its summary."""
        self._run.summary.update(dict(facts))
        self._run.finish()


def _imported(module: str, asked_for: str) -> Any:
    package = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise MissingExtra(
            f"{asked_for} needs the package {package!r}",
            "it is not installed",
            "run: pip install 'headstart[tracking]'",
        ) from error


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)
