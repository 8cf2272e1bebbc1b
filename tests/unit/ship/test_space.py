"""The folder of a Space holds the bundle and a program that answers as the model does."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from served import small_run
from toy_texts import sentences, write_csv

import headstart as hs
from headstart.base.errors import UsageError
from headstart.ship.space import write_space


def program(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what the program of a Space hands to Gradio, of which it finds a stand-in that keeps its arguments."""
    gradio: Any = ModuleType("gradio")
    for name in ("Image", "Textbox", "Label", "Audio"):
        setattr(gradio, name, lambda *_, name=name, **more: (name, more))
    gradio.Interface = lambda function, *arguments, **more: SimpleNamespace(
        function=function, arguments=arguments, **more
    )
    monkeypatch.setitem(sys.modules, "gradio", gradio)
    path = folder / "app.py"
    names: dict[str, Any] = {"__file__": str(path), "__name__": "app"}
    exec(compile(path.read_text(), "app.py", "exec"), names)
    return names["demo"]


def test_photos(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, out = small_run(tmp_path), tmp_path / "space"
    assert write_space(run, out) == ["app.py", "requirements.txt", "README.md", "bundle"]
    demo, photo = program(out, monkeypatch), next((tmp_path / "photos0").rglob("*.png"))
    shares, remark = demo.function(str(photo))
    assert list(shares.values()) == hs.load(run).predict_proba(photo)[0].tolist() and remark == ""
    assert demo.function(None) == ({}, "") and demo.arguments[0][0] == "Image"
    assert (
        "sdk: gradio" in (out / "README.md").read_text()
        and "-py3-none-any.whl" in (out / "requirements.txt").read_text()
    )
    with pytest.raises(UsageError, match="must be new or empty"):
        write_space(run, out)


def test_texts(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hs.fit(write_csv(tmp_path / "it's: a set.csv", sentences(12)), source="packaged:wordllama", out=tmp_path / "run")
    write_space(tmp_path / "run", tmp_path / "space")
    demo = program(tmp_path / "space", monkeypatch)
    shares, _ = demo.function("bread and butter soup")
    assert max(shares, key=shares.get) == "cooking" and demo.title == "it's: a set.csv"
