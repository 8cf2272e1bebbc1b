"""Watchers: who is told how tuning goes; TensorBoard, MLflow and Weights & Biases are three of them.

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

from headstart.base.checks import check_choice
from headstart.base.disk import check_writable, reraise_disk_errors
from headstart.base.errors import UsageError, missing_extra
from headstart.base.progress import Progress
from headstart.tune.settings import TRACKERS

NAME = "headstart"
"""The experiment (MLflow) or project (Weights & Biases) that runs are filed under."""

RUN = "run"
"""The fact that names a run among several, such as those that `auto` compares; it is optional."""


class Tracker(Protocol):
    """Someone who is told how tuning goes: any number of runs, one after the other, and what it does changes none."""

    def started(self, facts: Mapping[str, Any]) -> None:
        """Hear what is about to run: its name (`RUN`), arguments and counts; once, before its first epoch."""

    def epoch(self, numbers: Mapping[str, float], *, epoch: int) -> None:
        """Hear the numbers of an epoch, such as `train/loss`, `validation/accuracy` and `rate/head`."""

    def finished(self, facts: Mapping[str, Any]) -> None:
        """Hear how it ended; once, also where it was interrupted."""


def open_trackers(*, tensorboard: Path | None, track: str | None, progress: Progress | None = None) -> list[Tracker]:
    """Return the watchers that are asked for, before any costly work: what they lack is said at once.

    Args:
        tensorboard: folder of TensorBoard's event files.
        track: one of `TRACKERS`.
        progress: where it is said that a watcher is lost on the way.

    Raises:
        UsageError: an unknown tracker, or a folder that cannot be written.
        MissingExtra: a library is not installed.
    """
    watchers: list[Tracker] = []
    if tensorboard is not None:
        watchers.append(FailSafeTracker(TensorBoard(tensorboard), errors=(OSError,), progress=progress))
    if track is not None:
        check_choice("track", track, TRACKERS)
        tracker = MLflow(NAME) if track == "mlflow" else WandB(NAME)
        watchers.append(FailSafeTracker(tracker, errors=(tracker.error,), progress=progress))
    return watchers


@contextmanager
def tracking(watchers: Sequence[Tracker], facts: Mapping[str, Any]) -> Iterator[None]:
    """Tell the watchers that a run begins and, however it ends, that it has."""
    for watcher in watchers:
        watcher.started(facts)
    ending = "interrupted"
    try:
        yield
        ending = "done"
    finally:
        for watcher in watchers:
            watcher.finished({"why": ending})


class FailSafeTracker:
    """A watcher that may be lost: hours of training must not hang on a server, nor on the disk of a log.

    Once it has heard of a first run without an error, the next error is said, and it is told nothing more.
    """

    def __init__(
        self, watcher: Tracker, *, errors: tuple[type[Exception], ...], progress: Progress | None = None
    ) -> None:
        self._watcher, self._progress = watcher, progress or Progress()
        self._errors: tuple[type[Exception], ...] = (UsageError, *errors)
        self._heard = self._lost = False

    def started(self, facts: Mapping[str, Any]) -> None:
        """Pass it on.

        Raises:
            UsageError: the watcher refuses the first run.
        """
        self._tell(lambda: self._watcher.started(facts))
        self._heard = True

    def epoch(self, numbers: Mapping[str, float], *, epoch: int) -> None:
        """Pass them on."""
        self._tell(lambda: self._watcher.epoch(numbers, epoch=epoch))

    def finished(self, facts: Mapping[str, Any]) -> None:
        """Pass them on."""
        self._tell(lambda: self._watcher.finished(facts))

    def _tell(self, what: Callable[[], None]) -> None:
        if self._lost:
            return
        try:
            what()
        except self._errors as error:
            if not self._heard:
                raise
            self._lost = True
            name = type(self._watcher).__name__
            self._progress.say(f"{name} can be told nothing more, tuning goes on without it: {error}")


class TensorBoard:
    """Writes TensorBoard's event files, one a run; each epoch is in the file before the next one starts.

    torch's own `SummaryWriter` imports TensorFlow wherever that is installed, and the two never share a process: so the
    records are written here, with TensorBoard's formats.
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

    def started(self, facts: Mapping[str, Any]) -> None:
        """Begin an event file, in a folder of its own where the run has a name; show the facts under TEXT."""
        folder = self._folder / re.sub(r"[^\w.-]+", "-", str(facts[RUN])) if RUN in facts else self._folder
        now = time.time_ns()
        # TensorBoard reads the files of a folder in the order of their names.
        name = f"events.out.tfevents.{now // 10**9:010d}.{socket.gethostname()}.{os.getpid()}.{now % 10**9:09d}"
        self._path = folder / name
        with reraise_disk_errors(folder, 0):
            folder.mkdir(parents=True, exist_ok=True)
        self._write(file_version="brain.Event:2")
        self._show("run/started", facts)

    def epoch(self, numbers: Mapping[str, float], *, epoch: int) -> None:
        """Show the numbers under SCALARS."""
        value = self._summaries.Summary.Value
        values = [value(tag=tag, simple_value=number) for tag, number in numbers.items()]
        self._write(summary=self._summaries.Summary(value=values), step=epoch)

    def finished(self, facts: Mapping[str, Any]) -> None:
        """Show the facts under TEXT."""
        self._show("run/finished", facts)

    def _show(self, tag: str, facts: Mapping[str, Any]) -> None:
        tensor = importlib.import_module("tensorboard.compat.proto.tensor_pb2").TensorProto
        strings = importlib.import_module("tensorboard.compat.proto.types_pb2").DT_STRING
        rows = (f"| {_cell(key)} | {_cell(_text(value))} |" for key, value in facts.items())
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

    def __init__(self, experiment: str) -> None:
        """Look for MLflow; nothing is filed before `started`.

        Raises:
            MissingExtra: mlflow is not installed.
        """
        self._mlflow = _imported("mlflow", "--track mlflow")
        self._entities = importlib.import_module("mlflow.entities")
        self._experiment = experiment
        self.error = self._mlflow.MlflowException

    def started(self, facts: Mapping[str, Any]) -> None:
        """Open a run with the facts as its parameters.

        Raises:
            UsageError: MLflow refuses it.
        """
        try:
            self._client = self._mlflow.MlflowClient()
            found = self._client.get_experiment_by_name(self._experiment)
            where = found.experiment_id if found else self._client.create_experiment(self._experiment)
            self._run = self._client.create_run(where, run_name=facts.get(RUN)).info.run_id
            params = [self._entities.Param(key, _text(value)) for key, value in facts.items()]
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

    def finished(self, facts: Mapping[str, Any]) -> None:
        """Close the run, with the facts as its tags."""
        tags = [self._entities.RunTag(key, _text(value)) for key, value in facts.items()]
        self._client.log_batch(self._run, tags=tags)
        self._client.set_terminated(self._run)


class WandB:
    """Files runs with Weights & Biases, as its own settings say (`WANDB_MODE=offline` keeps them on this computer)."""

    error: type[Exception]

    def __init__(self, project: str) -> None:
        """Look for wandb; nothing is filed before `started`.

        Raises:
            MissingExtra: wandb is not installed.
        """
        self._wandb = _imported("wandb", "--track wandb")
        self._project = project
        self.error = self._wandb.Error

    def started(self, facts: Mapping[str, Any]) -> None:
        """Open a run with the facts as its configuration.

        Raises:
            UsageError: Weights & Biases refuses it.
        """
        try:
            # Its capture of the console would garble the progress lines.
            settings = self._wandb.Settings(console="off")
            self._run = self._wandb.init(
                project=self._project, name=facts.get(RUN), config=dict(facts), settings=settings
            )
        except self.error as error:
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
        raise missing_extra(asked_for, package, extra="tracking") from error


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _cell(text: str) -> str:
    return text.replace("|", r"\|").replace("\n", " ")
