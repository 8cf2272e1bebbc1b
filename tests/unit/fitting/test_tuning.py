"""`fit --tune`: the result, the bundle and the command line of a tuned source."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import headstart as hs
from headstart.base.errors import SourceError
from headstart.judge.intervals import Interval
from headstart.run.folder import check_out
from headstart.testing import toy_photos
from headstart.tune import evaluation as judging
from headstart.tune.training import loop

QUICK: dict[str, Any] = {"epochs": 1, "batch_size": 8, "augment": "none", "learning_rate": 1e-3}
SOURCE = {"source": "timm:test_resnet", "weights": "none", "engine": "torch"}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return toy_photos(tmp_path / "photos", classes=3, per_class=24, seed=2)


@pytest.fixture
def gaining(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every epoch count as better than the one before, and the end as better beyond its interval."""
    better = itertools.count(0, -1)
    monkeypatch.setattr(loop, "loss_and_accuracy", lambda scores, y, weights: (float(next(better)), 0.9))
    monkeypatch.setattr(judging, "paired_difference", lambda *args, **kwargs: Interval(0.1, 0.05, 0.2))


@pytest.mark.usefixtures("gaining")
def test_a_tuned_model_is_saved_and_loaded_with_what_has_changed(photos: Path, tmp_path: Path) -> None:
    model = hs.fit(photos, tune="last:1", **QUICK, out=tmp_path / "out", **SOURCE)
    said = model.report["tuning"]
    assert model.report["tune"] == "last:1"
    assert said["kept"]
    assert {"frozen", "tuned", "difference"} <= said["test"].keys()
    assert said["test"]["tuned"]["accuracy"] == model.report["test"]["accuracy"]
    items = sorted(photos.rglob("*.jpg"))[:5]
    expected = model.predict_proba(items)
    again = hs.load(tmp_path / "out" / "bundle", engine="torch")
    np.testing.assert_array_equal(again.predict_proba(items), expected)
    manifest = json.loads((tmp_path / "out" / "bundle" / "manifest.json").read_text())
    assert manifest["tuning"]["way"] == "last:1"
    assert "tuned.safetensors" in manifest["members"]
    assert manifest["source"]["sha256"] == model.source.base.info.sha256
    again.save(tmp_path / "copy")
    np.testing.assert_array_equal(hs.load(tmp_path / "copy", engine="torch").predict_proba(items), expected)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Tuning of the source" in page
    assert not (tmp_path / "out" / "checkpoints").exists()


@pytest.mark.usefixtures("gaining")
def test_where_only_the_size_gains_the_model_is_the_source_at_that_size(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "loss_and_accuracy", lambda scores, y, weights: (1.0, 0.9))
    model = hs.fit(photos, tune="last:1", **QUICK, size=96, out=tmp_path / "out", **SOURCE)
    assert model.report["tuning"]["kept"]
    assert "what gains is the size of the input alone" in model.report["warnings"][-1]
    model.save(tmp_path / "bundle")
    items = [str(next(photos.rglob("*.*")))]
    np.testing.assert_allclose(
        hs.load(tmp_path / "bundle").predict_proba(items), model.predict_proba(items), rtol=0, atol=1e-6
    )


@pytest.mark.usefixtures("gaining")
def test_a_tuned_bundle_without_its_weights_is_refused(photos: Path, tmp_path: Path) -> None:
    hs.fit(photos, tune="last:1", **QUICK, out=tmp_path / "out", **SOURCE)
    (tmp_path / "out" / "bundle" / "tuned.safetensors").unlink()
    with pytest.raises(hs.HeadstartError, match=r"tuned\.safetensors must be in"):
        hs.load(tmp_path / "out" / "bundle")


def test_what_is_not_kept_is_said_and_shown(photos: Path, tmp_path: Path) -> None:
    settings = {**QUICK, "learning_rate": 1e-9}
    model = hs.fit(photos, tune="last:1", **settings, out=tmp_path / "out", **SOURCE)
    assert not model.report["tuning"]["kept"]
    assert any("Tuning was not kept" in warning for warning in model.report["warnings"])
    assert "was tried and not kept" in (tmp_path / "out" / "report.html").read_text()
    frozen = hs.fit(photos, **SOURCE)
    assert frozen.report["test"] == model.report["test"]
    assert "tuning" not in frozen.report


def test_the_same_seed_gives_the_same_bytes(photos: Path, tmp_path: Path) -> None:
    settings = {**QUICK, "augment": "light"}
    results = [hs.fit(photos, tune="all", **settings, seed=3, **SOURCE).report for _ in range(2)]
    for result in results:
        for one in result["tuning"]["tried"]:
            one["images_per_second"] = 0
            for epoch in one["history"]:
                epoch["seconds"] = 0
        result["seconds"], result["cache"] = {}, {}
    assert results[0] == results[1]


def test_a_graph_cannot_be_tuned(photos: Path, tmp_path: Path) -> None:
    from onnx_nets import convnet, weights

    convnet(tmp_path / "net.onnx", shape=("n", 3, 32, 32), values=weights(0), end="features")
    with pytest.raises(SourceError, match="a graph that only computes; leave it out"):
        hs.fit(photos, source=f"onnx:{tmp_path / 'net.onnx'}", tune="all")


def command(photos: Path, out: Path, *more: str) -> list[str]:
    start = [sys.executable, "-m", "headstart", "fit", str(photos), "--source", "timm:test_resnet", "--weights", "none"]
    return [
        *start,
        "--engine",
        "torch",
        "--tune",
        "all",
        "--epochs",
        "4000",
        "--patience",
        "4000",
        "--out",
        str(out),
        *more,
    ]


def stopped(photos: Path, out: Path, number: int) -> subprocess.CompletedProcess[str]:
    """Start a long run, send it a signal when it has a checkpoint, and return how it ended."""
    process = subprocess.Popen(command(photos, out), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list((out / "checkpoints").glob("*/step-*")) and time.monotonic() < deadline:
        time.sleep(0.05)
        assert process.poll() is None, process.communicate()
    os.kill(process.pid, number)
    said, errors = process.communicate(timeout=60)
    return subprocess.CompletedProcess(process.args, process.returncode, said, errors)


@pytest.mark.slow
def test_a_run_that_is_stopped_says_how_to_go_on_and_refuses_other_arguments__DSK_11(
    photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = stopped(photos, out, signal.SIGTERM)
    assert done.returncode == 143
    assert "--resume" in done.stderr
    with pytest.raises(hs.HeadstartError, match="add --resume"):
        check_out(out)
    other = subprocess.run(
        command(photos, out, "--resume", "--learning-rate", "0.5"), capture_output=True, text=True, check=False
    )
    assert other.returncode == 2
    assert re.search(r"learning_rate: \S+ then, 0\.5 now", other.stderr.splitlines()[-1])


def test_there_must_be_something_to_resume(tmp_path: Path) -> None:
    with pytest.raises(hs.HeadstartError, match="--resume needs the folder of a run that was stopped"):
        check_out(tmp_path / "none", resume=True)
