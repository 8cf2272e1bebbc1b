"""`serve` as a command: what is refused before a bundle is opened, and a process that answers and ends at SIGTERM."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from served import small_run

from headstart.base.errors import UsageError
from headstart.base.progress import Progress
from headstart.cli.serve import command
from headstart.serving.connections import listen
from headstart.serving.options import ServeOptions
from headstart.serving.serve import check_options, is_loopback, read_token, run_serve


def test_only_this_machine_without_a_token__SRV_08() -> None:
    assert [is_loopback(host) for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost")] == [True] * 4
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.0.1", "example.org", "")))
    with pytest.raises(UsageError, match=r"must have a token; found --host 0\.0\.0\.0 without --token"):
        check_options(ServeOptions(host="0.0.0.0"))


def test_a_token_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("0123456789abcdef\n")
    path.chmod(0o644)
    with pytest.raises(UsageError, match=r"readable by you alone; found mode 644; run: chmod 600"):
        read_token(path)
    path.chmod(0o600)
    assert read_token(path) == "0123456789abcdef"
    for odd in ("", "short", "two words of a token", "ünïcödé-ünïcödé-ünïcödé"):
        path.write_text(odd)
        with pytest.raises(UsageError, match="16 or more letters and digits"):
            read_token(path)
    with pytest.raises(UsageError, match="must be readable; found No such file"):
        read_token(tmp_path / "none")


def test_a_port_that_is_taken_and_an_address_of_no_machine(loopback: None) -> None:
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(UsageError, match=rf"127\.0\.0\.1:{port} must be free .* give another --port"):
            run_serve(["none"], ServeOptions(port=port), Progress())
    with pytest.raises(UsageError, match="must be free to listen on"):
        listen("0.0.0.0.0", 80)
    with pytest.raises(UsageError, match="--port must be at most 65535; found 99999"):
        listen("127.0.0.1", 99_999)


def test_the_command_has_its_options() -> None:
    assert command.options is ServeOptions and ServeOptions().port == 8000
    with pytest.raises(UsageError, match="--workers must be at least 1"):
        ServeOptions(workers=0)


@pytest.mark.thorough
@pytest.mark.parametrize("workers", [1, 2])
def test_a_process_answers_and_ends_at_sigterm(workers: int, tmp_path: Path, cache: Path, loopback: None) -> None:
    run = small_run(tmp_path)
    photo = next((tmp_path / "photos0").rglob("*.jpg")).read_bytes()
    arguments = ["serve", str(run), "--port", "0", "--workers", str(workers)]
    with subprocess.Popen(
        [sys.executable, "-m", "headstart", *arguments], stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    ) as process:
        assert process.stderr is not None
        address = json.loads(process.stderr.readline())["address"]
        request = urllib.request.Request(f"{address}v1/predict", photo, {"Content-Type": "image/jpeg"})
        with urllib.request.urlopen(request, timeout=60) as response:
            assert json.load(response)["predictions"][0]["label"] in ("class0", "class1")
        with urllib.request.urlopen(f"{address}metrics", timeout=60) as response:
            assert b"headstart_items_total" in response.read()
        process.send_signal(signal.SIGTERM)
        last = process.stderr.read().splitlines()[-1]
        assert process.wait(30) == 0 and json.loads(last)["event"] == "stopped"
    port = int(address.rpartition(":")[2].strip("/"))
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
