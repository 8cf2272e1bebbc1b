"""A signal waits until what is under way is saved, and is never lost."""

from __future__ import annotations

import signal
import subprocess
import threading
from pathlib import Path

import pytest
from tests.support.own_command import own_command

from headstart.tune.training.signals import Terminated, interruptible


def handlers() -> list[object]:
    return [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]


def signalled(*numbers: int, error: type[Exception] | None = None) -> None:
    """Hold the signals, and look at them only when the block ends."""
    with interruptible() as stop:
        stop.raise_()
        assert not stop.requested()
        for number in numbers:
            signal.raise_signal(number)
            assert stop.requested()
        if error:
            raise error


@pytest.mark.parametrize(("number", "end"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)])
def test_the_first_signal_counts_and_another_changes_nothing__DSK_11(number: int, end: type[BaseException]) -> None:
    before, saved = handlers(), []

    def work() -> None:
        with interruptible() as stop:
            for one in (number, signal.SIGTERM, signal.SIGINT):
                signal.raise_signal(one)
            saved.append(stop.requested())
            stop.raise_()
            saved.append(False)

    with pytest.raises(end) as caught:
        work()
    assert saved == [True]
    assert handlers() == before
    assert not isinstance(caught.value, SystemExit) or caught.value.code == 143


def test_a_signal_that_the_block_did_not_act_on_is_raised_in_the_end() -> None:
    with pytest.raises(KeyboardInterrupt):
        signalled(signal.SIGINT)
    with pytest.raises(Terminated):
        signalled(signal.SIGTERM, signal.SIGINT)


def test_an_error_in_the_block_passes_and_the_handlers_are_back() -> None:
    before = handlers()
    with pytest.raises(ZeroDivisionError):
        signalled(signal.SIGINT, error=ZeroDivisionError)
    assert handlers() == before


def test_nothing_happens_where_no_signal_comes() -> None:
    signalled()


def test_one_within_another_leaves_the_outer_one_as_it_was() -> None:
    before = handlers()
    with interruptible() as outer:
        within = handlers()
        with pytest.raises(KeyboardInterrupt):
            signalled(signal.SIGINT)
        assert handlers() == within
        assert not outer.requested()
    assert handlers() == before


def test_what_the_process_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruptible() as stop:
            signal.raise_signal(signal.SIGINT)
            assert not stop.requested()
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_outside_the_main_thread_nothing_is_held_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen: list[object] = []

    def work() -> None:
        with interruptible() as stop:
            seen.extend((signal.getsignal(signal.SIGINT), stop.requested()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before, False]


IMPORTS = """
import time
from pathlib import Path
from headstart.tune.training.signals import interruptible
"""
WORK = """
with interruptible() as stop:
    print("ready", flush=True)
    while not stop.requested():
        time.sleep(0.01)
    with stop.saving():
        print("saving", flush=True)
        time.sleep(1.5 * cli.SECONDS_TO_END)
        Path(folder, "saved").write_text("saved")
    stop.raise_()
"""


@pytest.mark.thorough
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_command_saves_and_says_how_it_ended__DSK_11(tmp_path: Path, number: int, code: int) -> None:
    command = own_command(WORK, imports=IMPORTS, folder=str(tmp_path))
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert process.stdout.readline() == "saving\n"
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert (tmp_path / "saved").read_text() == "saved"
    assert "Traceback" not in errors
