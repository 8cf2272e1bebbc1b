"""A source of one's own: trained, gated, written as a folder that every command opens, or refused with a reason."""

from __future__ import annotations

import io
import json
import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps
from sklearn.datasets import load_digits

from headstart.base.errors import DataError, SourceError, UsageError
from headstart.base.progress import PlainProgress, Progress, Step
from headstart.data.audit import scan
from headstart.data.readers.open import open_dataset
from headstart.pretraining.options import PretrainOptions
from headstart.pretraining.pretrain import (
    ConsoleLogger,
    open_architecture,
    pretrain,
    read_examples,
    run_pretrain,
    split_examples,
    with_near_copies,
    write_source,
)
from headstart.pretraining.result import PretrainResult
from headstart.sources.checkpoints.source_folder import UNGATED
from headstart.sources.registry import open_source

LENET = PretrainOptions(arch="arch:lenet5", epochs=2, learning_rate=0.01, batch_size=32, force=True)


def digits(names: tuple[int, ...] = (0, 1, 2, 3, 4), per_class: int = 30) -> tuple[list[Any], list[str]]:
    found = load_digits()
    rows = [row for name in names for row in np.flatnonzero(found.target == name)[:per_class]]
    return [(found.images[row] * 15.9375).astype(np.uint8) for row in rows], [str(found.target[row]) for row in rows]


def gratings(turns: tuple[int, ...], per_class: int = 40) -> tuple[list[Any], list[str]]:
    """Return stripes by their direction in degrees: a single pixel says nothing of it, its neighbours everything."""
    rng, (down, right) = np.random.default_rng(0), np.mgrid[:32, :32]
    pictures, labels = [], []
    for turn in np.repeat(turns, per_class):
        along = np.cos(np.radians(turn)) * right + np.sin(np.radians(turn)) * down
        waves = 60 * np.sin(2 * np.pi / rng.uniform(5, 7) * along + rng.uniform(0, 2 * np.pi))
        pictures.append((127.5 + waves + rng.normal(0, 15, (32, 32))).clip(0, 255).astype(np.uint8))
        labels.append(f"turned {turn}")
    return pictures, labels


@pytest.fixture(scope="module")
def developed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of ResNet-9 developed on stripes in three directions."""
    os.environ.setdefault("HEADSTART_CACHE", str(tmp_path_factory.mktemp("cache")))
    folder = tmp_path_factory.mktemp("runs") / "stripes"
    pretrain(
        gratings((0, 60, 120)),
        arch="arch:resnet9",
        size=32,
        epochs=3,
        learning_rate=0.01,
        batch_size=8,
        augment="none",
        fp16=True,
        out=folder,
    )
    return folder


def test_the_folder_says_what_it_is_and_the_result_what_came_of_it(developed: Path) -> None:
    result = json.loads((developed / "result.json").read_text())
    assert result["gate"]["passed"] and result["source"] == f"file:{developed}"
    assert result["gate"]["simple"] < result["gate"]["accuracy"]["value"]
    assert sum(result["examples"].values()) == 120
    assert result["training"]["epochs"] == 3 and result["training"]["images"] > 0
    card = (developed / "README.md").read_text()
    assert result["data"]["fingerprint"] in card and "raw pixels" in card and result["command"] in card
    assert "headstart fit YOUR_PHOTOS --source file:FOLDER" in card
    assert "--fp16" in result["command"] and "--epochs 3" in result["command"] and "--size 32" in result["command"]
    assert (developed / "weights.safetensors").stat().st_size < 2_600_000
    assert "Validation log loss over epochs of training" in (developed / "report.html").read_text()
    assert sorted(path.name for path in developed.iterdir()) == [
        "README.md", "report.html", "result.json", "source.json", "weights.safetensors",
    ]  # fmt: skip


@pytest.mark.thorough
def test_it_opens_as_a_source_with_its_own_classes_and_layers(developed: Path) -> None:
    source = open_source(f"file:{developed}")
    pictures, labels = gratings((0, 60, 120))
    found = source.classify(pictures)
    assert [f"turned {(0, 120, 60)[at]}" for at in found.argmax(axis=1)] == labels
    assert UNGATED not in source.info.notes
    assert source.own_confidence is not None and 1 / 3 < source.own_confidence <= 1
    assert source.info.input["size"] == (32, 32) and source.encode(pictures[:2]).shape == (2, 256)
    flat = open_source(f"file:{developed}", layer="flatten")
    assert flat.encode(pictures[:2]).shape == (2, 4 * 256) and flat.info.feature_size == 4 * 256
    random = open_source(f"file:{developed}", weights="none")
    assert not np.allclose(random.encode(pictures[:2]), source.encode(pictures[:2]))


def test_fit_carries_it_over(developed: Path) -> None:
    from headstart.fitting.fit import fit

    model = fit(gratings((30, 90)), source=f"file:{developed}", engine="torch")
    assert model.report["test"]["accuracy"]["value"] > 0.9


def poor(tmp_path: Path, **changes: Any) -> PretrainResult:
    """Return what one epoch at a rate of nearly nothing gives: no better than chance."""
    options = PretrainOptions(arch="arch:lenet5", epochs=1, learning_rate=1e-9, batch_size=64, out=tmp_path, **changes)
    return run_pretrain(digits(), options, Progress())


@pytest.mark.thorough
def test_a_network_no_better_than_the_baselines_is_written_and_refused_until_it_is_forced(tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    made = poor(bad)
    assert "Report: " in write_source(bad, made)[0]
    assert "compared with raw pixels" in str(made.refusal) and f"--out {bad} --force" in str(made.refusal)
    assert made.verdict.startswith("It did not pass the gate: ")
    page = (bad / "report.html").read_text()
    assert re.search("<h1>[^<]*: not better than both baselines</h1>", page) and "tuning" not in page
    assert json.loads((bad / "result.json").read_text())["gate"]["forced"] is False
    with pytest.raises(SourceError, match="passed the gate of pretrain; found one that did not"):
        open_source(f"file:{bad}")
    forced = poor(bad, force=True)  # goes on where the first one ended
    assert forced.refusal is None and forced.trained.seconds_before_resume > 0
    forced.write(bad)
    assert UNGATED in open_source(f"file:{bad}").info.notes and not (bad / "checkpoints").exists()


def test_python_raises_the_refusal_once_all_is_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="must beat both naive baselines"):
        pretrain(digits(), arch="arch:lenet5", epochs=1, learning_rate=1e-9, out=tmp_path / "bad")
    assert {"report.html", "result.json", "source.json"} <= {path.name for path in (tmp_path / "bad").iterdir()}


def test_a_budget_that_is_refused_leaves_nothing(tmp_path: Path) -> None:
    out = tmp_path / "new"
    with pytest.raises(UsageError, match="--budget must allow one epoch"):
        run_pretrain(digits(), PretrainOptions(arch="arch:lenet5", budget=0.001, out=out), Progress())
    assert list(tmp_path.iterdir()) == []


def test_epochs_are_told_without_nan() -> None:
    logged = io.StringIO()
    logger = ConsoleLogger(PlainProgress(logged), "photos")
    logger.epoch({"validation/loss": 2.303, "validation/accuracy": 0.1}, epoch=0)
    logger.epoch({"train/loss": 1.5, "validation/loss": 1.25, "validation/accuracy": 0.5}, epoch=1)
    logger.epoch({"train/loss": 9e9}, epoch=2)
    assert logged.getvalue().splitlines() == [
        "Before training: log loss 2.303, accuracy 10.0 % on photos held out",
        "Epoch 1: log loss 1.250, accuracy 50.0 % on photos held out (training loss 1.5)",
        "Epoch 2: no finite log loss on photos held out (training loss 9e+09)",
    ]


@pytest.mark.thorough
def test_a_training_that_diverges_is_named_and_writes_no_nan(tmp_path: Path) -> None:
    options = PretrainOptions(arch="arch:lenet5", epochs=2, learning_rate=1e30, batch_size=64, out=tmp_path)
    logged = io.StringIO()
    made = run_pretrain(digits(), options, PlainProgress(logged))
    made.write(tmp_path)
    assert any("--learning-rate" in warning for warning in made.result["warnings"])
    for text in (logged.getvalue(), (tmp_path / "report.html").read_text(), (tmp_path / "result.json").read_text()):
        assert not re.search(r"\bnan\b", text, re.IGNORECASE)


@pytest.mark.thorough
def test_forced_it_is_marked_and_fit_warns(tmp_path: Path) -> None:
    from headstart.fitting.fit import fit

    poor(tmp_path / "one", force=True).write(tmp_path / "one")
    assert "did not pass the gate" in (tmp_path / "one" / "README.md").read_text()
    model = fit(digits((5, 6)), source=f"file:{tmp_path / 'one'}", engine="torch")
    assert UNGATED in model.report["warnings"]


class Stopping(Progress):
    """Progress that asks for a stop, as Ctrl-C does, when so many batches have been learned from."""

    def __init__(self, batches: int) -> None:
        self.left = batches

    @contextmanager
    def step(self, name: str, total: int | None = None, unit: str = "items", *, done: int = 0) -> Iterator[Step]:
        with super().step(name, total, unit, done=done) as step:
            yield Counting(self) if unit == "examples" else step


class Counting:
    def __init__(self, progress: Stopping) -> None:
        self.progress = progress

    def advance(self, count: int = 1) -> None:
        self.progress.left -= 1
        if not self.progress.left:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.slow
def test_stopped_and_resumed_it_ends_in_the_same_weights(tmp_path: Path) -> None:
    data, whole = digits(), tmp_path / "whole"
    run_pretrain(data, LENET.changed(out=whole), Progress()).write(whole)
    stopped = tmp_path / "stopped"
    options = LENET.changed(out=stopped)
    with pytest.raises(KeyboardInterrupt):
        run_pretrain(data, options, Stopping(batches=5))
    resumed = run_pretrain(data, options, Progress())
    resumed.write(stopped)
    assert resumed.trained.seconds_before_resume > 0
    assert (
        resumed.result["seconds"]["total"] > resumed.result["seconds"]["tune"] > resumed.trained.seconds_before_resume
    )
    weights = [(folder / "weights.safetensors").read_bytes() for folder in (whole, stopped)]
    assert weights[0] == weights[1]


@pytest.mark.thorough
def test_resuming_after_the_data_changed_is_refused(tmp_path: Path) -> None:
    poor(tmp_path)
    with pytest.raises(UsageError, match=r"data: .* then, .* now"):
        run_pretrain(
            digits(per_class=29),
            PretrainOptions(arch="arch:lenet5", epochs=1, learning_rate=1e-9, batch_size=64, out=tmp_path),
            Progress(),
        )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"arch": "timm:resnet81"}, "did you mean 'resnet"),
        ({"arch": "arch:lenet6"}, "did you mean 'lenet5'"),
        ({"arch": "file:weights.safetensors"}, "must name an architecture"),
        ({"arch": "arch:lenet5", "size": 8}, "give 32 px, its own"),
        ({"arch": "arch:resnet9", "size": 0}, "--size must be at least 1"),
        ({"arch": "arch:resnet9", "seconds": 0}, "--seconds must be above 0"),
        ({"arch": "arch:lenet5", "augment": "heavy"}, "--augment must be one of"),
        ({"arch": "arch:lenet5", "budget": 0.001}, r"an epoch of \d+ photos takes about"),
    ],
)
def test_what_cannot_be_is_said_before_any_training(options: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises((UsageError, SourceError), match=said):
        run_pretrain(digits(), PretrainOptions(**options, out=tmp_path), Progress())


@pytest.mark.parametrize("drop", [False, True])
def test_copies_of_test_examples_are_left_out_where_that_is_asked(tmp_path: Path, drop: bool) -> None:
    for number, path in enumerate(["train/a/0", "train/a/1", "train/b/0", "train/b/1", "test/a/0", "test/b/0"]):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 9), (number * 40, 0, 0)).save(tmp_path / f"{path}.png")
    (tmp_path / "test/a/copy.png").write_bytes((tmp_path / "train/a/0.png").read_bytes())
    scanned = scan(open_dataset(tmp_path), progress=Progress())
    options = PretrainOptions(arch="arch:lenet5", drop_test_duplicates=drop)
    splits, notes = split_examples(scanned, options)
    assert len(splits.train) + len(splits.validation) == 4 - drop and len(splits.test) == 3
    assert any("left out" in note for note in notes) is drop


def test_labels_that_are_all_alike_are_refused(tmp_path: Path) -> None:
    pictures, labels = digits()
    with pytest.raises(DataError, match="only one, '0'"):
        run_pretrain((pictures, ["0"] * len(labels)), LENET.changed(out=tmp_path), Progress())


def test_far_too_little_data_is_refused_with_the_number(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"weights and needs at least 63 photos to learn from; found 3"):
        run_pretrain(digits((0, 1)), PretrainOptions(arch="arch:resnet9", out=tmp_path), Progress())


def test_a_disk_that_fills_keeps_what_stood_there__DSK_02(developed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    from headstart.base import disk as folders

    before = {path.name: path.read_bytes() for path in developed.iterdir()}
    made = poor(developed, force=True)

    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(folders, "_write_synced", full)
    with pytest.raises(UsageError, match="free bytes"):
        made.write(developed)
    after = {path.name: path.read_bytes() for path in developed.iterdir() if path.is_file()}
    assert after == before


def test_an_architecture_for_other_things_is_refused() -> None:
    with pytest.raises(SourceError):
        open_architecture("packaged:efficientnet-lite7", seed=0)


def test_near_copies_across_given_parts_are_counted_and_can_be_left_out__f31(tmp_path: Path) -> None:
    random = np.random.default_rng(0)

    def scene() -> Image.Image:
        return Image.fromarray(random.integers(0, 256, (9, 9, 3), np.uint8)).resize((96, 96), Image.Resampling.BICUBIC)

    for at in range(24):
        first = scene()
        for part, picture in (("train", first), ("test", ImageOps.mirror(first) if at < 10 else scene())):
            folder = tmp_path / part / f"class{at % 2}"
            folder.mkdir(parents=True, exist_ok=True)
            picture.save(folder / f"{at}.jpg", quality=80)
    source, progress = open_architecture("arch:resnet9", seed=0), Progress()
    options = PretrainOptions(arch="arch:resnet9", size=64)
    scanned = with_near_copies(read_examples(tmp_path, options, progress), source, options, progress)
    splits, notes = split_examples(scanned, options)
    assert len(splits.related) == 10
    assert any("10 examples of other parts are near copies" in note for note in notes)
    assert any("--drop-test-duplicates" in note for note in notes)
    without, _ = split_examples(scanned, options.changed(drop_test_duplicates=True))
    assert not without.related and len(without.train) + len(without.validation) == 14
