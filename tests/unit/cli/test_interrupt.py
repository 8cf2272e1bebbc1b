"""Ctrl-C ends a command soon, even where a thread or a library computes on."""

import signal
import subprocess
import sys
import time

import pytest

STUCK = """
import hashlib, threading
from headstart.cli.app import ending_within
def work():
    hashlib.pbkdf2_hmac("sha256", b"x", b"y", 10**9)
with ending_within(0.2):
    {start}
    print("ready", flush=True)
    {work}
"""


@pytest.mark.parametrize(
    ("start", "work"), [("pass", "work()"), ("threading.Thread(target=work).start()", "threading.Event().wait()")]
)
def test_what_cannot_be_interrupted_is_ended__DSK_11(start: str, work: str) -> None:
    script = STUCK.format(start=start, work=work)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            time.sleep(0.5)  # until it computes
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 130
        finally:
            process.kill()
        assert process.stderr is not None
        assert b"interrupted; the same command continues where it stopped" in process.stderr.read()
