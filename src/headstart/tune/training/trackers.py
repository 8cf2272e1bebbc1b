"""Trackers: they receive the numbers of each epoch; TensorBoard, MLflow and Weights & Biases are three of them.

Each library is imported where it is asked for and nowhere else (extra `tracking`).
"""

from __future__ import annotations

import importlib
import json
import os
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from headstart.base.disk import check_writable, reraise_disk_errors
from headstart.base.errors import UsageError, check_choice
from headstart.base.extras import require
from headstart.base.progress import Progress
from headstart.tune.settings import TRACKERS

NAME = "headstart"
"""The experiment (MLflow) or project (Weights & Biases) that runs are filed under."""

RUN = "run"
"""The detail that names a run among several, such as those that `auto` compares; it is optional."""


class Tracker(Protocol):
    """Receives the numbers of any number of runs, one after the other; what it does with them changes no run."""

    def started(self, details: Mapping[str, Any]) -> None:
        """Receive the name (`RUN`) and arguments of a run; once, before its first epoch."""

    def epoch(self, numbers: Mapping[str, float], *, epoch: int) -> None:
        """Receive the numbers of an epoch, such as `train/loss`, `validation/accuracy` and `rate/head`.

        What was not measured is left out: the start has learned nothing yet, so that it has no `train/loss`.
        """

    def finished(self, details: Mapping[str, Any]) -> None:
        """Receive how the run ended; once, also where it was interrupted."""


def open_trackers(*, tensorboard: Path | None, track: str | None, progress: Progress | None = None) -> list[Tracker]:
    """Return the trackers that the options name, before any costly work: what they lack is an error at once.

    Raises:
        UsageError: an unknown tracker, or a folder that cannot be written.
        MissingExtra: a library is not installed.
    """
    trackers: list[Tracker] = []
    if tensorboard is not None:
        trackers.append(FailSafeTracker(TensorBoard(tensorboard), errors=(OSError,), progress=progress, proven=True))
    if track is not None:
        check_choice("track", track, TRACKERS)
        tracker = MLflow() if track == "mlflow" else WandB()
        trackers.append(FailSafeTracker(tracker, errors=(tracker.error,), progress=progress))
    return trackers


@contextmanager
def tracking(trackers: Sequence[Tracker], details: Mapping[str, Any]) -> Iterator[None]:
    """Report to the trackers that a run begins and, however it ends, that it has ended."""
    for tracker in trackers:
        tracker.started(details)
    ending = "interrupted"
    try:
        yield
        ending = "done"
    finally:
        for tracker in trackers:
            tracker.finished({"why": ending})


class FailSafeTracker:
    """A tracker that may fail: hours of training must not depend on a server, nor on the disk of a log.

    Once it is `proven` that it works, as where a first run has begun without an error, the next error is reported, and
    the tracker receives nothing more.
    """

    def __init__(
        self,
        tracker: Tracker,
        *,
        errors: tuple[type[Exception], ...],
        progress: Progress | None = None,
        proven: bool = False,
    ) -> None:
        self._tracker, self._progress = tracker, progress or Progress()
        self._errors: tuple[type[Exception], ...] = (UsageError, *errors)
        self._proven, self._lost = proven, False

    def started(self, details: Mapping[str, Any]) -> None:
        """Pass it on; UsageError where a tracker that is not proven refuses the first run."""
        self._call(lambda: self._tracker.started(details))
        self._proven = True

    def epoch(self, numbers: Mapping[str, float], *, epoch: int) -> None:
        """Pass them on."""
        self._call(lambda: self._tracker.epoch(numbers, epoch=epoch))

    def finished(self, details: Mapping[str, Any]) -> None:
        """Pass them on."""
        self._call(lambda: self._tracker.finished(details))

    def _call(self, method: Callable[[], None]) -> None:
        if self._lost:
            return
        try:
            method()
        except self._errors as error:
            if not self._proven:
                raise
            self._lost = True
            name = type(self._tracker).__name__
            self._progress.say(f"{name} failed, and training goes on without it: {error}")


class TensorBoard:
    """Writes TensorBoard's event files, one a run; each epoch is in the file before the next one starts.

    torch's own `SummaryWriter` imports TensorFlow wherever that is installed, and the two never share a process. The
    one of tensorboardX hands its records to a thread: after `flush`, 12 of 20 epochs were not in the file yet, and a
    full disk is an error of that thread alone. So the records are written here, with TensorBoard's own formats.
    """

    def __init__(self, folder: Path) -> None:
        """Prove that event files can be written to `folder`, beside those of earlier runs.

        Raises:
            MissingExtra: tensorboard is not installed.
            UsageError: the folder cannot be made or written.
        """
        self._writer = _imported("tensorboard.summary.writer.record_writer", "--tensorboard").RecordWriter
        self._event = importlib.import_module("tensorboard.compat.proto.event_pb2").Event
        self._summaries = importlib.import_module("tensorboard.compat.proto.summary_pb2")
        check_writable(folder, what="--tensorboard")
        self._folder = self._path = folder

    def started(self, details: Mapping[str, Any]) -> None:
        """Begin an event file, in a folder of its own where the run has a name; show the details under TEXT."""
        folder = self._folder / re.sub(r"[^\w.-]+", "-", str(details[RUN])) if RUN in details else self._folder
        now = time.time_ns()
        # TensorBoard reads the files of a folder in the order of their names.
        name = f"events.out.tfevents.{now // 10**9:010d}.{socket.gethostname()}.{os.getpid()}.{now % 10**9:09d}"
        self._path = folder / name
        with reraise_disk_errors(folder, 0):
            folder.mkdir(parents=True, exist_ok=True)
        self._write(file_version="brain.Event:2")
        self._show("run/started", details)

    def epoch(self, numbers: Mapping[str, float], *, epoch: int) -> None:
        """Show the numbers under SCALARS."""
        value = self._summaries.Summary.Value
        values = [value(tag=tag, simple_value=number) for tag, number in numbers.items()]
        self._write(summary=self._summaries.Summary(value=values), step=epoch)

    def finished(self, details: Mapping[str, Any]) -> None:
        """Show the details under TEXT."""
        self._show("run/finished", details)

    def _show(self, tag: str, details: Mapping[str, Any]) -> None:
        tensor = importlib.import_module("tensorboard.compat.proto.tensor_pb2").TensorProto
        strings = importlib.import_module("tensorboard.compat.proto.types_pb2").DT_STRING
        rows = (f"| {_cell(key)} | {_cell(_text(value))} |" for key, value in details.items())
        table = "\n".join(["| | |", "|-|-|", *rows])
        metadata = self._summaries.SummaryMetadata
        shown = self._summaries.Summary.Value(
            tag=tag,
            metadata=metadata(plugin_data=metadata.PluginData(plugin_name="text")),
            tensor=tensor(dtype=strings, string_val=[table.encode()]),
        )
        self._write(summary=self._summaries.Summary(value=[shown]))

    def _write(self, **what: Any) -> None:
        record = self._event(wall_time=time.time(), **what).SerializeToString()
        # Opened for each record: a run may end at any moment, and leaves nothing open and nothing unwritten.
        with reraise_disk_errors(self._path, len(record)), self._path.open("ab") as file:
            self._writer(file).write(record)


class MLflow:
    """Files runs with MLflow, where `MLFLOW_TRACKING_URI` says; no other run of this process is touched."""

    error: type[Exception]

    def __init__(self) -> None:
        """Look for MLflow, or raise MissingExtra; nothing is filed before `started`."""
        self._mlflow = _imported("mlflow", "--track mlflow")
        self._entities = importlib.import_module("mlflow.entities")
        self.error = self._mlflow.MlflowException

    def started(self, details: Mapping[str, Any]) -> None:
        """Open a run with the details as its parameters; UsageError where MLflow refuses it."""
        try:
            self._client = self._mlflow.MlflowClient()
            experiment = self._client.get_experiment_by_name(NAME)
            where = experiment.experiment_id if experiment else self._client.create_experiment(NAME)
            self._run = self._client.create_run(where, run_name=details.get(RUN)).info.run_id
            params = [self._entities.Param(key, _text(value)) for key, value in details.items()]
            self._client.log_batch(self._run, params=params)
        except self.error as error:
            raise UsageError(
                "MLflow must take the run", error, "set MLFLOW_TRACKING_URI, such as to sqlite:///runs.db"
            ) from error

    def epoch(self, numbers: Mapping[str, float], *, epoch: int) -> None:
        """Log the numbers, with the epoch as their step."""
        now = time.time_ns() // 10**6
        metrics = [self._entities.Metric(key, number, now, epoch) for key, number in numbers.items()]
        self._client.log_batch(self._run, metrics=metrics)

    def finished(self, details: Mapping[str, Any]) -> None:
        """Close the run, with the details as its tags."""
        tags = [self._entities.RunTag(key, _text(value)) for key, value in details.items()]
        self._client.log_batch(self._run, tags=tags)
        self._client.set_terminated(self._run)


class WandB:
    """Files runs with Weights & Biases, as its own settings say (`WANDB_MODE=offline` keeps them on this computer)."""

    error: type[Exception]

    def __init__(self) -> None:
        """Look for wandb, or raise MissingExtra; nothing is filed before `started`."""
        self._wandb = _imported("wandb", "--track wandb")
        self.error = self._wandb.Error

    def started(self, details: Mapping[str, Any]) -> None:
        """Open a run with the details as its configuration; UsageError where Weights & Biases refuses it."""
        try:
            # Its capture of the console would garble the progress lines.
            settings = self._wandb.Settings(console="off")
            self._run = self._wandb.init(project=NAME, name=details.get(RUN), config=dict(details), settings=settings)
        except self.error as error:
            raise UsageError(
                "Weights & Biases must take the run", error, "run: wandb login, or set WANDB_MODE=offline"
            ) from error

    def epoch(self, numbers: Mapping[str, float], *, epoch: int) -> None:
        """Log the numbers, with the epoch as their step."""
        self._run.log(dict(numbers), step=epoch)

    def finished(self, details: Mapping[str, Any]) -> None:
        """Close the run, with the details in its summary."""
        self._run.summary.update(dict(details))
        self._run.finish()


def _imported(module: str, asked_for: str) -> Any:
    require(asked_for, module.partition(".")[0])
    return importlib.import_module(module)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _cell(text: str) -> str:
    return text.replace("|", r"\|").replace("\n", " ")
