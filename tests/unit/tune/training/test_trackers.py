"""What watchers are told arrives: in TensorBoard's own reader, and in stand-ins of MLflow and Weights & Biases."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Mapping
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from headstart.base.errors import MissingExtra, UsageError
from headstart.base.progress import Progress
from headstart.tune.training.trackers import FailSafeTracker, TensorBoard, Tracker, open_trackers

FACTS = {"run": "last:2", "source": "toy:1", "classes": ["a|b", "c"], "seed": 0, "where": Path("x")}
NUMBERS = {"train/loss": 1.5, "train/accuracy": 0.25, "validation/loss": 1.25, "rate/head": 1e-3}

READ = """
import json, sys
from types import ModuleType
sys.modules["tensorboard.compat.notf"] = ModuleType("notf")  # or else it would import TensorFlow, in seconds
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.io_wrapper import GetLogdirSubdirectories
found = {}
for folder in sorted(GetLogdirSubdirectories(sys.argv[1])):
    read = EventAccumulator(folder)
    read.Reload()
    tags = read.Tags()
    found[folder] = {
        "scalars": {tag: [(e.step, e.value) for e in read.Scalars(tag)] for tag in tags["scalars"]},
        "texts": {tag: read.Tensors(tag)[0].tensor_proto.string_val[0].decode() for tag in tags["tensors"]},
        "plugin": [read.SummaryMetadata(tag).plugin_data.plugin_name for tag in tags["tensors"]],
    }
print(json.dumps(found))
"""


def read(folder: Path) -> dict[str, Any]:
    """Return what TensorBoard itself finds in the event files below `folder`."""
    done = subprocess.run(
        [sys.executable, "-c", READ, str(folder)], capture_output=True, text=True, check=True, timeout=120
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {str(Path(name).relative_to(folder)): what for name, what in found.items()}


def watch(watcher: Tracker, *, epochs: int = 3, facts: Mapping[str, Any] = FACTS) -> None:
    watcher.started(facts)
    for epoch in range(epochs):
        watcher.epoch({**NUMBERS, "train/loss": 1.5 / (epoch + 1)}, epoch=epoch)
    watcher.finished({"why": "patience", "best": 1})


class Heard(Progress):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


def test_nothing_asked_for_is_nobody() -> None:
    assert open_trackers(tensorboard=None, track=None) == []


def test_tensorboard_reads_what_was_told(tmp_path: Path) -> None:
    [watcher] = open_trackers(tensorboard=tmp_path / "deep" / "logs", track=None)
    watch(watcher)
    watch(watcher, epochs=1, facts={"run": "norm"})
    found = read(tmp_path / "deep" / "logs")
    assert sorted(found) == ["last-2", "norm"], "each run is a run of TensorBoard"
    scalars = found["last-2"]["scalars"]
    assert scalars["train/loss"] == [[0, 1.5], [1, 0.75], [2, 0.5]]
    assert sorted(scalars) == sorted(NUMBERS)
    assert scalars["rate/head"][0][1] == pytest.approx(1e-3)
    assert found["last-2"]["plugin"] == ["text", "text"]
    texts = found["last-2"]["texts"]
    assert r'| classes | ["a\|b", "c"] |' in texts["run/started"] and "| why | patience |" in texts["run/finished"]


def test_tensorboard_shows_a_run_without_a_name_that_was_killed_and_resumed(tmp_path: Path) -> None:
    """An epoch is in the file at once: no end is needed; a run that goes on writes a second file."""
    for first in (0, 2):
        watcher = TensorBoard(tmp_path)
        watcher.started({})
        for epoch in (first, first + 1):
            watcher.epoch({"train/loss": epoch / 2, "validation/loss": math.nan}, epoch=epoch)
    assert len(list(tmp_path.glob("events.out.tfevents.*"))) == 2
    scalars = read(tmp_path)["."]["scalars"]
    assert scalars["train/loss"] == [[0, 0.0], [1, 0.5], [2, 1.0], [3, 1.5]]
    assert all(math.isnan(value) for _, value in scalars["validation/loss"])


def test_tensorboard_brings_no_tensorflow_into_the_process(tmp_path: Path) -> None:
    """torch and TensorFlow never share a process; torch's own writer would import it."""
    code = (
        "import sys; from pathlib import Path; from headstart.tune.training.trackers import open_trackers\n"
        f"w, = open_trackers(tensorboard=Path({str(tmp_path)!r}), track=None)\n"
        "w.started({'a': 1}); w.epoch({'train/loss': 1.0}, epoch=0); w.finished({})\n"
        "print([name for name in ('tensorflow', 'torch', 'mlflow', 'wandb') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout == "[]\n" and not done.stderr


def test_a_folder_that_is_a_file_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("")
    with pytest.raises(UsageError, match=r"--tensorboard .* must be a folder that can be written"):
        open_trackers(tensorboard=tmp_path / "logs", track=None)


def test_an_unknown_tracker_is_refused() -> None:
    with pytest.raises(UsageError, match="did you mean 'mlflow'"):
        open_trackers(tensorboard=None, track="mlfow")


@pytest.mark.parametrize(
    ("package", "asked"),
    [("tensorboard", "--tensorboard"), ("mlflow", "--track mlflow"), ("wandb", "--track wandb")],
)
def test_a_missing_library_names_its_extra(
    package: str, asked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [_Missing(package), *sys.meta_path])
    with pytest.raises(MissingExtra, match=rf"{asked} needs .*pip install .*\[tracking\]'"):
        open_trackers(
            tensorboard=tmp_path if package == "tensorboard" else None,
            track=None if package == "tensorboard" else package,
        )
    assert not list(tmp_path.iterdir())


class _Missing:
    """A finder that knows of no such package."""

    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] == self.package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=self.package)


def test_a_library_that_is_broken_says_so_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the library's own absence is an extra that is missing."""
    monkeypatch.setattr(sys, "meta_path", [_Broken(), *sys.meta_path])
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    with pytest.raises(ModuleNotFoundError, match="one of its parts") as caught:
        open_trackers(tensorboard=None, track="wandb")
    assert not isinstance(caught.value, MissingExtra)


class _Broken(Loader):
    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        return ModuleSpec(name, self, origin="here") if name == "wandb" else None

    def exec_module(self, module: ModuleType) -> None:
        raise ModuleNotFoundError("No module named 'one of its parts'", name="pydantic")


class FakeMLflow(ModuleType):
    """As much of MLflow's client as is used; checked once by hand against mlflow-skinny 3.17."""

    class MlflowException(Exception):
        pass

    def __init__(self) -> None:
        super().__init__("mlflow")
        self.experiments: dict[str, str] = {}
        self.runs: list[dict[str, Any]] = []
        self.down = False
        self.entities = ModuleType("mlflow.entities")
        for kind in ("Param", "Metric", "RunTag"):
            setattr(self.entities, kind, lambda *values: values)

    def MlflowClient(self) -> FakeMLflow:
        return self

    def get_experiment_by_name(self, name: str) -> Any:
        self._reach()
        return SimpleNamespace(experiment_id=self.experiments[name]) if name in self.experiments else None

    def create_experiment(self, name: str) -> str:
        return self.experiments.setdefault(name, f"id of {name}")

    def create_run(self, experiment_id: str, *, run_name: str | None) -> Any:
        self.runs.append({"in": experiment_id, "name": run_name, "status": "RUNNING"})
        return SimpleNamespace(info=SimpleNamespace(run_id=str(len(self.runs) - 1)))

    def log_batch(self, run_id: str, **what: list[Any]) -> None:
        self._reach()
        for kind, values in what.items():
            self.runs[int(run_id)].setdefault(kind, []).extend(values)

    def set_terminated(self, run_id: str) -> None:
        self.runs[int(run_id)]["status"] = "FINISHED"

    def _reach(self) -> None:
        if self.down:
            raise self.MlflowException("API request failed\nwith exception")


@pytest.fixture
def mlflow(monkeypatch: pytest.MonkeyPatch) -> FakeMLflow:
    fake = FakeMLflow()
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    monkeypatch.setitem(sys.modules, "mlflow.entities", fake.entities)
    return fake


def test_mlflow_files_each_run_in_one_experiment(mlflow: FakeMLflow) -> None:
    [watcher] = open_trackers(tensorboard=None, track="mlflow")
    watch(watcher)
    watch(watcher, epochs=1, facts={})
    first, second = mlflow.runs
    assert mlflow.experiments == {"headstart": "id of headstart"}
    assert first["in"] == second["in"] == "id of headstart"
    assert (first["name"], second["name"]) == ("last:2", None)
    assert first["status"] == second["status"] == "FINISHED"
    assert ("source", "toy:1") in first["params"] and ("classes", '["a|b", "c"]') in first["params"]
    assert [(key, value, step) for key, value, _, step in first["metrics"] if key == "train/loss"] == [
        ("train/loss", 1.5, 0),
        ("train/loss", 0.75, 1),
        ("train/loss", 0.5, 2),
    ]
    assert first["tags"] == [("why", "patience"), ("best", "1")]


def test_mlflow_that_refuses_the_run_is_one_line(mlflow: FakeMLflow) -> None:
    [watcher] = open_trackers(tensorboard=None, track="mlflow")
    mlflow.down = True
    with pytest.raises(UsageError, match="MLFLOW_TRACKING_URI") as caught:
        watcher.started(FACTS)
    assert "\n" not in str(caught.value)


def test_a_server_lost_on_the_way_is_said_once_and_stops_nothing(mlflow: FakeMLflow) -> None:
    heard = Heard()
    [watcher] = open_trackers(tensorboard=None, track="mlflow", progress=heard)
    watcher.started(FACTS)
    mlflow.down = True
    for epoch in range(3):
        watcher.epoch(NUMBERS, epoch=epoch)
    watcher.finished({})
    watch(watcher)
    assert len(heard.lines) == 1 and "MLflow failed" in heard.lines[0]
    assert len(mlflow.runs) == 1


def test_a_log_that_cannot_be_written_on_the_way_stops_nothing(tmp_path: Path) -> None:
    heard, folder = Heard(), tmp_path / "logs"
    [watcher] = open_trackers(tensorboard=folder, track=None, progress=heard)
    watcher.started({})
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    watcher.epoch(NUMBERS, epoch=0)
    watcher.finished({})
    assert len(heard.lines) == 1 and "TensorBoard" in heard.lines[0]


@pytest.mark.parametrize("room", [0, 100, 450])
def test_a_disk_that_is_full_from_some_byte_on_is_said_once_and_stops_nothing(tmp_path: Path, room: int) -> None:
    resource = pytest.importorskip("resource", reason="limits of a process")
    heard = Heard()
    [watcher] = open_trackers(tensorboard=tmp_path, track=None, progress=heard)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        watch(watcher, epochs=20)
        watch(watcher)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len(heard.lines) == 1 and "TensorBoard failed, and training goes on without it: " in heard.lines[0]
    assert "free bytes" in heard.lines[0]
    assert sum(file.stat().st_size for file in tmp_path.rglob("events*")) <= room


def test_an_error_that_is_no_loss_of_a_watcher_is_not_hidden() -> None:
    class Wrong:
        def started(self, facts: Mapping[str, Any]) -> None:
            pass

        def epoch(self, numbers: Mapping[str, float], *, epoch: int) -> None:
            raise ZeroDivisionError

        def finished(self, facts: Mapping[str, Any]) -> None:
            pass

    watcher = FailSafeTracker(Wrong(), errors=(OSError,))
    watcher.started({})
    with pytest.raises(ZeroDivisionError):
        watcher.epoch({}, epoch=0)


class FakeWandB(ModuleType):
    """As much of wandb as is used; checked once by hand against wandb 0.31, offline."""

    class Error(Exception):
        pass

    def __init__(self) -> None:
        super().__init__("wandb")
        self.runs: list[Any] = []
        self.refuses = False
        self.Settings = SimpleNamespace

    def init(self, **what: Any) -> Any:
        if self.refuses:
            raise self.Error("No API key configured.")
        run = SimpleNamespace(given=what, logged=[], summary={}, ended=0)
        run.log = lambda numbers, step: run.logged.append((step, numbers))
        run.finish = lambda: setattr(run, "ended", run.ended + 1)
        self.runs.append(run)
        return run


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> FakeWandB:
    fake = FakeWandB()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    return fake


def test_wandb_files_each_run_in_one_project(wandb: FakeWandB) -> None:
    [watcher] = open_trackers(tensorboard=None, track="wandb")
    watch(watcher)
    watch(watcher, facts={})
    first, second = wandb.runs
    assert first.given["project"] == second.given["project"] == "headstart"
    assert first.given["name"] == "last:2" and first.given["config"] == FACTS
    assert first.given["settings"].console == "off"
    assert [(step, numbers["train/loss"]) for step, numbers in first.logged] == [(0, 1.5), (1, 0.75), (2, 0.5)]
    assert first.summary == {"why": "patience", "best": 1}
    assert first.ended == second.ended == 1


def test_wandb_without_a_key_says_how_to_stay_offline(wandb: FakeWandB) -> None:
    [watcher] = open_trackers(tensorboard=None, track="wandb")
    wandb.refuses = True
    with pytest.raises(UsageError, match="WANDB_MODE=offline"):
        watcher.started(FACTS)


def test_both_may_be_asked_for(tmp_path: Path, wandb: FakeWandB) -> None:
    watchers = open_trackers(tensorboard=tmp_path, track="wandb")
    for watcher in watchers:
        watch(watcher)
    assert len(watchers) == 2 and wandb.runs[0].ended == 1 and list((tmp_path / "last-2").iterdir())
