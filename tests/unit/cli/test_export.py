"""`headstart export`: what it writes and says, and what it refuses before any work."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import headstart as hs
from headstart.cli.app import main
from headstart.cli.export import run_export
from headstart.testing import toy_photos


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    toy_photos(folder / "photos", classes=["daisy", "rose"], per_class=12, seed=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADSTART_CACHE", str(folder / "cache"))
        hs.fit(folder / "photos", source="simple:pixels", out=folder / "run")
    deep = np.arange(48 * 48, dtype=np.uint16).reshape(48, 48) * 20
    Image.fromarray(deep).save(folder / "photos" / "rose" / "deep.png")
    (folder / "photos" / "rose" / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    return folder / "run"


def headstart(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["headstart", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


@pytest.mark.thorough
def test_a_bundle_is_written_beside_itself_and_the_comparison_is_told(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert callable(run_export)
    code = headstart(monkeypatch, "export", bundle, "--to", "openvino", "--data", bundle.parent / "photos", "--json")
    shown = capsys.readouterr()
    result = json.loads(shown.out)
    assert code == 0 and result["examples"] == result["same_class"] == 24 and result["largest_difference"] < 1e-4
    assert sorted(path.name for path in Path(result["out"]).iterdir()) == [
        "model.bin", "model.xml", "parity.json", "run_openvino.py",
    ]  # fmt: skip
    assert Path(result["out"]) == bundle.parent / "run-openvino"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--to", "openvino"], "found a bundle, which holds none; name photos like those it will see"),
        (["--to", "tensorrt"], "--to must be one of"),
        (["--to", "tflite"], "found tflite, whose converter reads TensorFlow graphs alone; use --to onnx"),
        ([], "--to must be given"),
        (["--to", "docker", "--int8"], "--int8 must be of a model that is written anew; found --to docker"),
        (["--to", "docker", "--out", "taken"], "the folder of an image must be new or empty; found taken"),
        (["--to", "openvino", "--data", "nowhere"], "nowhere"),
        (["--to", "openvino", "--out", "taken"], "taken holds other things"),
    ],
)
def test_what_cannot_be_exported_is_refused_in_one_line(
    bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.tex").touch()
    assert headstart(monkeypatch, "export", bundle, *arguments) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
