"""A signal waits until what is under way is saved, and is never lost."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from headstart.tune.interrupt import Terminated, interruptible


@pytest.mark.parametrize(("number", "end"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)])
def test_the_first_signal_counts_and_another_changes_nothing__DSK_11(number: int, end: type[BaseException]) -> None:
    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    saved = False
    with pytest.raises(end) as caught, interruptible() as stop:
        assert not stop.asked()
        stop.raise_()
        for one in (number, signal.SIGTERM, signal.SIGINT):
            signal.raise_signal(one)
            assert stop.asked()
        saved = True
        stop.raise_()
    assert saved
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == before
    if number == signal.SIGTERM:
        assert isinstance(caught.value, SystemExit) and caught.value.code == 143


def test_a_signal_that_the_block_did_not_look_at_is_raised_in_the_end() -> None:
    with pytest.raises(KeyboardInterrupt), interruptible():
        signal.raise_signal(signal.SIGINT)


def test_an_error_in_the_block_passes_and_the_handlers_are_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ZeroDivisionError), interruptible():
        signal.raise_signal(signal.SIGINT)
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGINT) == before


def test_nothing_happens_where_no_signal_comes() -> None:
    with interruptible() as stop:
        assert not stop.asked()
    stop.raise_()


def test_one_within_another_leaves_the_outer_one_as_it_was() -> None:
    with pytest.raises(Terminated), interruptible() as outer:
        with pytest.raises(KeyboardInterrupt), interruptible() as inner:
            signal.raise_signal(signal.SIGINT)
            assert inner.asked()
        assert not outer.asked()
        signal.raise_signal(signal.SIGTERM)
        assert outer.asked()


def test_what_the_process_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruptible() as stop:
            signal.raise_signal(signal.SIGINT)
            assert not stop.asked()
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_outside_the_main_thread_nothing_is_held_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen: list[object] = []

    def work() -> None:
        with interruptible() as stop:
            seen.extend((signal.getsignal(signal.SIGINT), stop.asked()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before, False]


SCRIPT = """
import sys, time
from pathlib import Path
from headstart import cli
from headstart.tune.interrupt import interruptible

@cli.app.command()
def work() -> None:
    with interruptible() as stop:
        print("ready", flush=True)
        while not stop.asked():
            time.sleep(0.01)
        print("saving", flush=True)
        time.sleep(0.3)
        Path(folder, "saved").write_text("saved")
        stop.raise_()

folder = sys.argv[1]
sys.argv = ["headstart", "work"]
cli.main()
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_command_saves_and_says_how_it_ended__DSK_11(tmp_path: Path, number: int, code: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    start = time.monotonic()
    process.send_signal(number)
    assert process.stdout.readline() == "saving\n"
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == code
    assert time.monotonic() - start < 10
    assert (tmp_path / "saved").read_text() == "saved"
    assert "Traceback" not in errors
