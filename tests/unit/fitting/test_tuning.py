"""`fit --tune`: the result, the bundle and the command line of a tuned source."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fitted import fitted_on, prepared_on

import headstart as hs
from headstart.base.errors import SourceError, UsageError
from headstart.base.progress import Progress
from headstart.data.split import Parts
from headstart.fitting.predictor import Fitted, FittedPredictor
from headstart.fitting.tuning import HELD_OUT, mean_is_better, tuned_predictor
from headstart.heads.linear import LinearHead
from headstart.model import Model
from headstart.run.folder import check_out
from headstart.ship.bundle import DataIdentity
from headstart.sources import registry, uri
from headstart.testing import PlantedSource, toy_photos, toy_stripes
from headstart.tune.settings import Settings

QUICK: dict[str, Any] = {"epochs": 1, "batch_size": 8, "augment": "none", "learning_rate": 1e-3}
SOURCE = {"source": "timm:test_resnet", "weights": "none", "engine": "torch"}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return toy_photos(tmp_path / "photos", classes=3, per_class=24, seed=2)


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the planted and shuffled toy networks be sources by URI, so that a bundle can open them again."""

    def open_named(spec: uri.Spec, *, weights: str, seed: int) -> PlantedSource:
        return PlantedSource(int(spec.revision or 0), shuffled=spec.name == "shuffled")

    point = SimpleNamespace(name="toy", load=lambda: open_named)
    monkeypatch.setattr(uri, "entry_points", lambda group: [point])
    monkeypatch.setattr(registry, "entry_points", lambda group, name: [point])


def fine_stripes(per_class: int) -> tuple[list[np.ndarray], list[str]]:
    """Return pictures of 96 pixels whose class is the direction of stripes that are gone at 32 pixels."""
    rng, pictures, labels = np.random.default_rng(0), [], []
    down, across = np.mgrid[:96, :96]
    for number in range(2 * per_class):
        waves = np.sin(2 * np.pi / 3 * (across if number % 2 else down) + rng.uniform(0, 2 * np.pi))
        values = 127 + 60 * waves[:, :, None] + rng.normal(0, 20, (96, 96, 3))
        pictures.append(values.clip(0, 255).astype(np.uint8))
        labels.append("across" if number % 2 else "down")
    return pictures, labels


def tuned(fitted: Fitted, folder: Path | None = None, **how: Any) -> FittedPredictor:
    settings = Settings(**{"mode": "last:1", "epochs": 1, "batch_size": 8, "augment": "none", **how})
    return tuned_predictor(fitted, settings, seed=0, checkpoints=folder, progress=Progress())


@pytest.fixture(scope="module")
def unknown(tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    """Return stripes of two directions, 40 a class, and the head of a source that does not know them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADSTART_CACHE", str(tmp_path_factory.mktemp("cache")))
        return fitted_on(prepared_on(toy_stripes(2, 40, noise=0.05), PlantedSource(shuffled=True)))


def test_what_gains_nothing_leaves_the_frozen_predictor_and_says_so(unknown: Fitted) -> None:
    predictor = tuned(unknown, learning_rate=1e-12)
    frozen = unknown.predictor
    assert predictor.tuning is not None and not predictor.tuning["kept"]
    assert (predictor.source, predictor.head) == (frozen.source, frozen.head)
    np.testing.assert_array_equal(predictor.probabilities, frozen.probabilities)
    y = unknown.prepared.labels(unknown.prepared.parts.test)
    assert predictor.tuning["test"]["frozen"]["accuracy"]["value"] == (frozen.probabilities.argmax(1) == y).mean()
    assert "tuned" not in predictor.tuning["test"]
    assert any("Tuning was not kept" in note for note in predictor.notes)


@pytest.mark.thorough
def test_what_gains_is_the_predictor_and_its_probabilities_are_those_of_its_source(unknown: Fitted) -> None:
    predictor = tuned(unknown, mode="all", epochs=12, patience=12, learning_rate=3e-3)
    prepared, said = unknown.prepared, predictor.tuning
    assert said is not None and said["kept"], "stripes are what shuffled weights do not know, and can learn"
    assert predictor.source is not prepared.source
    dataset, test = prepared.scan.dataset, prepared.parts.test
    x = predictor.source.at("pool").encode([dataset.read(position) for position in test])
    np.testing.assert_allclose(predictor.head.predict_proba(x), predictor.probabilities, rtol=1e-3, atol=1e-4)
    right, frozen_right = (
        float((probabilities.argmax(1) == prepared.labels(test)).mean())
        for probabilities in (predictor.probabilities, unknown.predictor.probabilities)
    )
    assert said["test"]["tuned"]["accuracy"]["value"] == right > frozen_right
    assert said["test"]["difference"]["value"] == pytest.approx(right - frozen_right)


@pytest.mark.parametrize("held_out", [True, False])
def test_what_is_not_better_than_a_mean_of_two_heads_on_the_frozen_source_is_not_kept(
    unknown: Fitted, held_out: bool
) -> None:
    """What was shipped frozen must be beaten, not only the head that tuning began with."""
    prepared, choice = unknown.prepared, unknown.choice
    positions = prepared.parts.train[1::3]
    problem: Any = SimpleNamespace(
        held_out=held_out, validation_positions=positions, y_validation=prepared.labels(positions)
    )
    mean = replace(unknown, choice=replace(choice, first=(choice.layer, choice.head)))
    shares = choice.out_of_fold[np.isin(prepared.distinct(prepared.parts.train).positions, positions)]
    if not held_out:
        shares = choice.head.predict_proba(prepared.features(choice.layer, positions).x)
    truth = np.eye(2, dtype=np.float32)[problem.y_validation]
    assert mean_is_better(mean, problem, 0.5 * shares + 0.5 * truth) is None
    assert mean_is_better(unknown, problem, shares) is None and mean_is_better(mean, problem, None) is None
    note = mean_is_better(mean, problem, 0.5 * shares + 0.5 * (1 - truth))
    assert note is not None and "the mean of two heads on the frozen source" in note


def test_a_fifth_is_held_out_where_the_data_has_no_validation_part(unknown: Fitted, tmp_path: Path) -> None:
    train, test = unknown.prepared.parts.train, unknown.prepared.parts.test
    tuned(unknown, tmp_path)
    sizes = np.bincount(unknown.prepared.labels(train))
    count = int(np.round(HELD_OUT * sizes).sum())  # of each class alike
    given = replace(unknown.prepared, parts=Parts(train[:-10], train[-10:], test, ()))
    counts = rf"\[{len(train) - count}, {count}, {len(test)}\] then, \[{len(train) - 10}, 10, {len(test)}\] now"
    with pytest.raises(UsageError, match=f"examples: {counts}"):
        tuned(replace(unknown, prepared=given), tmp_path)


@pytest.mark.thorough
@pytest.mark.usefixtures("toys")
def test_a_tuned_model_is_saved_and_loaded_with_what_has_changed(tmp_path: Path) -> None:
    pictures, labels = toy_stripes(2, 40, noise=0.05)
    learning = {**QUICK, "tune": "all", "epochs": 12, "patience": 12, "learning_rate": 3e-3, "layer": "pool"}
    model = hs.fit((pictures, labels), source="toy:shuffled@0", engine="torch", **learning, out=tmp_path / "out")
    said = model.report["tuning"]
    assert model.report["tune"] == "all"
    assert said["kept"], "stripes are what shuffled weights do not know, and can learn"
    assert {"frozen", "tuned", "difference"} <= said["test"].keys()
    assert said["test"]["tuned"]["accuracy"] == model.report["test"]["accuracy"]
    items = pictures[::20]
    expected = model.predict_proba(items)
    again = hs.load(tmp_path / "out" / "bundle", engine="torch")
    np.testing.assert_array_equal(again.predict_proba(items), expected)
    manifest = json.loads((tmp_path / "out" / "bundle" / "manifest.json").read_text())
    assert manifest["tuning"]["way"] == "all"
    assert "tuned.safetensors" in manifest["members"]
    assert manifest["source"]["sha256"] == model.source.base.info.sha256
    again.save(tmp_path / "copy")
    np.testing.assert_array_equal(hs.load(tmp_path / "copy", engine="torch").predict_proba(items), expected)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Tuning of the source" in page
    assert not (tmp_path / "out" / "checkpoints").exists()


@pytest.mark.thorough
@pytest.mark.usefixtures("toys")
def test_where_only_the_size_gains_the_model_is_the_source_at_that_size(tmp_path: Path) -> None:
    pictures, labels = fine_stripes(40)
    still = {**QUICK, "learning_rate": 1e-12}
    model = hs.fit((pictures, labels), source="toy:planted@0", engine="torch", tune="last:1", **still, size=96)
    assert model.report["tuning"]["kept"]
    assert "what gains is the size of the input alone" in model.report["warnings"][-1]
    assert model.source.preprocessing.size == (96, 96)
    model.save(tmp_path / "bundle")
    items = pictures[:3]
    np.testing.assert_allclose(
        hs.load(tmp_path / "bundle", engine="torch").predict_proba(items), model.predict_proba(items), rtol=0, atol=1e-6
    )


@pytest.mark.usefixtures("toys")
def test_a_tuned_bundle_without_its_weights_is_refused(tmp_path: Path) -> None:
    source = PlantedSource()
    state = {name: tensor.numpy() + 1 for name, tensor in source.module().state_dict().items()}
    tuned = source.with_weights(state).at("pool")
    head = LinearHead("ridge", 1.0, np.ones((24, 2), np.float32), np.zeros(2, np.float32))
    block, data = tuned.network().blocks[:1], DataIdentity("toys", "1" * 64)
    model = Model(tuned, "pool", block, head, ("a", "b"), {"schema": 1, "task": "image-classification"}, data)
    model.save(tmp_path / "bundle")
    assert hs.load(tmp_path / "bundle").source.info.sha256 == tuned.info.sha256
    (tmp_path / "bundle" / "tuned.safetensors").unlink()
    with pytest.raises(hs.HeadstartError, match=r"tuned\.safetensors must be in"):
        hs.load(tmp_path / "bundle")


@pytest.mark.slow
def test_what_is_not_kept_is_said_and_shown(photos: Path, tmp_path: Path) -> None:
    settings = {**QUICK, "learning_rate": 1e-9}
    model = hs.fit(photos, tune="last:1", **settings, out=tmp_path / "out", **SOURCE)
    assert not model.report["tuning"]["kept"]
    assert any("Tuning was not kept" in warning for warning in model.report["warnings"])
    assert "was tried and not kept" in (tmp_path / "out" / "report.html").read_text()
    frozen = hs.fit(photos, **SOURCE)
    assert frozen.report["test"] == model.report["test"]
    assert "tuning" not in frozen.report


@pytest.mark.thorough
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
def test_a_run_that_is_stopped_goes_on_with_the_same_command_and_refuses_other_arguments__DSK_11(
    photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = stopped(photos, out, signal.SIGTERM)
    assert done.returncode == 143
    assert f"the same command with --out {out} goes on" in done.stderr
    check_out(out)
    other = subprocess.run(command(photos, out, "--learning-rate", "0.5"), capture_output=True, text=True, check=False)
    assert other.returncode == 2
    assert re.search(r"learning_rate: \S+ then, 0\.5 now", other.stderr.splitlines()[-1])
