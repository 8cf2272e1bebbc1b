"""Ctrl-C ends a command soon, even where a thread or a library computes on."""

import signal
import subprocess
import sys
import time

import pytest
from tests.support.own_command import own_command

STUCK = """
import hashlib, threading
from headstart.base.interrupts import keeping
from headstart.cli.app import ending_within
def work():
    hashlib.pbkdf2_hmac("sha256", b"x", b"y", 10**9)
with ending_within(0.2), keeping(lambda: "3 of 9 are kept"):
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
        kept = "" if "Event" in work else "3 of 9 are kept; "  # the one waits inside the block, the other has left it
        assert f"headstart: interrupted; {kept}the same command goes on\n".encode() in process.stderr.read()


WORK = """
with keeping(lambda: "3 of 9 are kept"):
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt as error:
        {then}
"""


@pytest.mark.parametrize(
    ("then", "code"),
    [
        ("raise", 130),
        ("raise ImportError('initialization failed')", 130),
        ("exec('raise error')", 130),  # after which Python itself would die of the signal, not end with a code
        ("pass", 0),
    ],
)
def test_what_a_library_makes_of_ctrl_c_is_an_interruption__DSK_11(then: str, code: int) -> None:
    command = own_command(
        WORK.format(then=then), imports="import signal\nfrom headstart.base.interrupts import keeping"
    )
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (code, int(code > 0)), done.stderr
    if code:
        assert done.stderr == "headstart: interrupted; 3 of 9 are kept; the same command goes on\n"
