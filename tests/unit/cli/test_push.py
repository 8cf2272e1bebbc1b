"""`push` and `space` as commands: what they print."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hub_server import Hub
from served import small_run

from headstart.cli.command import DisplayOptions
from headstart.cli.push import push
from headstart.cli.space import space


def test_what_is_printed(
    tmp_path: Path, hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    run, quiet = small_run(tmp_path), DisplayOptions(as_json=True)
    capsys.readouterr()
    push(run, "hf:org/toys", {"private": True}, quiet)
    assert json.loads(capsys.readouterr().out)["address"].endswith("org/toys")
    push(run, "hf:org/toys", {}, DisplayOptions(quiet=True))
    assert "sha256 of its manifest" in capsys.readouterr().out
    space(run, {}, DisplayOptions(quiet=True))
    assert "app.py" in capsys.readouterr().out and (tmp_path / "run0-space" / "bundle" / "manifest.json").is_file()
    space(run, {"out": tmp_path / "other"}, quiet)
    assert json.loads(capsys.readouterr().out)["files"][-1] == "bundle"
