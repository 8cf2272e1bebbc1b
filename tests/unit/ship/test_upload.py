"""An upload is one commit with every file of the folder; what stands in its way is said before any work."""

from __future__ import annotations

from pathlib import Path

import pytest
from hub_server import Hub, status

from headstart.base.errors import UsageError
from headstart.ship.upload import check_upload, upload


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_test")


def folder(tmp_path: Path) -> Path:
    made = tmp_path / "source"
    (made / "checkpoints").mkdir(parents=True)
    (made / "checkpoints" / "step-1").write_bytes(b"not this")
    (made / "README.md").write_text("---\nlibrary_name: headstart\n---\n# A source\n")
    (made / "weights.safetensors").write_bytes(bytes(range(256)) * 8)
    return made


def test_every_file_arrives_in_one_commit(hub: Hub, token: None, tmp_path: Path) -> None:
    made = folder(tmp_path)
    check_upload("org/birds")
    assert "org/birds" in upload(made, "org/birds")
    held = hub.commits["org/birds", hub.branches["org/birds", "main"]]
    assert held == {name: (made / name).read_bytes() for name in ("README.md", "weights.safetensors")}
    assert len(hub.requests("POST", "commit/main")) == 1


@pytest.mark.parametrize("name", ["birds", "org/birds/more", "../birds", ""])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="ORG/NAME"):
        check_upload(name)


def test_offline_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTART_OFFLINE", "1")
    with pytest.raises(UsageError, match="needs the network"):
        check_upload("org/birds")


def test_a_user_whom_the_hub_does_not_know_is_told_to_log_in(hub: Hub, token: None) -> None:
    hub.fail(status(401), file="whoami-v2")
    with pytest.raises(UsageError, match="hf auth login"):
        check_upload("org/birds")
