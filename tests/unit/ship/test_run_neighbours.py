"""A run keeps its training examples beside the bundle, bound to it, and a prediction names the nearest of them."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from toy_texts import sentences, write_csv

import headstart as hs
from headstart.base.errors import BundleError, UsageError
from headstart.cli.app import main
from headstart.ship.run_neighbours import FILE, read_neighbours


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADSTART_CACHE", str(folder / "cache"))
        hs.fit(write_csv(folder / "topics.csv", sentences(12)), source="packaged:wordllama", out=folder / "out")
    return folder / "out"


def headstart(*arguments: object) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["headstart", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
    return int(ended.value.code or 0)


def test_a_training_text_is_its_own_nearest_from_python_and_from_the_command_line(
    run: Path, cache: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    kept = read_neighbours(run / "bundle", hs.load(run).head.weight.shape)
    text, label = next(pair for row, pair in enumerate(sentences(12)) if f"topics.csv#{row + 2}" in kept.names)
    (near,) = hs.load(run).nearest(text, 2)
    assert len(near) == 2 and near[0].similarity == pytest.approx(1.0, abs=2e-3) and near[0].label == label
    assert headstart("predict", run, "--text", text, "--nearest", "2", "--json") == 0
    shown = json.loads(capsys.readouterr().out.splitlines()[-1])["predictions"][0]["nearest"]
    assert [one["path"] for one in shown] == [one.name for one in near]
    assert headstart("predict", run / "bundle", "--text", text, "--nearest", "1") == 0
    assert f"near {near[0].similarity:.3f}  {label}  {near[0].name}" in capsys.readouterr().out
    (tmp_path / "new.txt").write_text(text)
    table = tmp_path / "out.jsonl"
    assert headstart("predict", run, tmp_path / "new.txt", "--nearest", "1", "--out", table) == 0
    row = json.loads(table.read_text())
    assert (row["nearest_1"], row["similarity_1"]) == (near[0].name, round(near[0].similarity, 4))


def test_a_bundle_that_was_moved_away_says_where_the_examples_stand(run: Path, tmp_path: Path, cache: Path) -> None:
    moved = shutil.copytree(run / "bundle", tmp_path / "elsewhere" / "bundle")
    assert "neighbours" not in " ".join(path.name for path in moved.iterdir()), "names of files do not leave with it"
    with pytest.raises(UsageError, match=f"copy {FILE} from there"):
        hs.load(moved).nearest("ants")
    shutil.copy(run / FILE, moved.parent)
    assert hs.load(moved).nearest("ants")[0]
    with pytest.raises(UsageError, match="count must be at least 1"):
        hs.load(moved).nearest("ants", 0)


def test_examples_of_another_bundle_and_damaged_ones_are_refused(run: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(run, tmp_path / "other")
    shape = hs.load(run).head.weight.shape
    manifest = moved / "bundle" / "manifest.json"
    manifest.write_bytes(manifest.read_bytes() + b" ")
    with pytest.raises(BundleError, match="of another bundle"):
        read_neighbours(moved / "bundle", shape)
    (moved / FILE).write_bytes(b"no safetensors")
    with pytest.raises(BundleError, match="no safetensors"):
        read_neighbours(moved / "bundle", shape)


def test_a_stream_names_no_neighbours(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert headstart("predict", run, "-", "--jsonl", "--nearest", "1") == 2
    assert "--nearest needs files" in capsys.readouterr().err
